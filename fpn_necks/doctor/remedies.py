"""Advice that is not of one judge alone, and advice on known errors."""

from __future__ import annotations

import re

from ..compatibility import remedy_for

SET_UP = "in a clone of fpn_necks `bash tools/setup.sh` makes a working environment"
SAME_BUILD = (
    "install torch and torchvision anew, in one pip command and from one index, as "
    "versions that belong together (2.11.0 and 0.26.0, say)"
)


def remedy_for_error(error: str) -> str | None:
    """Return what to do about an error that is known, or None."""
    if "libGL" in error or re.search(r"cv2.*cannot open shared object", error):
        return (
            "pip uninstall opencv-python, then pip install opencv-python-headless, "
            "which needs no graphics library; or install that library"
        )
    if "MMCV==" in error:
        return f"mmdet and mmcv do not belong together: {remedy_for('mmcv')}"
    if "MMEngine==" in error:
        return f"mmdet and mmengine do not belong together: {remedy_for('mmengine')}"
    if _is_numpy_trap(error):
        return (
            "a library was compiled for another numpy: pip install 'numpy<2', or "
            "install that library anew"
        )
    return None


def _is_numpy_trap(error: str) -> bool:
    return bool(
        re.search(
            r"numpy\.dtype size changed|compiled using NumPy|Numpy is not available"
            r"|_ARRAY_API not found|numpy\.core\.multiarray failed",
            error,
            re.IGNORECASE,
        )
    )
