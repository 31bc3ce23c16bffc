"""`fpn-necks benchmark`: one run from configs to tables."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import fpn_necks.necks
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


def test_a_detector_beside_itself_with_changes(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    numbers, picture = tmp_path / "new" / "numbers.json", tmp_path / "bars.png"
    status = main(
        [
            f"{config}@model.neck.type=FPN,model.auxiliary=None",
            *("--compare", f"{config}@model.auxiliary=None", config),
            *SMALL,
            *("--json", str(numbers), "--picture", str(picture)),
        ]
    )
    output = capsys.readouterr()
    assert status == 0, output.err
    assert "without model.neck.residual_to_extra_level" in output.err
    results = json.loads(numbers.read_text())
    plain, neck, both = results["detectors"]
    assert [plain["title"], neck["title"], both["title"]] == [
        "augfpn, neck.type=FPN,auxiliary=None",
        "augfpn, auxiliary=None",
        "augfpn",
    ]
    assert plain["parameters"]["backbone"] == neck["parameters"]["backbone"]
    assert plain["parameters"]["neck"] < neck["parameters"]["neck"]
    assert neck["multiply_adds"] == both["multiply_adds"]
    assert neck["inference_peak_bytes"] == both["inference_peak_bytes"]
    assert neck["boxes_per_image"] == both["boxes_per_image"] > 50
    assert both["train_step_peak_bytes"] > neck["train_step_peak_bytes"]
    assert both["train_step"]["ratio"] > neck["train_step"]["ratio"]
    assert "A step of training" in output.out
    claims = output.out.split("The papers' own costs")[1]
    assert "| augfpn, auxiliary=None | inference | 13.4 → 11.1 fps | 1.21 |" in claims
    assert "| augfpn | training | 0.9 → 1.1 h per epoch | 1.22 |" in claims
    assert [claim["text"] for claim in results["claims"]] == [
        "13.4 → 11.1 fps",
        "13.4 → 11.1 fps",
        "0.9 → 1.1 h per epoch",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bars.png", "new"]


def test_inference_alone(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    numbers = tmp_path / "numbers.json"
    options = (*SMALL, "--no-train", "--boxes", "0", "--names", "mine")
    assert main([config, *options, "--json", str(numbers)]) == 0
    (mine,) = json.loads(numbers.read_text())["detectors"]
    assert mine["title"] == "mine" and "train_step" not in mine
    assert mine["boxes_per_image"] == 0  # the config's own threshold
    output = capsys.readouterr().out
    assert "training" not in output and "The papers' own" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_config"], "no shipped config is named 'no_such_config'"),
        (["CONFIG@model.neck"], "must be key=value"),
        (["CONFIG@model.neck.type=NoNeck"], "there is no type 'NoNeck'"),
        (["CONFIG@model.neck.in_channels=3,4"], "cannot be measured"),
        (["CONFIG", "--pairs", "0"], "--pairs must be at least 1"),
        (["CONFIG", "--size", "16", "64"], "--size must be at least 32 32"),
        (["CONFIG", "--boxes", "-1"], "--boxes must be 0 or more"),
        (["CONFIG", "--names", "a", "b"], "--names must be one per config, 1, got 2"),
        (["CONFIG", "--device", "tpu9"], "--device must be cpu or cuda, got tpu9"),
        (["CONFIG", "--device", "cuda:99"], "there is no such GPU here"),
        (["CONFIG", "--picture", "bars.xyz"], "--picture must end in one of"),
        (["CONFIG", "--json", "CONFIG"], "exists; --force overwrites it"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    config: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture,
) -> None:
    arguments = [argument.replace("CONFIG", config) for argument in arguments]
    assert main([arguments[0], "--device", "cpu", *arguments[1:]]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "mask-rcnn_r50_augfpn_1x_coco",
        "cascade-mask-rcnn_r50_augfpn_1x_coco",
        "sparse-rcnn_r50_cfg-fpn_1x_coco",
        "fcos_r50_fpn_auxiliary-uncertainty_gn-head_1x_coco",
        "grid-rcnn_r50_fpn_gn-head_1xb2-1x_tinyperson",
        "atss_r101_cfg-fpn_1x_coco",
        "yolov3_d53_asff_4xb16-300e_coco",
    ],
)
def test_other_detectors(name: str, tmp_path: Path) -> None:
    tiny_config(name).dump(tmp_path / "config.py")
    numbers = tmp_path / "numbers.json"
    options = (*SMALL, "--batch", "2", "--boxes", "20")
    assert main([str(tmp_path / "config.py"), *options, "--json", str(numbers)]) == 0
    (measured,) = json.loads(numbers.read_text())["detectors"]
    assert measured["train_step_peak_bytes"] > 0
    if "sparse" in name:  # it has no post-processing of its own
        assert "post-processing" not in measured["inference"]
    else:
        assert 10 <= measured["boxes_per_image"] <= 25


def test_necks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    written = tmp_path / "numbers.json"
    options = ("--size", 64, 96, "--pairs", 1, "--device", "cpu", "--json", written)
    assert main(list(map(str, options))) == 0
    output = capsys.readouterr().out
    rows = [line.split(" | ") for line in output.splitlines() if "FPN" in line][1:]
    numbers = json.loads(written.read_text())["necks"]
    assert len(rows) == len(numbers) == 11  # CARAFE has no CPU operator
    for row in rows:
        assert re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\)", row[4])
    measured = {name.split(": ")[1].split(",")[0] for name in numbers}
    for neck in set(fpn_necks.necks.__all__) - {"PyramidNeck"}:
        label = neck.replace("SAlphaFPN", "S-α FPN").replace("CFGFPN", "CFG-FPN")
        assert any(label in name for name in measured), f"{neck} is not measured"
    base = numbers["faster-rcnn: FPN (mmdet)"]
    s_alpha = numbers["faster-rcnn: S-α FPN, fixed"]
    for same in ("parameters", "multiply_adds"):
        assert base[same] == s_alpha[same]
