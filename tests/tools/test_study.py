"""The command line of the study: what it runs, writes and refuses."""

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fpn_necks.reproduction import run as running
from tests.studies.tiny_study import in_this_process, make_recipe_tiny, write_tiny_bccd

TOOL = Path(__file__).parents[2] / "tools" / "study.py"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_tool", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:  # fmt: skip
    """Run the command in this process, in a folder of its own, with a tiny recipe."""
    monkeypatch.chdir(tmp_path)
    make_recipe_tiny(monkeypatch)
    monkeypatch.setattr(running, "execute_command", in_this_process)
    before = signal.getsignal(signal.SIGTERM)
    # The command sets these for its processes.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, os.environ.get(name, ""))

    def run(*arguments: object) -> tuple[int, str, str]:
        status = tool.main([*map(str, arguments)])
        return status, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, before)


def test_run_list_and_report(run: Run, tmp_path: Path) -> None:
    data = write_tiny_bccd(tmp_path / "bccd")
    cell = "retinanet-bccd-fpn"
    arguments = ("--data", data, "--device", "cpu")
    status, output, _ = run("run", *arguments, "--cells", cell, "--seeds", 0, 0)
    assert status == 0 and output.splitlines()[-1] == "1 finished, 0 failed"
    assert os.environ["OMP_NUM_THREADS"] == "1"
    status, output, _ = run("run", *arguments, "--cells", cell, "--seeds", 0)
    assert "finished before" in output
    assert run("trial", *arguments)[0] == 0

    status, output, _ = run("report", "--out", "out")
    assert status == 0
    files = sorted(path.name for path in Path("out").rglob("*") if path.is_file())
    assert files[-2:] == [f"{cell}_seed0.json", "small_data.md"] and len(files) == 3
    page = Path("out/small_data.md").read_text()
    assert "1 of the 42 planned runs were made." in page
    assert "- Trial 1, this recipe: AP" in page
    status, output, _ = run("report", "--out", "out")
    assert output.startswith("new: nothing\n")

    status, output, _ = run("list", "--out", "out")
    lines = {line.split()[0]: line.split()[2:] for line in output.splitlines()[1:]}
    assert lines[cell] == ["yes", "0"]
    assert lines["fcos-bccd-drfpn"] == ["-", "not", "run"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["run"], "--data is needed"),
        (["run", "--data", "nowhere"], "there is no nowhere/annotations/train.json"),
        (["run", "--cells", "fcos-coco-fpn"], "'fcos-coco-fpn', which fits no cell"),
        (["run", "--seeds", "-1"], "--seeds must be at least 0, got -1"),
        (["run", "--seeds", "100"], "100 is the seed of the trials"),
        (["run", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["trial"], "--data is needed"),
    ],
)
def test_wrong_input_is_one_line(run: Run, arguments: list[str], words: str) -> None:
    status, _, error = run(*arguments)
    assert status == 2
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


def test_a_missing_gpu_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, _, error = run("run", "--device", "cuda")
    assert status == 2 and error == (
        "error: --device cuda: torch finds no CUDA device here\n"
    )
