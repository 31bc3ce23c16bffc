"""Which judge is for which step, and what is the consequence of what."""

from __future__ import annotations

from collections.abc import Callable

from ..compatibility import remedy_for
from .facts import Facts
from .findings import Finding
from .judges import (
    judge_build_tools,
    judge_checkpoint,
    judge_config_printing,
    judge_copies,
    judge_fpn_necks,
    judge_gpu,
    judge_library,
    judge_mmcv_nms,
    judge_mmcv_ops,
    judge_python,
    judge_torch_numpy,
    judge_torchvision_nms,
)
from .remedies import SAME_BUILD, SET_UP


def diagnose(facts: Facts) -> list[Finding]:
    """Judge the facts.

    Args:
        facts: Step -> facts, as ``gather_facts`` returns them. A step that is absent
            was not reached and is not judged.

    Returns:
        The findings in the order of the steps; causes come before their consequences.
    """
    findings: list[Finding] = []
    for step, judge in _JUDGES.items():
        if step in facts and "skipped" not in facts[step]:
            findings += judge(facts)
    died = facts.get("died")
    if died is not None:
        said = f"; it last wrote: {died['output']}" if died.get("output") else ""
        findings.append(
            Finding(
                "fault",
                died["step"],
                f"using it ended the process: {died['how']}{said}",
                "install it anew, compiled for the installed torch and numpy; "
                f"what comes after it was not examined. Or: {SET_UP}",
            )
        )
    return findings


def _library(step: str, remedy: str) -> Callable[[Facts], list[Finding]]:
    def judge(facts: Facts) -> list[Finding]:
        error = facts[step].get("error")
        earlier = None if error is None else _earlier_step_with(error, step, facts)
        if earlier is None:
            return judge_library(step, remedy, facts)
        return [
            Finding("fault", step, f"same error as {earlier}", f"mend {earlier} first")
        ]

    return judge


def _earlier_step_with(error: str, step: str, facts: Facts) -> str | None:
    for earlier in _JUDGES:
        if earlier == step:
            return None
        if facts.get(earlier, {}).get("error") == error:
            return earlier
    return None


_JUDGES: dict[str, Callable[[Facts], list[Finding]]] = {
    "python": judge_python,
    "copies": judge_copies,
    "build_tools": judge_build_tools,
    "gpu": judge_gpu,
    "numpy": _library("numpy", "pip install numpy"),
    "torch": _library("torch", f"{remedy_for('torch')}; {SET_UP}"),
    "torch_numpy": judge_torch_numpy,
    "torchvision": _library("torchvision", SAME_BUILD),
    "torchvision_nms": judge_torchvision_nms,
    "cv2": _library("cv2", "pip install opencv-python"),
    "pycocotools": _library(
        "pycocotools", "pip install --force-reinstall --no-cache-dir pycocotools"
    ),
    "mmengine": _library("mmengine", remedy_for("mmengine")),
    "config_printing": judge_config_printing,
    "mmcv": _library("mmcv", remedy_for("mmcv")),
    "mmcv_ops": judge_mmcv_ops,
    "mmcv_nms": judge_mmcv_nms,
    "mmdet": _library("mmdet", remedy_for("mmdet")),
    "fpn_necks": judge_fpn_necks,
    "checkpoint": judge_checkpoint,
}
