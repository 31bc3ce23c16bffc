"""`tools/check_gpu.py`: the same call as on a GPU, on a processor."""

import importlib.util
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fpn_necks.gpu_checks.page import BEGIN, END
from fpn_necks.gpu_checks.planning import CHECKS, plan
from fpn_necks.gpu_checks.running import read_lines
from fpn_necks.gpu_checks.settings import Settings

TOOL = Path(__file__).parents[2] / "tools" / "check_gpu.py"


@pytest.fixture(scope="module")
def tool():
    specification = importlib.util.spec_from_file_location("check_gpu", TOOL)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    logging.disable(logging.NOTSET)


def test_one_call_in_this_process(tool, tmp_path: Path, monkeypatch) -> None:
    """From the command line over the worker's files to report and page."""

    def run_here(keys, command, folder, task, minutes, progress):
        settings = json.dumps(
            dict(task, todo=keys, deadline=time.time() + 60, spent={})
        )
        (folder / tool.TASK).write_text(settings)
        assert command[1:] == [str(TOOL), "--worker", str(folder)]
        assert tool.main(["--worker", str(folder)]) == 0
        outcomes, begun = read_lines(folder / tool.LINES)
        assert begun is None and [(o.check, o.subject) for o in outcomes] == keys
        return outcomes

    monkeypatch.setattr(tool, "run_in_processes", run_here)
    page, out = tmp_path / "page.md", tmp_path / "new" / "out"
    page.write_text(f"# A page\n{BEGIN}\n{END}\n")
    arguments = ["--device", "cpu", "--quick", "--only", "environment", "AugFPN [bf16"]
    assert tool.main([*arguments, "--out", str(out), "--write-page", str(page)]) == 0
    outcomes = json.loads((out / "report.json").read_text())["outcomes"]
    assert {o["state"] for o in outcomes} == {"passed"}
    checks = {o["check"] for o in outcomes}
    assert checks == {"environment", "precision", "neck-costs"}
    assert (out / "report.md").read_text().strip() in page.read_text()
    assert "# A page" in page.read_text()


@pytest.mark.long
def test_one_call(tmp_path: Path) -> None:
    """Processes, report and page."""
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n{BEGIN}\n{END}\n")
    out = tmp_path / "new" / "out"
    result = subprocess.run(
        [
            *(sys.executable, TOOL, "--device", "cpu", "--quick"),
            *("--budget-minutes", "4", "--only", "environment", "AugFPN [bf16"),
            *("--out", out, "--write-page", page),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        *("log.txt", "outcomes.jsonl", "report.json", "report.md", "task.json")
    ]
    written = json.loads((out / "report.json").read_text())
    assert {o["state"] for o in written["outcomes"]} == {"passed"}
    assert {o["check"] for o in written["outcomes"]} == {
        *("environment", "precision", "neck-costs")
    }
    text = (out / "report.md").read_text()
    assert text.strip() in page.read_text() and "# A page" in page.read_text()
    assert "| AugFPN | 0.0" in text and "Necks alone, autocast bfloat16" in text


def test_every_check_is_planned(tool) -> None:
    settings = Settings(device="cuda", golden=str(tool.GOLDEN))
    units = plan(settings)
    checks = list(dict.fromkeys(unit.check for unit in units))
    assert checks == list(CHECKS)  # right numbers first, then costs
    keys = [unit.key for unit in units]
    assert len(set(keys)) == len(keys)
    for mode in ("fp32", "tf32", "fp16", "bf16", "fp16-channels-last"):
        assert ("neck-costs", f"DRFPN [{mode}]") in keys
    assert ("training", "ASFF, YOLOv3 [fp16]") in keys


def test_the_exit_status(tool, tmp_path: Path, monkeypatch, capsys) -> None:
    """0 only if something was checked and nothing failed."""
    arguments = ["--device", "cpu", "--quick", "--only", "environment"]
    for number, (states, status) in enumerate(
        ((("passed", "not run"), 0), (("passed", "failed"), 1), (("not run",), 1))
    ):
        outcomes = [tool.Outcome("environment", s, s) for s in states]
        monkeypatch.setattr(tool, "run_in_processes", lambda *a, o=outcomes: o)
        out = tmp_path / str(number)
        assert tool.main([*arguments, "--out", str(out)]) == status
        assert (out / "report.md").exists()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "tpu"], "--device must be cpu or cuda, got tpu"),
        (["--device", "cuda:99"], "sees no such GPU; `fpn-necks doctor`"),
        (["--budget-minutes", "0"], "--budget-minutes must be above 0, got 0.0"),
        (["--only", "no such"], "--only no such is no check (environment, parity"),
        (["--golden", "nowhere"], "--golden nowhere is no folder"),
        (["--golden", "."], "has no golden numbers"),
        (["--out", "FULL"], "exists and is no empty folder"),
        (["--write-page", "FULL/file.md"], "must have the lines"),
        (["--write-page", "none.md"], "No such file"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    tool, tmp_path: Path, monkeypatch, capsys, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FULL").mkdir()
    Path("FULL/file.md").write_text("mine")
    assert tool.main(["--device", "cpu", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert Path("FULL/file.md").read_text() == "mine"


@pytest.mark.long
def test_all_checks_in_one_call(tmp_path: Path) -> None:
    """Costs of every neck, and of one method in whole detectors."""
    result = subprocess.run(
        [
            *(sys.executable, TOOL, "--device", "cpu", "--quick"),
            *("--budget-minutes", "9", "--only", "neck-costs", "golden"),
            *("RetinaNet, AugFPN", "--out", tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=590,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    outcomes = json.loads((tmp_path / "report.json").read_text())["outcomes"]
    others = {o["subject"]: o["state"] for o in outcomes if o["state"] != "passed"}
    assert set(others.values()) <= {"unsupported"}
    assert all(subject.startswith("FPN_CARAFE") for subject in others)
