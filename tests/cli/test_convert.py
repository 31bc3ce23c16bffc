import io
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import load_checkpoint

from fpn_necks.checkpoints import read_checkpoint
from fpn_necks.cli import main
from fpn_necks.necks import ASFF
from tests.golden import golden
from tests.released import old_detectors as old

NECK = dict(type="AugFPN", fusion="asf") | old.P2_P6
META = {
    "epoch": 12,
    "iter": 87_960,
    "mmdet_version": "0.6.rc0+unknown",
    "config": "model = dict(type='FasterRCNN')",
    "CLASSES": ("person", "bicycle", "car"),
    "best_score": np.float64(0.375),
    "hook_msgs": OrderedDict(last_ckpt="epoch_11.pth"),
}


def run(method: str, source: Path, target: Path, *options: str) -> int:
    return main(["convert", method, str(source), str(target), *options])


@pytest.fixture(scope="module")
def detector() -> torch.nn.Module:
    return old.build(old.tiny("faster-rcnn", NECK, soft_roi=True), 1)


@pytest.fixture(scope="module")
def released(detector: torch.nn.Module) -> bytes:
    """A checkpoint as mmcv wrote it, from a detector on several GPUs."""
    state = OrderedDict(
        (f"module.{name}", tensor)
        for name, tensor in old.to_mmdet_1(detector.state_dict()).items()
    )
    state._metadata = OrderedDict({"": dict(version=1)})
    optimizer = dict(state={0: torch.ones(3)}, param_groups=[dict(lr=0.02)])
    file = io.BytesIO()
    torch.save(dict(meta=META, state_dict=state, optimizer=optimizer), file)
    return file.getvalue()


@pytest.fixture
def source(tmp_path: Path, released: bytes) -> Path:
    path = tmp_path / "released.pth"
    path.write_bytes(released)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "converted.pth"


def test_detector(source: Path, target: Path, detector, capsys) -> None:
    before = source.read_bytes()
    assert run("highfpn", source, target) == 0
    other = old.build(old.tiny("faster-rcnn", NECK, soft_roi=True), 2)
    load_checkpoint(other, str(target), strict=True)
    old.assert_same_results(other, detector)

    assert source.read_bytes() == before
    saved = read_checkpoint(target)
    assert set(saved) == {"meta", "state_dict"}
    assert saved["meta"] == META

    output = capsys.readouterr().out
    neck = [n for n in detector.state_dict() if n.startswith("neck")]
    roi = [n for n in detector.state_dict() if n.startswith("roi_head")]
    kept = len(detector.state_dict()) - len(neck) - len(roi)
    assert f"converted: {len(neck) + len(roi)} entries" in output
    assert "  roi_head.bbox_roi_extractor: 4\n" in output
    assert f"kept: {kept} entries" in output
    assert "dropped: 4 entries\n  auxiliary_bbox_head.shared_fcs.0.weight" in output
    assert "Not written to the new file: optimizer." in output
    assert "LegacyDeltaXYWHBBoxCoder" in output
    assert str(target) in output


def test_only_the_own_part_of_a_storage_is_written(tmp_path: Path) -> None:
    state = {f"neck.{k}": v for k, v in golden("augfpn_highfpn_bn_train").state.items()}
    state["bbox_head.fc_cls.weight"] = torch.zeros(81, 4000)
    state["bbox_head.fc_reg.weight"] = torch.zeros(324, 4000)
    torch.save(state, tmp_path / "in.pth")
    assert run("highfpn", tmp_path / "in.pth", tmp_path / "out.pth") == 0
    saved = read_checkpoint(tmp_path / "out.pth")
    assert saved["meta"] == {}
    for tensor in saved["state_dict"].values():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_asff_loads_as_documented(tmp_path: Path, capsys) -> None:
    """From the old file format, too."""
    state, path = old.released_yolov3(), tmp_path / "in.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert run("asff", path, tmp_path / "out.pth") == 0
    assert "  level_2_header.guide_wh.weight\n" in capsys.readouterr().out
    stage = ASFF(
        in_channels=[16, 8, 4],
        out_channels=[32, 16, 8],
        lead_channels=[None, None, 8],
        order="coarse_to_fine",
        init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "out.pth")),
    )
    stage.init_weights()
    saved = read_checkpoint(tmp_path / "out.pth")["state_dict"]
    assert saved.keys() == stage.state_dict().keys()
    for name, tensor in stage.state_dict().items():
        assert torch.equal(tensor, saved[name]), name


def test_existing_files_are_kept(source: Path, target: Path, capsys) -> None:
    target.write_text("mine")
    assert run("highfpn", source, target) == 2
    assert target.read_text() == "mine"
    assert f"error: {target} exists; --force overwrites it" in capsys.readouterr().err
    assert run("highfpn", source, target, "--force") == 0
    assert read_checkpoint(target)["meta"] == META

    before = source.read_bytes()
    link = target.with_name("link.pth")
    link.symlink_to(source)
    for same in (source, link):
        assert run("highfpn", source, same, "--force") == 2
        assert "the released checkpoint itself" in capsys.readouterr().err
    assert source.read_bytes() == before
    folder = target.with_name("folder")
    folder.mkdir()
    assert run("highfpn", source, folder, "--force") == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (0.5, "cannot be loaded: not a checkpoint, or damaged"),  # half of one
        ([1, 2], "holds no state dict"),
        ({"state_dict": {"a": 1}}, "holds no state dict"),
        ({"model": {"a": torch.ones(1)}}, "holds no state dict"),
    ],
    ids=str,
)
def test_files_that_are_no_checkpoints(
    content: object, said: str, source: Path, target: Path, capsys
) -> None:
    if isinstance(content, float):
        whole = source.read_bytes()
        source.write_bytes(whole[: int(content * len(whole))])
    else:
        torch.save(content, source)
    assert run("highfpn", source, target) == 2
    assert f"error: {source} {said}" in capsys.readouterr().err
    assert not target.exists()


def test_a_checkpoint_of_another_method(source: Path, target: Path, capsys) -> None:
    assert run("soft-roi", source, target) == 2
    assert "neck.high_lateral_conv.0.weight" in capsys.readouterr().err
    assert not target.exists()
