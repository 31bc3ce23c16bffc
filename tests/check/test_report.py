"""The command line `fpn-necks check`, places and changes."""

import json
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config, DictAction

from fpn_necks.check.report import change_lines, find_line
from fpn_necks.cli import main
from fpn_necks.config_tools import load_config
from fpn_necks.shipped_configs import config_path

RETINA = config_path("retinanet_r50_s-alpha-fpn_1x_coco")


def write_config(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(f'_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"\n{text}')
    return path


BROKEN = """
model = dict(
    neck=dict(
        type="SAlphaFPN",
        start_level=0,
        fusion_factor=0.5,
    ),
)
"""


def test_faults_with_places_and_lines_that_mend_them(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write_config(tmp_path, BROKEN)
    assert main(["check", str(path)]) == 1
    output = capsys.readouterr().out
    assert "error    custom_imports\n" in output
    line = "custom_imports = dict(imports=['fpn_necks'], allow_failed_imports=False)\n"
    assert f"in the config: {line}" in output
    assert "model.bbox_head.anchor_generator.strides  (" in output
    assert "--cfg-options model.neck.start_level=1" in output
    assert "2 errors, no warnings, 2 notes" in output
    path.write_text(path.read_text() + line)
    assert main(["check", str(path), "--cfg-options", "model.neck.start_level=1"]) == 0


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_config(tmp_path, BROKEN)
    assert main(["check", str(path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["config"] == str(path)
    first, second, *notes = report["problems"]
    assert {note["level"] for note in notes} == {"note"}
    assert (first["level"], first["key"]) == ("error", "custom_imports")
    assert second["changes"] == {"model.neck.start_level": 1}
    assert second["to_change"] == ["--cfg-options model.neck.start_level=1"]
    file, _, line = second["place"].rpartition(":")
    assert "strides" in Path(file).read_text().splitlines()[int(line) - 1]


def test_fault_of_an_option_is_placed_there(
    capsys: pytest.CaptureFixture,
) -> None:
    option = "model.bbox_head.num_classes=3"
    assert main(["check", str(RETINA), "--cfg-options", option]) == 1
    output = capsys.readouterr().out
    key = "model.bbox_head.num_classes"
    assert f"error    {key}  (--cfg-options {key})" in output
    assert f"--cfg-options {key}=80" in output


def test_imports_of_the_users_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_neck.py").write_text(
        "from mmdet.registry import MODELS\n"
        "from mmdet.models.necks import FPN\n"
        "@MODELS.register_module()\n"
        "class NeckOfMine(FPN):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "custom_imports = dict(imports=['my_own_neck'])\n"
        "model = dict(neck=dict(type='NeckOfMine'))\n"
    )
    assert main(["check", str(write_config(tmp_path, text))]) == 0


def test_as_users_call_it(tmp_path: Path) -> None:
    """In a process of its own, in which the package has not been imported whole."""
    path = write_config(
        tmp_path,
        "custom_imports = dict(imports=['fpn_necks'])\n"
        "model = dict(neck=dict(type='SAlphaFPN', fusion_factor=0.5))\n",
    )
    result = subprocess.run(
        [sys.executable, "-m", "fpn_necks", "check", str(path)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "no errors, no warnings, 2 notes" in result.stdout
    assert result.stderr == ""


def test_shipped_places() -> None:
    name = config_path("retinanet_r50_asff_1x_coco")

    def line_of(key: str) -> str:
        file, _, line = find_line(name, key).rpartition(":")
        return Path(file).read_text().splitlines()[int(line) - 1]

    assert "ASFF" in line_of("model.neck.1.type")
    assert "num_classes" in line_of("model.bbox_head.num_classes")
    assert "base_batch_size" in line_of("auto_scale_lr.base_batch_size")
    assert find_line(name, "no_such_key.at_all") == ""
    # What is not written stands in for what is around it.
    assert "ASFF" in line_of("model.neck.1.compress_channels") or "dict(" in line_of(
        "model.neck.1.compress_channels"
    )


OPTIONS: list[dict[str, Any]] = [
    {"model.neck.num_outs": 5},
    {"model.neck.in_channels": [256, 512], "model.neck.start_level": 0},
    {"model.neck.fusion_factor": [0.5, 1.0]},
    {"model.backbone.init_cfg": None},
    {"train_dataloader.dataset.metainfo.classes": ("person",)},
    {"train_dataloader.dataset.metainfo.classes": ("person", "traffic_light")},
    {"model.bbox_head.regress_ranges": [(-1, 64), (64, 100000000)]},
    {"auto_scale_lr.enable": True},
]
LINES: list[dict[str, Any]] = [
    {"custom_hooks": [dict(type="FusionFactorHook")]},
    {"train_dataloader.dataset.metainfo.classes": ("traffic light", "car")},
    {"custom_imports": dict(imports=["a", "b"], allow_failed_imports=False)},
    {"model.neck.type": "12"},
]


@pytest.mark.parametrize("changes", [*OPTIONS, *LINES], ids=str)
def test_changes_are_read_back_as_they_are_meant(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """By ``--cfg-options``, or where these cannot say it as a line of the config."""
    lines = change_lines(changes)
    if changes in OPTIONS:
        (line,) = lines
        parser = ArgumentParser()
        parser.add_argument("--cfg-options", nargs="+", action=DictAction)
        assert parser.parse_args(shlex.split(line)).cfg_options == changes
        return
    path, prefix = tmp_path / "lines.py", "in the config: "
    assert all(line.startswith(prefix) for line in lines)
    path.write_text("\n".join(line.removeprefix(prefix) for line in lines))
    expected = Config()
    expected.merge_from_dict(dict(changes))
    assert load_config(path, import_modules=False).to_dict() == expected.to_dict()
