"""Judges of what surrounds the libraries."""

from __future__ import annotations

from pathlib import Path

from ...compatibility import release
from ..facts import Facts
from ..findings import Finding


def judge_python(facts: Facts) -> list[Finding]:
    """Judge the version of Python."""
    version = facts["python"]["version"]
    detail = f"{version} at {facts['python']['executable']}"
    if release(version) < (3, 10):
        return [Finding("fault", "Python", detail, "use Python 3.10, 3.11 or 3.12")]
    if release(version) >= (3, 13):
        return [
            Finding(
                "warning",
                "Python",
                f"{detail}: newer than what mmcv and mmdet are tested with",
                "use Python 3.10, 3.11 or 3.12",
            )
        ]
    return [Finding("ok", "Python", detail)]


def judge_copies(facts: Facts) -> list[Finding]:
    """Judge whether one copy of a package hides another."""
    copies = facts["copies"]
    findings = []
    for package, level in (("mmdet", "fault"), ("fpn_necks", "warning")):
        folders = copies.get(package, [])
        if len(folders) < 2:
            continue
        others = ", ".join(folders[1:])
        here = Path(folders[0]).parent == Path(copies["working_directory"])
        remedy = (
            f"the first one is in the working directory: rename {folders[0]} or run "
            "from another directory"
            if here
            else f"remove all but one (pip uninstall, PYTHONPATH); the first one is "
            f"{folders[0]}"
        )
        findings.append(
            Finding(
                level,  # type: ignore[arg-type]
                f"copies of {package}",
                f"{folders[0]} hides {others}: what is registered in or edited in one "
                "copy is unknown to the other",
                remedy,
            )
        )
    return findings


def judge_build_tools(facts: Facts) -> list[Finding]:
    """Judge what compiling mmcv needs, unless it is compiled."""
    ops = facts.get("mmcv_ops", {})
    if facts["build_tools"]["pkg_resources"] or ("cuda" in ops):
        return []  # needed for compiling mmcv only
    return [
        Finding(
            "warning",
            "setuptools",
            "pkg_resources is missing, and mmcv's setup.py needs it to be compiled",
            "pip install 'setuptools<81' before compiling mmcv, and compile it with "
            "--no-build-isolation",
        )
    ]


def judge_gpu(facts: Facts) -> list[Finding]:
    """Judge whether torch can use the GPU, if there is one."""
    gpu, cuda = facts["gpu"], facts.get("torch_cuda", {})
    if not gpu.get("present"):
        return [Finding("ok", "GPU", "none; everything runs on the CPU")]
    name = ", ".join(gpu.get("names", [])) or "a device without a working nvidia-smi"
    if cuda.get("available") is False:
        if cuda.get("built_for") is None:
            remedy = "install a torch that is built for CUDA; then compile mmcv anew"
        else:
            remedy = (
                f"this torch is built for CUDA {cuda['built_for']}: update the NVIDIA "
                "driver to one for it or install a torch for an older CUDA; check "
                "CUDA_VISIBLE_DEVICES, and --gpus for a container"
            )
        return [Finding("warning", "GPU", f"{name}, which torch cannot use", remedy)]
    return [Finding("ok", "GPU", name)]
