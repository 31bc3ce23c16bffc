"""Gathers the facts that ``doctor`` judges, by using the libraries one after the other.

Runs as a process of its own, by path, so that neither fpn_necks nor a library that
kills the process gets in the way. After each step a line of JSON is written; a step
that was begun and has no result is the one the process died in. Standard library only.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

Facts = dict[str, Any]

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def _python() -> Facts:
    return {"version": platform.python_version(), "executable": sys.executable}


def _copies() -> Facts:
    # Two entries of sys.path may be one folder, hence real paths.
    found: Facts = {}
    for package in ("mmdet", "fpn_necks"):
        folders = [os.path.join(entry or os.getcwd(), package) for entry in sys.path]
        real = [
            os.path.realpath(folder)
            for folder in folders
            if os.path.isfile(os.path.join(folder, "__init__.py"))
        ]
        found[package] = list(dict.fromkeys(real))
    found["working_directory"] = os.path.realpath(os.getcwd())
    return found


def _build_tools() -> Facts:
    return {"pkg_resources": importlib.util.find_spec("pkg_resources") is not None}


def _gpu() -> Facts:
    names: list[str] = []
    if shutil.which("nvidia-smi"):
        answer = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30
        )
        if answer.returncode == 0:
            names = [line for line in answer.stdout.splitlines() if line.strip()]
    return {"present": bool(names) or os.path.exists("/dev/nvidia0"), "names": names}


def _library(name: str) -> Callable[[], Facts]:
    def step() -> Facts:
        module = importlib.import_module(name)
        paths = list(getattr(module, "__path__", []))
        return {
            "version": getattr(module, "__version__", None),
            "file": getattr(module, "__file__", None) or (paths or [None])[0],
        }

    return step


def _torch_cuda() -> Facts:
    import torch

    return {"built_for": torch.version.cuda, "available": torch.cuda.is_available()}


def _torch_numpy() -> Facts:
    import numpy
    import torch

    if float(torch.from_numpy(numpy.ones(2)).sum()) != 2:
        raise RuntimeError("torch.from_numpy changed the numbers")
    torch.ones(2).numpy()
    return {}


def _overlapping_boxes() -> Any:
    import torch

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]])
    return boxes, torch.tensor([0.9, 0.8])


def _torchvision_nms() -> Facts:
    from torchvision.ops import nms

    return {"kept": len(nms(*_overlapping_boxes(), 0.5))}


def _mmcv_ops() -> Facts:
    importlib.import_module("mmcv._ext")
    from mmcv.ops import get_compiling_cuda_version

    return {"cuda": get_compiling_cuda_version()}


def _mmcv_nms() -> Facts:
    from mmcv.ops import nms

    return {"kept": len(nms(*_overlapping_boxes(), 0.5)[1])}


def _config_printing() -> Facts:
    from mmengine.config import Config

    return {"text": Config({"answer": 42}).pretty_text}


def _fpn_necks() -> Facts:
    from mmdet.registry import MODELS

    import fpn_necks

    return {
        "version": fpn_necks.__version__,
        "file": fpn_necks.__file__,
        "registered": MODELS.get("SAlphaFPN") is not None,
    }


def _checkpoint() -> Facts:
    import torch
    from mmengine.logging import HistoryBuffer

    history = HistoryBuffer([0.5, 0.25], [1, 1])
    file = io.BytesIO()
    torch.save({"message_hub": {"log_scalars": {"loss": history}}}, file)
    file.seek(0)
    loaded = torch.load(file)["message_hub"]["log_scalars"]["loss"]
    return {"mean": float(loaded.mean())}


# Name, what to do, and the steps without whose success it would only fail again.
STEPS: list[tuple[str, Callable[[], Facts], tuple[str, ...]]] = [
    ("python", _python, ()),
    ("copies", _copies, ()),
    ("build_tools", _build_tools, ()),
    ("gpu", _gpu, ()),
    ("numpy", _library("numpy"), ()),
    ("torch", _library("torch"), ()),
    ("torch_cuda", _torch_cuda, ("torch",)),
    ("torch_numpy", _torch_numpy, ("torch", "numpy")),
    ("torchvision", _library("torchvision"), ("torch",)),
    ("torchvision_nms", _torchvision_nms, ("torchvision",)),
    ("cv2", _library("cv2"), ()),
    ("pycocotools", _library("pycocotools.mask"), ()),
    ("mmengine", _library("mmengine"), ()),
    ("config_printing", _config_printing, ("mmengine",)),
    ("mmcv", _library("mmcv"), ("mmengine", "cv2")),
    ("mmcv_ops", _mmcv_ops, ("mmcv", "torch")),
    ("mmcv_nms", _mmcv_nms, ("mmcv_ops",)),
    ("mmdet", _library("mmdet"), ("mmcv",)),
    ("fpn_necks", _fpn_necks, ("mmdet",)),
    ("checkpoint", _checkpoint, ("fpn_necks",)),
]


def _describe(error: BaseException) -> str:
    # With what it was raised from: mmengine reports any failure to print a config as a
    # SyntaxError of the config.
    message = " ".join(_COLOURS.sub("", str(error)).split())
    text = f"{type(error).__name__}: {message}"
    earlier = error.__cause__ or error.__context__
    return text if earlier is None else f"{text} (from {_describe(earlier)})"


def main(report_path: str) -> None:
    """Run all steps.

    Args:
        report_path: File for the lines of JSON: ``{"begin": step}``, then
            ``{"step": step, ...}`` with the step's facts, an ``error``, or the step
            that it was ``skipped`` for.
    """
    failed: set[str] = set()
    with open(report_path, "w", encoding="utf-8") as report:

        def write(line: Facts) -> None:
            report.write(json.dumps(line) + "\n")
            report.flush()

        for name, step, needs in STEPS:
            missing = [need for need in needs if need in failed]
            if missing:
                failed.add(name)
                write({"step": name, "skipped": missing[0]})
                continue
            write({"begin": name})
            try:
                facts = step()
            # Whatever a library raises, SystemExit included, is a fact about it.
            except BaseException as error:
                failed.add(name)
                facts = {"error": _describe(error)}
            write({"step": name, **facts})


if __name__ == "__main__":
    main(sys.argv[-1])
