"""The command line `fpn-necks check`, and where a key is written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fpn_necks.check.report import find_line
from fpn_necks.cli import main
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


def test_faults_with_places(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_config(tmp_path, BROKEN)
    assert main(["check", str(path)]) == 1
    output = capsys.readouterr().out
    assert "error    custom_imports\n" in output
    assert "model.bbox_head.anchor_generator.strides  (" in output
    assert "remedy: set model.neck.start_level=1 and num_outs=5, or" in output
    assert "2 errors, no warnings, 2 notes" in output

    assert main(["check", str(path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["config"] == str(path)
    first, second, *notes = report["problems"]
    assert {note["level"] for note in notes} == {"note"}
    assert (first["level"], first["key"]) == ("error", "custom_imports")
    file, _, line = second["place"].rpartition(":")
    assert "strides" in Path(file).read_text().splitlines()[int(line) - 1]


def test_fault_of_an_option_is_placed_there(
    capsys: pytest.CaptureFixture,
) -> None:
    key = "model.bbox_head.num_classes"
    assert main(["check", str(RETINA), "--cfg-options", f"{key}=3"]) == 1
    assert f"error    {key}  (--cfg-options {key})" in capsys.readouterr().out


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
    around = line_of("model.neck.1.compress_channels")
    assert "ASFF" in around or "dict(" in around
