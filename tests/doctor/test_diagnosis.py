"""Each finding, on injected facts."""

import copy
from typing import Any

import pytest

from fpn_necks.doctor import Finding, diagnose

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
}
GPU = {"present": True, "names": ["GPU 0: Some Model"]}


def findings_with(changed: dict[str, dict[str, Any]]) -> list[Finding]:
    """Return what is not in order after some steps' facts are replaced."""
    facts = copy.deepcopy(HEALTHY) | changed
    return [finding for finding in diagnose(facts) if finding.level != "ok"]


def test_healthy_installation() -> None:
    findings = diagnose(HEALTHY)
    assert {finding.level for finding in findings} == {"ok"}
    titles = {finding.title for finding in findings}
    libraries = {"torch", "torchvision", "mmengine", "mmcv", "mmdet", "numpy", "cv2"}
    assert libraries | {"Python", "mmcv ops", "checkpoints", "fpn_necks"} <= titles
    assert not any(finding.remedy for finding in findings)


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
def test_finding(
    changed: dict[str, dict[str, Any]], level: str, title: str, words: str
) -> None:
    findings = findings_with(changed)
    assert [(finding.level, finding.title) for finding in findings] == [(level, title)]
    assert words in f"{findings[0].detail} {findings[0].remedy}"
    assert findings[0].remedy


def test_setuptools_matters_only_while_mmcv_is_to_be_compiled() -> None:
    without = {"build_tools": {"pkg_resources": False}}
    assert findings_with(without) == []
    lite = {"mmcv_ops": {"error": "ModuleNotFoundError: No module named 'mmcv._ext'"}}
    findings = findings_with(without | lite)
    assert [finding.title for finding in findings] == ["setuptools", "mmcv ops"]
    assert findings[0].level == "warning"
    assert "setuptools<81" in findings[0].remedy


def test_torch_too_new_for_compiling_mmcv() -> None:
    lite = {"error": "ModuleNotFoundError: No module named 'mmcv._ext'"}
    new = {"torch": {"version": "2.14.1+cpu"}, "mmcv_ops": lite}
    findings = findings_with(new | {"torchvision": {"version": "0.29.1+cpu"}})
    assert [finding.title for finding in findings] == ["mmcv ops"]
    assert "below 2.14" in findings[0].remedy
    assert "below 2.14" not in findings_with({"mmcv_ops": lite})[0].remedy


def test_a_consequence_points_to_its_cause() -> None:
    error = {"error": "RuntimeError: operator torchvision::nms does not exist"}
    findings = findings_with({"torchvision": error, "mmdet": error})
    assert [finding.title for finding in findings] == ["torchvision", "mmdet"]
    assert findings[1].remedy == "mend torchvision first"


def test_skipped_and_absent_steps_are_not_judged() -> None:
    facts = {"python": HEALTHY["python"], "mmcv": {"skipped": "cv2"}}
    assert [finding.title for finding in diagnose(facts)] == ["Python"]
