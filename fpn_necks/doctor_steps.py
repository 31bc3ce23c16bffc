"""What the doctor tries, run by the path of this file, without fpn_necks.

After each step a line of JSON is written; a step that was begun and has no result is
the one that the process died in.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

SAME_BUILD = (
    "install torch and torchvision anew, in one pip command and from one index, as "
    "versions that belong together (2.11.0 and 0.26.0, say)"
)


def _gpu() -> dict[str, Any]:
    import torch

    count = torch.cuda.device_count()
    return {
        "names": [torch.cuda.get_device_name(i) for i in range(count)],
        "driver": os.path.exists("/dev/nvidia0") or bool(shutil.which("nvidia-smi")),
    }


def _library(name: str) -> dict[str, Any]:
    module = importlib.import_module(name)
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    file = next((place for place in places if place), None)
    return {"version": getattr(module, "__version__", None), "file": file}


def _torch_numpy() -> dict[str, Any]:
    import numpy
    import torch

    if float(torch.from_numpy(numpy.ones(2)).sum()) != 2:
        raise RuntimeError("torch.from_numpy changed the numbers")
    torch.ones(2).numpy()
    return {}


def _nms(library: str) -> dict[str, Any]:
    import torch

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]])
    kept = importlib.import_module(library).nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
    return {"kept": len(kept[1] if library == "mmcv.ops" else kept)}


def _mmcv_ops() -> dict[str, Any]:
    importlib.import_module("mmcv._ext")
    from mmcv.ops import get_compiling_cuda_version

    return {"cuda": get_compiling_cuda_version()}


def _fpn_necks() -> dict[str, Any]:
    facts = _library("fpn_necks")
    from mmdet.registry import MODELS

    return facts | {"registered": MODELS.get("SAlphaFPN") is not None}


def _checkpoint() -> dict[str, Any]:
    import torch
    from mmengine.logging import HistoryBuffer

    file = io.BytesIO()
    torch.save({"loss": HistoryBuffer([0.5, 0.25], [1, 1])}, file)
    file.seek(0)
    return {"mean": float(torch.load(file)["loss"].mean())}


def _environment() -> dict[str, Any]:
    from mmengine.utils.dl_utils import collect_env

    return {name: str(value) for name, value in collect_env().items()}


class Step(NamedTuple):
    """What to use, the steps without which that only fails again, and the remedy.

    A library's name as remedy: the one for its version.
    """

    run: Callable[..., dict[str, Any]]
    argument: str = ""
    needs: tuple[str, ...] = ()
    remedy: str = ""


STEPS = {
    "Python": Step(
        lambda: dict(version=platform.python_version(), executable=sys.executable)
    ),
    "numpy": Step(_library, "numpy", remedy="pip install numpy"),
    "torch": Step(_library, "torch"),
    "GPU": Step(_gpu, needs=("torch",)),
    "torch with numpy": Step(
        _torch_numpy,
        needs=("torch", "numpy"),
        remedy="pip install 'numpy<2' for a torch before 2.3, or a newer torch",
    ),
    "torchvision": Step(_library, "torchvision", ("torch",), SAME_BUILD),
    "torchvision nms": Step(_nms, "torchvision.ops", ("torchvision",), SAME_BUILD),
    "cv2": Step(_library, "cv2", remedy="pip install opencv-python"),
    "pycocotools": Step(
        _library,
        "pycocotools.mask",
        remedy="pip install --force-reinstall --no-cache-dir pycocotools",
    ),
    "mmengine": Step(_library, "mmengine"),
    "mmcv": Step(_library, "mmcv", ("mmengine", "cv2")),
    "mmcv ops": Step(_mmcv_ops, needs=("mmcv", "torch"), remedy="mmcv"),
    "mmcv nms": Step(_nms, "mmcv.ops", ("mmcv ops",), "mmcv"),
    "mmdet": Step(_library, "mmdet", ("mmcv", "torchvision")),
    "fpn_necks": Step(
        _fpn_necks,
        needs=("mmdet",),
        remedy="fix the faults above first; without any, install fpn_necks anew",
    ),
    "checkpoints": Step(
        _checkpoint,
        needs=("fpn_necks",),
        remedy="import fpn_necks before loading (custom_imports in the config)",
    ),
    "environment": Step(_environment, needs=("mmengine", "cv2", "torch")),
}


def _run_steps(report_path: str) -> None:
    failed: set[str] = set()
    with open(report_path, "w", encoding="utf-8") as report:
        for name, (step, argument, needs, _) in STEPS.items():
            print(json.dumps({"begin": name}), file=report, flush=True)
            missing = next((need for need in needs if need in failed), None)
            try:
                arguments = [argument] if argument else []
                facts = {"skipped": missing} if missing else step(*arguments)
            # Whatever a library raises, SystemExit included, is a fact about it.
            except BaseException as error:
                facts = {"error": _describe(error)}
            if "error" in facts or missing:
                failed.add(name)
            print(json.dumps({"step": name, **facts}), file=report, flush=True)


def _describe(error: BaseException) -> str:
    # With what it was raised from: mmengine reports any failure to print a config as a
    # SyntaxError of the config.
    message = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    text = f"{type(error).__name__}: {message}"
    earlier = error.__cause__ or error.__context__
    return text if earlier is None else f"{text} (from {_describe(earlier)})"


if __name__ == "__main__":
    _run_steps(sys.argv[-1])
