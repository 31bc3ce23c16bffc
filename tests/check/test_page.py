"""What docs/check_config.md says holds: its commands, their output and its code."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from fpn_necks.cli import main
from fpn_necks.shipped_configs import config_path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "check_config.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[list[str]]:
    joined = "\n".join(blocks("bash")).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of mmdet's own Faster R-CNN, in its full width."""
    register_all_modules()
    config = Config.fromfile(config_path("faster-rcnn_r50_drfpn_3xb8-1x_coco")).model
    config.neck.type = "FPN"
    config.neck.pop("srb", None)  # of DRFPN
    path = tmp_path_factory.mktemp("baseline") / "faster_rcnn_r50_fpn.pth"
    # Zeros that share one number each: a file of a few kilobytes.
    with torch.device("meta"):
        state = MODELS.build(config).state_dict()
    zeros = {name: torch.zeros(()).expand(x.shape) for name, x in state.items()}
    torch.save(dict(state_dict=zeros), path)
    return path


def test_checks_exit_as_the_page_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    checks = [words[1:] for words in commands() if words[1] == "check"]
    assert len(checks) == 3
    wrong = [words for words in checks if "--cfg-options" in words]
    assert [main(words) for words in checks] == [
        int(words in wrong) for words in checks
    ]
    capsys.readouterr()
    main(wrong[0])
    output = capsys.readouterr().out
    shown = blocks("text")[0]
    place = re.compile(r"\((\S*)/_base_/models/retinanet_r50_fpn.py:(\d+)\)")
    assert place.search(output)[2] == place.search(shown)[2]
    assert place.sub("", shown) in place.sub("", output)


def test_warm_start_prints_the_table(
    baseline: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    (words,) = (words for words in commands() if words[1] == "warm-start")
    config, checkpoint, out = words[2:]
    assert checkpoint == baseline.name
    monkeypatch.chdir(tmp_path)
    arguments = [str(ROOT / config), str(baseline), str(tmp_path / out)]
    assert main(["warm-start", *arguments]) == 0
    shown = blocks("text")[1].rstrip()
    assert capsys.readouterr().out.startswith(shown)
    assert (tmp_path / out).is_file()


def test_code_runs(
    baseline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (code,) = blocks("python")
    config = Config.fromfile(config_path("faster-rcnn_r50_s-alpha-fpn_1x_coco"))
    monkeypatch.chdir(baseline.parent)
    register_all_modules()
    exec(code, {"model": MODELS.build(config.model)})
    assert "neck.lateral_convs" in capsys.readouterr().out
