"""The doctor on a few real broken installations; each test costs some seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpn_necks.doctor import gather_facts

CLONE = Path(__file__).parents[2]


def doctor(folder: Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Call the doctor with a folder of stand-ins ahead of the installed libraries."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "fpn_necks", "doctor", "--json"],
        cwd=CLONE,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{CLONE}"},
        capture_output=True,
        text=True,
    )
    assert result.stdout, result.stderr
    findings = json.loads(result.stdout)["findings"]
    return result.returncode, {finding["title"]: finding for finding in findings}


def write_package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)


def test_this_installation_has_no_fault(tmp_path: Path) -> None:
    status, findings = doctor(tmp_path)
    faults = [item for item in findings.values() if item["level"] == "fault"]
    assert faults == []
    assert status == 0
    assert {"torch", "mmcv ops", "mmdet", "fpn_necks", "checkpoints"} <= set(findings)


def test_torchvision_of_another_torch_and_a_second_mmdet(tmp_path: Path) -> None:
    error = "operator torchvision::nms does not exist"
    write_package(tmp_path, "torchvision", f"raise RuntimeError({error!r})")
    write_package(tmp_path, "mmdet", "__version__ = '3.3.0'\n")
    status, findings = doctor(tmp_path)
    assert status == 1
    assert findings["torchvision"]["level"] == "fault"
    assert error in findings["torchvision"]["detail"]
    assert "in one pip command" in findings["torchvision"]["remedy"]
    copies = findings["copies of mmdet"]
    assert copies["level"] == "fault"
    assert copies["detail"].startswith(str(tmp_path.resolve() / "mmdet") + " hides ")
    assert "remove all but one" in copies["remedy"]
    assert findings["torch"]["level"] == "ok"


def test_mmcv_without_ops_and_yapf_without_verify(tmp_path: Path) -> None:
    write_package(tmp_path, "mmcv", "__version__ = '2.1.0'\n")
    # The trap is an mmengine that passes `verify` to a yapf that takes it no longer.
    # This mmengine passes it to versions before 0.40.2, so the stand-in says it is one.
    write_package(tmp_path, "yapf", "__version__ = '0.40.1'\n")
    write_package(tmp_path / "yapf", "yapflib", "")
    (tmp_path / "yapf/yapflib/yapf_api.py").write_text(
        "def FormatCode(text, style_config=None):\n    return text, False\n"
    )
    status, findings = doctor(tmp_path)
    assert status == 1
    assert findings["mmcv ops"]["level"] == "fault"
    assert "mmcv-lite" in findings["mmcv ops"]["detail"]
    assert "compile mmcv" in findings["mmcv ops"]["remedy"]
    assert findings["printing of configs"]["level"] == "fault"
    assert "yapf<0.40.2" in findings["printing of configs"]["remedy"]


@pytest.mark.parametrize(
    ("death", "how"),
    [
        ("os._exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11 (SIGSEGV)"),
    ],
)
def test_a_library_that_ends_the_process(death: str, how: str, tmp_path: Path) -> None:
    # numpy comes early, so this does not wait for torch.
    text = "import os, signal, sys\nsys.stderr.write('last words\\n')\n"
    write_package(tmp_path, "numpy", text + "sys.stderr.flush()\n" + death)
    status, findings = doctor(tmp_path)
    assert status == 1
    assert findings["numpy"]["level"] == "fault"
    assert how in findings["numpy"]["detail"]
    assert "last words" in findings["numpy"]["detail"]
    assert "torch" not in findings


def test_a_library_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(tmp_path, "numpy", "import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = gather_facts(timeout=3)
    assert facts["died"]["step"] == "numpy"
    assert facts["died"]["how"] == "did not finish within 3 s"
