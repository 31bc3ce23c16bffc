"""docs/write_a_neck.md: its project is written to a folder, tested and trained."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from fpn_necks.__main__ import main
from tests.docs.code_blocks import modules_taken_back
from tests.tiny_detectors import make_tiny
from tests.tiny_sets import write_coco_set

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write_a_neck.md").read_text()
CONFIG = "configs/retinanet_r50_softmax-fpn_1x_coco.py"
FILES = dict(re.findall(r"^`(\S+\.py)`:\n\n```python\n(.*?)```", PAGE, re.M | re.S))
OF_THE_PROJECT = {"my_necks", "test_softmax_fpn", "test_generic"}
SHOWN = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my_project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def registered(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the project the working directory; take back what it registers."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project)
    with modules_taken_back(OF_THE_PROJECT):
        yield project


def test_its_tests_pass(registered: Path, capsys: pytest.CaptureFixture) -> None:
    """Its own and the generic ones, but compilation, which takes seconds."""
    words = ["-s", "-p", "no:cacheprovider", "--rootdir=.", "-k", "not compiles"]
    assert pytest.main([*words, "test_softmax_fpn.py", "test_generic.py"]) == 0
    assert int(re.search(r"(\d+) passed", capsys.readouterr().out)[1]) > 30


def test_check_says_what_the_page_says(
    registered: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["check", CONFIG]) == 0
    assert SHOWN[3].rstrip() in capsys.readouterr().out


def test_forgotten_import_is_named(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "forgotten.py"
    path.write_text(FILES[CONFIG].replace(', "my_necks"', ""))
    assert main(["check", str(path)]) == 1
    assert SHOWN[4].rstrip() in capsys.readouterr().out


def test_detector_trains_and_tests(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Two iterations with the page's config on a tiny backbone, and a test."""
    write_coco_set(tmp_path)
    config = make_tiny(Config.fromfile(CONFIG), tmp_path)
    config.work_dir = str(registered / "work_dirs" / Path(CONFIG).stem)
    assert config.model.neck.type == "SoftmaxFPN"
    config.model.test_cfg.score_thr = 0.0  # nothing is learnt in two iterations
    config.default_hooks.checkpoint.filename_tmpl = "epoch_12.pth"
    runner = Runner.from_cfg(config)
    decays = {
        group["weight_decay"]
        for group in runner.build_optim_wrapper(config.optim_wrapper).param_groups
        if any(p.shape == (2,) for p in group["params"])
    }
    assert decays == {0.0}
    before = [scores.clone() for scores in runner.model.neck.fusion_scores]
    runner.train()
    assert runner.iter == 2
    after = list(runner.model.neck.fusion_scores)
    assert len(after) == 2
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    metrics = runner.test()
    assert 0 <= metrics["coco/bbox_mAP"] <= 1

    (code,) = re.findall(r"```python\n(from pathlib.*?)```", PAGE, re.S)
    capsys.readouterr()
    exec(code, {})
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == [
        "neck.fusion_scores.0",
        "neck.fusion_scores.1",
    ]
    for line, scores in zip(printed, after, strict=True):
        numbers = [float(number) for number in re.findall(r"\d\.\d{3}", line)]
        expected = (2 * scores.detach().softmax(dim=0)).tolist()
        assert numbers == pytest.approx(expected, abs=1e-3)
