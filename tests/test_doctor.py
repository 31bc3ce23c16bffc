"""Each result, on injected facts, and a few real broken installations."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fpn_necks.doctor import Result, diagnose, format_results, gather_facts

CLONE = Path(__file__).parents[1]
HEALTHY: dict[str, dict[str, Any]] = {
    "Python": {"version": "3.11.7", "executable": "python"},
    "numpy": {"version": "2.4.6", "file": "numpy"},
    "torch": {"version": "2.11.0+cu130", "file": "torch"},
    "GPU": {"names": [], "driver": False},
    "torch with numpy": {},
    "torchvision": {"version": "0.26.0+cu130", "file": "torchvision"},
    "torchvision nms": {"kept": 1},
    "cv2": {"version": "4.12.0", "file": "cv2"},
    "pycocotools": {"version": None, "file": "pycocotools"},
    "mmengine": {"version": "0.10.7", "file": "mmengine"},
    "mmcv": {"version": "2.1.0", "file": "mmcv"},
    "mmcv ops": {"cuda": "not available"},
    "mmcv nms": {"kept": 1},
    "mmdet": {"version": "3.3.0", "file": "mmdet"},
    "fpn_necks": {"version": "0.1.0", "file": "fpn_necks", "registered": True},
    "checkpoints": {"mean": 0.375},
    "environment": {"Python": "3.11"},
}
NO_OPS = {"error": "ModuleNotFoundError: No module named 'mmcv._ext'"}
REFUSED = "Unsupported global: GLOBAL mmengine.x.HistoryBuffer was not allowed"


def problems_with(changed: dict[str, dict[str, Any]]) -> list[Result]:
    """Return what is not in order after some steps' facts are replaced."""
    facts = copy.deepcopy(HEALTHY) | changed
    return [result for result in diagnose(facts) if result.level != "ok"]


def test_healthy_installation() -> None:
    results = diagnose(HEALTHY)
    assert {result.level for result in results} == {"ok"}
    titles = {result.title for result in results}
    libraries = {"torch", "torchvision", "mmengine", "mmcv", "mmdet", "numpy", "cv2"}
    assert libraries | {"Python", "mmcv ops", "checkpoints", "fpn_necks"} <= titles
    assert not any(result.remedy for result in results)


def absent(name: str) -> dict[str, str]:
    return {"error": f"ModuleNotFoundError: No module named {name!r}"}


FAULT, WARNING = "fault", "warning"
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    # step, what it found, level, words of detail or remedy
    ("Python", dict(version="3.9.1", executable="p"), FAULT, "3.10, 3.11 or 3.12"),
    ("Python", dict(version="3.14.0", executable="p"), WARNING, "3.10, 3.11 or 3.12"),
    ("torch", absent("torch"), FAULT, "tools/setup.sh"),
    ("torch", {"version": "1.13.1"}, FAULT, "wanted >=2.1"),
    ("torchvision", {"error": "RuntimeError: nms"}, FAULT, "in one pip command"),
    ("torchvision nms", {"error": "RuntimeError"}, FAULT, "in one pip command"),
    ("torchvision nms", {"kept": 2}, FAULT, "wrong result"),
    ("mmengine", {"version": "0.8.0"}, FAULT, "mmengine>=0.10.5"),
    ("mmdet", absent("mmdet"), FAULT, "mmdet>=3.3.0"),
    ("mmdet", {"version": "2.28.0"}, FAULT, "wanted >=3.3.0,<4"),
    ("mmdet", {"error": "MMCV==2.2.0 is used"}, FAULT, "do not belong together"),
    ("mmdet", {"version": None, "file": "/c/mmdet"}, FAULT, "mmdet is not the library"),
    ("mmcv ops", NO_OPS, FAULT, "mmcv-lite"),
    ("mmcv ops", {"error": "undefined symbol"}, FAULT, "another torch than 2.11.0"),
    ("mmcv nms", {"error": "RuntimeError"}, FAULT, "compile mmcv"),
    ("torch with numpy", {"error": "Numpy is not available"}, FAULT, "numpy<2"),
    ("pycocotools", {"error": "numpy.dtype size changed"}, FAULT, "numpy<2"),
    ("pycocotools", absent("x"), FAULT, "pip install --force-reinstall"),
    ("cv2", {"error": "libGL.so.1: cannot open"}, FAULT, "opencv-python-headless"),
    ("fpn_necks", dict(version="0", file="f", registered=False), FAULT, "SAlphaFPN"),
    ("checkpoints", {"error": REFUSED}, FAULT, "not allow mmengine.x.HistoryBuffer"),
]


@pytest.mark.parametrize(("step", "fact", "level", "words"), CASES)
def test_fact(step: str, fact: dict[str, Any], level: str, words: str) -> None:
    (result,) = problems_with({step: fact})
    assert (result.level, result.title) == (level, step)
    assert words in f"{result.detail} {result.remedy}" and result.remedy


@pytest.mark.parametrize(
    ("names", "title", "words"),
    [(["Some Model"], "mmcv ops", "FORCE_CUDA=1"), ([], "GPU", "NVIDIA driver")],
)
def test_gpu_that_is_not_used(names: list[str], title: str, words: str) -> None:
    (result,) = problems_with({"GPU": {"names": names, "driver": True}})
    assert (result.level, result.title) == ("warning", title)
    assert words in result.remedy


def test_torch_too_new_for_compiling_mmcv() -> None:
    new = {"torch": {"version": "2.14.1+cpu"}, "mmcv ops": NO_OPS}
    (result,) = problems_with(new)
    assert result.title == "mmcv ops" and "below 2.14" in result.remedy
    assert "below 2.14" not in problems_with({"mmcv ops": NO_OPS})[0].remedy


def test_skipped_and_absent_steps_say_nothing() -> None:
    facts = {"Python": HEALTHY["Python"], "mmcv": {"skipped": "cv2"}}
    assert [result.title for result in diagnose(facts)] == ["Python"]


def test_format() -> None:
    results = [
        Result("ok", "torch", "2.11.0"),
        Result("fault", "torchvision", "does not run", "install it anew"),
        Result("warning", "GPU", "x" * 1000, "update"),
    ]
    lines = format_results(results).splitlines()
    assert lines[0].split() == ["ok", "torch", "2.11.0"]
    assert lines[2].strip() == "fix: install it anew"
    assert "--json has the rest" in lines[3]
    assert lines[-1] == "1 fault, 1 warning"


# ------------------------------------------------- real broken installations


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
    results = json.loads(result.stdout)["results"]
    return result.returncode, {result["title"]: result for result in results}


def write_package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)


def test_this_installation_has_no_fault(tmp_path: Path) -> None:
    status, results = doctor(tmp_path)
    assert [item for item in results.values() if item["level"] == "fault"] == []
    assert status == 0
    assert {"torch", "mmcv ops", "mmdet", "fpn_necks", "checkpoints"} <= set(results)


def test_broken_libraries(tmp_path: Path) -> None:
    """torchvision of another torch, and mmcv without ops."""
    error = "operator torchvision::nms does not exist"
    write_package(tmp_path, "torchvision", f"raise RuntimeError({error!r})")
    write_package(tmp_path, "mmcv", "__version__ = '2.1.0'\n")
    status, results = doctor(tmp_path)
    assert status == 1
    for title, detail, remedy in (
        ("torchvision", error, "in one pip command"),
        ("mmcv ops", "mmcv-lite", "compile mmcv"),
    ):
        found = results[title]
        assert found["level"] == "fault"
        assert detail in found["detail"] and remedy in found["remedy"]
    assert results["torch"]["level"] == "ok" and "mmdet" not in results


@pytest.mark.parametrize(
    ("death", "how"),
    [
        ("os._exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11 (Segmentation fault)"),
        ("time.sleep(60)", "did not finish within 3 s"),
    ],
)
def test_a_library_that_ends_the_process(
    death: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # numpy comes early, so this does not wait for torch.
    text = "import os, signal, sys, time\nsys.stderr.write('last words\\n')\n"
    write_package(tmp_path, "numpy", f"{text}sys.stderr.flush()\n{death}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = gather_facts(timeout=3 if "sleep" in death else 60)
    (fault,) = (result for result in diagnose(facts) if result.level == "fault")
    assert (fault.level, fault.title) == ("fault", "numpy")
    assert how in fault.detail and "last words" in fault.detail
    assert "torch" not in facts
