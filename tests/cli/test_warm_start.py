"""`fpn-necks warm-start`: the file it writes starts a training."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from fpn_necks.cli import main as command_line
from tests.tiny_detectors import load_config, shrink


def main(words: list[str]) -> int:
    return command_line(["warm-start", *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny AugFPN Faster R-CNN's config, and the checkpoint of its FPN twin."""
    folder = tmp_path_factory.mktemp("warm-start")
    config = shrink(load_config("faster-rcnn_r50_augfpn_1x_coco"))
    config.dump(folder / "augfpn.py")
    plain = Config.fromfile(folder / "augfpn.py")
    plain.model.type = plain.model.type.removeprefix("Auxiliary")
    plain.model.pop("auxiliary", None)
    plain.model.neck.type = "FPN"
    plain.model.roi_head.bbox_roi_extractor.type = "SingleRoIExtractor"
    torch.manual_seed(0)
    fpn = MODELS.build(plain.model)
    meta = dict(dataset_meta=dict(classes=("a",)), epoch=12)
    torch.save(dict(state_dict=fpn.state_dict(), meta=meta), folder / "fpn.pth")
    return folder


def test_writes_what_fits_and_nothing_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "new" / "start.pth"
    assert main([str(folder / "augfpn.py"), str(folder / "fpn.pth"), str(out)]) == 0
    output = capsys.readouterr().out
    written = torch.load(out, weights_only=True)
    source = torch.load(folder / "fpn.pth", weights_only=True)["state_dict"]
    assert written["meta"] == {
        "warm_start": dict(checkpoint="fpn.pth", config="augfpn.py")
    }
    assert written["state_dict"].keys() == source.keys()
    for name, tensor in written["state_dict"].items():
        assert torch.equal(tensor, source[name])

    table = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line}
    assert table["neck.lateral_convs"] == ["8", "-", "-", "-"]
    assert table["neck.fpn_convs"] == ["8", "-", "-", "-"]
    residual = int(table["neck.residual_features"][1])
    assert residual > 0 and table["neck.residual_features"][0] == "-"
    assert table["all"][0] == str(len(source))
    assert f"load_from={out}" in output

    model = MODELS.build(Config.fromfile(folder / "augfpn.py").model)
    before = model.neck.residual_features.convs[0].weight.clone()
    load_checkpoint(model, str(out))
    assert torch.equal(model.neck.residual_features.convs[0].weight, before)
    assert torch.equal(
        model.neck.fpn_convs[0].conv.weight, source["neck.fpn_convs.0.conv.weight"]
    )


def test_options_change_the_config(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "start.pth"
    words = ["--cfg-options", "model.roi_head.bbox_head.num_classes=7"]
    assert (
        main([str(folder / "augfpn.py"), str(folder / "fpn.pth"), str(out), *words])
        == 0
    )
    output = capsys.readouterr().out
    assert "roi_head.bbox_head.fc_cls.bias: (8,) in the model, (3,) in the" in output
    names = torch.load(out, weights_only=True)["state_dict"]
    assert "roi_head.bbox_head.fc_cls.bias" not in names
