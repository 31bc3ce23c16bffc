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

HEALTHY: dict[str, dict[str, Any]] = {
    "python": {"version": "3.11.7", "executable": "python"},
    "copies": {
        "mmdet": ["/environment/mmdet"],
        "fpn_necks": ["/clone/fpn_necks"],
        "working_directory": "/clone",
    },
    "build_tools": {"pkg_resources": True},
    "gpu": {"present": False, "names": []},
    "numpy": {"version": "2.4.6", "file": "numpy"},
    "torch": {"version": "2.11.0+cu130", "file": "torch"},
    "torch_cuda": {"built_for": "13.0", "available": False},
    "torch_numpy": {},
    "torchvision": {"version": "0.26.0+cu130", "file": "torchvision"},
    "torchvision_nms": {"kept": 1},
    "cv2": {"version": "4.12.0", "file": "cv2"},
    "pycocotools": {"version": None, "file": "pycocotools"},
    "mmengine": {"version": "0.10.7", "file": "mmengine"},
    "config_printing": {"text": "answer = 42\n"},
    "mmcv": {"version": "2.1.0", "file": "mmcv"},
    "mmcv_ops": {"cuda": "not available"},
    "mmcv_nms": {"kept": 1},
    "mmdet": {"version": "3.3.0", "file": "mmdet"},
    "fpn_necks": {"version": "0.1.0", "file": "fpn_necks", "registered": True},
    "checkpoint": {"mean": 0.375},
    "environment": {"Python": "3.11"},
}
GPU = {"present": True, "names": ["GPU 0: Some Model"]}


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


CASES: list[tuple[str, dict[str, dict[str, Any]], str, str, str]] = [
    # what is wrong, changed facts, level, title, words of detail or remedy
    (
        "old Python",
        {"python": {"version": "3.9.1", "executable": "p"}},
        "fault",
        "Python",
        "3.10, 3.11 or 3.12",
    ),
    (
        "new Python",
        {"python": {"version": "3.14.0", "executable": "p"}},
        "warning",
        "Python",
        "3.10, 3.11 or 3.12",
    ),
    (
        "torch absent",
        {"torch": {"error": "ModuleNotFoundError: No module named 'torch'"}},
        "fault",
        "torch",
        "tools/setup.sh",
    ),
    (
        "old torch",
        {"torch": {"version": "1.13.1"}},
        "fault",
        "torch",
        "wanted >=2.1",
    ),
    (
        "torchvision of another torch",
        {
            "torchvision": {
                "error": "RuntimeError: operator torchvision::nms does not exist"
            }
        },
        "fault",
        "torchvision",
        "in one pip command",
    ),
    (
        "torchvision's ops do not run",
        {"torchvision_nms": {"error": "RuntimeError: no kernel"}},
        "fault",
        "torchvision nms",
        "in one pip command",
    ),
    (
        "builds for CPU and CUDA mixed",
        {"torchvision": {"version": "0.26.0+cpu"}},
        "warning",
        "torch and torchvision",
        "cu130 and cpu",
    ),
    (
        "old mmengine",
        {"mmengine": {"version": "0.8.0"}},
        "fault",
        "mmengine",
        "mmengine>=0.10.5",
    ),
    (
        "mmdet absent",
        {"mmdet": {"error": "ModuleNotFoundError: No module named 'mmdet'"}},
        "fault",
        "mmdet",
        "mmdet>=3.3.0",
    ),
    (
        "mmdet 2",
        {"mmdet": {"version": "2.28.0"}},
        "fault",
        "mmdet",
        "wanted >=3.3.0,<4",
    ),
    (
        "mmdet refuses mmcv",
        {"mmdet": {"error": "AssertionError: MMCV==2.2.0 is used but incompatible."}},
        "fault",
        "mmdet",
        "mmdet and mmcv do not belong together",
    ),
    (
        "mmcv-lite",
        {"mmcv_ops": {"error": "ModuleNotFoundError: No module named 'mmcv._ext'"}},
        "fault",
        "mmcv ops",
        "mmcv-lite",
    ),
    (
        "mmcv compiled for another torch",
        {"mmcv_ops": {"error": "ImportError: _ext.so: undefined symbol: _ZN3c10"}},
        "fault",
        "mmcv ops",
        "another torch than 2.11.0",
    ),
    (
        "mmcv's nms does not run",
        {"mmcv_nms": {"error": "RuntimeError: no implementation"}},
        "fault",
        "mmcv nms",
        "compile mmcv",
    ),
    (
        "mmcv for the CPU beside a GPU",
        {"gpu": GPU, "torch_cuda": {"built_for": "13.0", "available": True}},
        "warning",
        "mmcv ops",
        "FORCE_CUDA=1",
    ),
    (
        "GPU and a torch for the CPU",
        {"gpu": GPU, "torch_cuda": {"built_for": None, "available": False}},
        "warning",
        "GPU",
        "built for CUDA",
    ),
    (
        "GPU and an old driver",
        {"gpu": GPU},
        "warning",
        "GPU",
        "driver",
    ),
    (
        "yapf without verify",
        {
            "config_printing": {
                "error": "TypeError: FormatCode() got an unexpected keyword "
                "argument 'verify'"
            }
        },
        "fault",
        "printing of configs",
        "yapf<0.40.2",
    ),
    (
        "torch for numpy 1",
        {"torch_numpy": {"error": "RuntimeError: Numpy is not available"}},
        "fault",
        "torch with numpy",
        "numpy<2",
    ),
    (
        "pycocotools for numpy 1",
        {"pycocotools": {"error": "ValueError: numpy.dtype size changed"}},
        "fault",
        "pycocotools",
        "numpy<2",
    ),
    (
        "pycocotools absent",
        {"pycocotools": {"error": "ModuleNotFoundError: No module named 'x'"}},
        "fault",
        "pycocotools",
        "pip install --force-reinstall",
    ),
    (
        "no libGL",
        {
            "cv2": {
                "error": "ImportError: libGL.so.1: cannot open shared object file: "
                "No such file or directory"
            }
        },
        "fault",
        "cv2",
        "opencv-python-headless",
    ),
    (
        "fpn_necks does not register",
        {"fpn_necks": {"version": "0", "file": "f", "registered": False}},
        "fault",
        "fpn_necks",
        "SAlphaFPN",
    ),
    (
        "log history refused",
        {
            "checkpoint": {
                "error": "UnpicklingError: much text Unsupported global: GLOBAL "
                "mmengine.logging.history_buffer.HistoryBuffer was not allowed"
            }
        },
        "fault",
        "checkpoints",
        "does not allow mmengine.logging.history_buffer.HistoryBuffer",
    ),
    (
        "two copies of mmdet",
        {"copies": HEALTHY["copies"] | {"mmdet": ["/b/mmdet", "/a/mmdet"]}},
        "fault",
        "copies of mmdet",
        "remove all but one",
    ),
    (
        "mmdet in the working directory",
        {"copies": HEALTHY["copies"] | {"mmdet": ["/clone/mmdet", "/a/mmdet"]}},
        "fault",
        "copies of mmdet",
        "rename /clone/mmdet or run from another directory",
    ),
    (
        "two copies of fpn_necks",
        {"copies": HEALTHY["copies"] | {"fpn_necks": ["/b/f", "/a/f"]}},
        "warning",
        "copies of fpn_necks",
        "remove all but one",
    ),
    (
        "an empty folder in mmdet's place",
        {"mmdet": {"version": None, "file": "/clone/mmdet"}},
        "fault",
        "mmdet",
        "/clone/mmdet is not the library",
    ),
    (
        "killed by a signal",
        {"died": {"step": "mmcv_ops", "how": "signal 11 (SIGSEGV)", "output": "x"}},
        "fault",
        "mmcv_ops",
        "signal 11 (SIGSEGV); it last wrote: x",
    ),
]


@pytest.mark.parametrize(
    ("changed", "level", "title", "words"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_fact(
    changed: dict[str, dict[str, Any]], level: str, title: str, words: str
) -> None:
    results = problems_with(changed)
    assert [(result.level, result.title) for result in results] == [(level, title)]
    assert words in f"{results[0].detail} {results[0].remedy}"
    assert results[0].remedy


def test_setuptools_matters_only_while_mmcv_is_to_be_compiled() -> None:
    without = {"build_tools": {"pkg_resources": False}}
    assert problems_with(without) == []
    lite = {"mmcv_ops": {"error": "ModuleNotFoundError: No module named 'mmcv._ext'"}}
    results = problems_with(without | lite)
    assert [result.title for result in results] == ["setuptools", "mmcv ops"]
    assert results[0].level == "warning"
    assert "setuptools<81" in results[0].remedy


def test_torch_too_new_for_compiling_mmcv() -> None:
    lite = {"error": "ModuleNotFoundError: No module named 'mmcv._ext'"}
    new = {"torch": {"version": "2.14.1+cpu"}, "mmcv_ops": lite}
    results = problems_with(new | {"torchvision": {"version": "0.29.1+cpu"}})
    assert [result.title for result in results] == ["mmcv ops"]
    assert "below 2.14" in results[0].remedy
    assert "below 2.14" not in problems_with({"mmcv_ops": lite})[0].remedy


def test_a_consequence_points_to_its_cause() -> None:
    error = {"error": "RuntimeError: operator torchvision::nms does not exist"}
    results = problems_with({"torchvision": error, "mmdet": error})
    assert [result.title for result in results] == ["torchvision", "mmdet"]
    assert results[1].remedy == "fix torchvision"


def test_skipped_and_absent_steps_say_nothing() -> None:
    facts = {"python": HEALTHY["python"], "mmcv": {"skipped": "cv2"}}
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

CLONE = Path(__file__).parents[1]


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
    faults = [item for item in results.values() if item["level"] == "fault"]
    assert faults == []
    assert status == 0
    assert {"torch", "mmcv ops", "mmdet", "fpn_necks", "checkpoints"} <= set(results)


def test_torchvision_of_another_torch_and_a_second_mmdet(tmp_path: Path) -> None:
    error = "operator torchvision::nms does not exist"
    write_package(tmp_path, "torchvision", f"raise RuntimeError({error!r})")
    write_package(tmp_path, "mmdet", "__version__ = '3.3.0'\n")
    status, results = doctor(tmp_path)
    assert status == 1
    assert results["torchvision"]["level"] == "fault"
    assert error in results["torchvision"]["detail"]
    assert "in one pip command" in results["torchvision"]["remedy"]
    copies = results["copies of mmdet"]
    assert copies["level"] == "fault"
    assert copies["detail"].startswith(str(tmp_path.resolve() / "mmdet") + " hides ")
    assert "remove all but one" in copies["remedy"]
    assert results["torch"]["level"] == "ok"


def test_mmcv_without_ops_and_yapf_without_verify(tmp_path: Path) -> None:
    write_package(tmp_path, "mmcv", "__version__ = '2.1.0'\n")
    # The trap is an mmengine that passes `verify` to a yapf that takes it no longer.
    # This mmengine passes it to versions before 0.40.2, so the stand-in says it is one.
    write_package(tmp_path, "yapf", "__version__ = '0.40.1'\n")
    write_package(tmp_path / "yapf", "yapflib", "")
    (tmp_path / "yapf/yapflib/yapf_api.py").write_text(
        "def FormatCode(text, style_config=None):\n    return text, False\n"
    )
    status, results = doctor(tmp_path)
    assert status == 1
    assert results["mmcv ops"]["level"] == "fault"
    assert "mmcv-lite" in results["mmcv ops"]["detail"]
    assert "compile mmcv" in results["mmcv ops"]["remedy"]
    assert results["printing of configs"]["level"] == "fault"
    assert "yapf<0.40.2" in results["printing of configs"]["remedy"]


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
    status, results = doctor(tmp_path)
    assert status == 1
    assert results["numpy"]["level"] == "fault"
    assert how in results["numpy"]["detail"]
    assert "last words" in results["numpy"]["detail"]
    assert "torch" not in results


def test_a_library_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(tmp_path, "numpy", "import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = gather_facts(timeout=3)
    assert facts["died"]["step"] == "numpy"
    assert facts["died"]["how"] == "did not finish within 3 s"
