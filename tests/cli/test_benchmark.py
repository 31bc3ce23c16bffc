"""`fpn-necks benchmark`: one run from configs to tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fpn_necks.cli import main as command_line
from tests.costs.tiny import tiny_config

SMALL = ("--size", "64", "96", "--pairs", "1", "--device", "cpu")


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """What a program may set for itself must not reach the other tests."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def main(words: list[str]) -> int:
    return command_line(["benchmark", *words])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("configs") / "augfpn.py"
    tiny_config("retinanet_r50_augfpn_1x_coco").dump(path)
    return str(path)


def test_inference_alone(config: str, capsys: pytest.CaptureFixture) -> None:
    assert main([config, *SMALL, "--no-train", "--boxes", "0"]) == 0
    output = capsys.readouterr().out
    assert "| augfpn |" in output and "training" not in output
    for part in ("backbone", "neck", "head", "post-processing"):
        assert f"time, ms: {part}" in output


def test_necks_without_a_config(capsys: pytest.CaptureFixture) -> None:
    assert main([*SMALL, "--necks", "ASFF"]) == 0
    output = capsys.readouterr().out
    assert "| FPN (mmdet) |" in output and "| FPN + ASFF |" in output


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "cascade-mask-rcnn_r50_augfpn_1x_coco",
        "sparse-rcnn_r50_cfg-fpn_1x_coco",
        "grid-rcnn_r50_fpn_gn-head_1xb2-1x_tinyperson",
        "yolov3_d53_asff_4xb16-300e_coco",
    ],
)
def test_other_detectors(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tiny_config(name).dump(tmp_path / "config.py")
    options = (*SMALL, "--batch", "2", "--boxes", "20")
    assert main([str(tmp_path / "config.py"), *options]) == 0
    output = capsys.readouterr().out
    assert "time, ms: training step" in output
    # Sparse R-CNN has no post-processing of its own.
    assert ("time, ms: post-processing" in output) == ("sparse" not in name)
