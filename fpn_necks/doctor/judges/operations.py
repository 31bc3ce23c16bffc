"""Judges of what libraries do, and of what they only do together."""

from __future__ import annotations

from ...compatibility import release, remedy_for
from ..facts import Facts
from ..findings import Finding
from ..remedies import SAME_BUILD, SET_UP

# mmcv 2.1.0 is C++17; torch's headers are C++20 from this version on.
_FIRST_TORCH_TOO_NEW_FOR_MMCV = (2, 14)


def judge_torch_numpy(facts: Facts) -> list[Finding]:
    """Judge whether torch and numpy exchange arrays."""
    error = facts["torch_numpy"].get("error")
    if error is None:
        return []
    return [
        Finding(
            "fault",
            "torch with numpy",
            f"torch cannot exchange arrays with numpy "
            f"{facts.get('numpy', {}).get('version')}: {error}",
            "pip install 'numpy<2' for a torch before 2.3, or install a newer torch",
        )
    ]


def judge_torchvision_nms(facts: Facts) -> list[Finding]:
    """Judge torchvision's ops, and its build beside torch's."""
    error = facts["torchvision_nms"].get("error")
    if error is None and facts["torchvision_nms"].get("kept", 1) != 1:
        error = "its nms gives a wrong result"
    if error is not None:
        return [Finding("fault", "torchvision nms", error, SAME_BUILD)]
    tags = [
        (facts.get(library, {}).get("version") or "").partition("+")[2]
        for library in ("torch", "torchvision")
    ]
    if all(tags) and tags[0] != tags[1]:
        return [
            Finding(
                "warning",
                "torch and torchvision",
                f"are of different builds: {tags[0]} and {tags[1]}",
                SAME_BUILD,
            )
        ]
    return []


def judge_config_printing(facts: Facts) -> list[Finding]:
    """Judge whether mmengine can print a config."""
    error = facts["config_printing"].get("error")
    if error is None:
        return []
    remedy = f"pip install --upgrade --force-reinstall 'mmengine>=0.10.5,<1'; {SET_UP}"
    if "FormatCode" in error and "verify" in error:
        remedy = (
            "yapf 0.40.2 and later dropped an argument that this mmengine passes: "
            "pip install --upgrade 'mmengine>=0.10.5,<1', or pip install 'yapf<0.40.2'"
        )
    return [Finding("fault", "printing of configs", error, remedy)]


def judge_mmcv_ops(facts: Facts) -> list[Finding]:
    """Judge whether mmcv's ops are compiled, and for what."""
    error = facts["mmcv_ops"].get("error")
    torch_version = facts.get("torch", {}).get("version") or ""
    if error is not None:
        remedy = remedy_for("mmcv")
        if "undefined symbol" in error or "cannot open shared object" in error:
            detail = f"were compiled against another torch than {torch_version}: "
        else:
            detail = "are not compiled (mmcv-lite, or a build without torch): "
            remedy += "; pip uninstall mmcv-lite if it is there"
        if release(torch_version) >= _FIRST_TORCH_TOO_NEW_FOR_MMCV:
            remedy = (
                f"mmcv 2.1.0 does not compile against torch {torch_version}: install "
                f"torch below 2.14 with its torchvision, then {remedy}"
            )
        return [Finding("fault", "mmcv ops", detail + error, remedy)]
    cuda = facts["mmcv_ops"].get("cuda")
    has_cuda = cuda not in (None, "not available")
    if facts.get("torch_cuda", {}).get("available") and not has_cuda:
        return [
            Finding(
                "warning",
                "mmcv ops",
                "are compiled for the CPU only, while torch can use a GPU: detectors "
                "fail on the GPU where they need an op of mmcv",
                "compile mmcv with nvcc present and FORCE_CUDA=1; " + SET_UP,
            )
        ]
    return [
        Finding("ok", "mmcv ops", f"compiled, {'CUDA ' + cuda if has_cuda else 'CPU'}")
    ]


def judge_mmcv_nms(facts: Facts) -> list[Finding]:
    """Judge whether an op of mmcv runs."""
    error = facts["mmcv_nms"].get("error")
    if error is None and facts["mmcv_nms"].get("kept", 1) != 1:
        error = "gives a wrong result"
    if error is None:
        return []
    return [
        Finding("fault", "mmcv nms", f"does not run: {error}", f"{remedy_for('mmcv')}")
    ]
