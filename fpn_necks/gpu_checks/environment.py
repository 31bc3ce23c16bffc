"""What the checks run on, and whether mmcv's compiled operators work there."""

from __future__ import annotations

import importlib
import platform
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .numeric import at_most, full_float32
from .outcomes import CheckFailed

REMEDY = (
    "mmcv's operators must be compiled for this GPU: install the CUDA toolkit (nvcc) "
    "of torch's CUDA version and run `bash tools/setup.sh` on this machine"
)
LIMIT = 1e-4


def gather_facts(device: torch.device) -> dict[str, Any]:
    """Name the device and the versions of all that takes part."""
    facts: dict[str, Any] = dict(
        python=platform.python_version(), system=platform.platform()
    )
    for name in ("torch", "torchvision", "mmengine", "mmcv", "mmdet", "fpn_necks"):
        try:
            module = importlib.import_module(name)
            facts[name] = getattr(module, "__version__", None)
        # A broken library is a fact like others; the checks say what it breaks.
        except Exception as error:
            facts[name] = f"cannot be imported: {type(error).__name__}"
    facts["mmcv_ops_cuda"] = _compiled_for()
    if device.type != "cuda":
        facts["device"] = platform.processor() or platform.machine()
        facts["threads"] = torch.get_num_threads()
        return facts
    properties = torch.cuda.get_device_properties(device)
    facts |= dict(
        device=properties.name,
        capability=f"{properties.major}.{properties.minor}",
        memory_bytes=properties.total_memory,
        multiprocessors=properties.multi_processor_count,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        driver=_driver(),
    )
    return facts


def _compiled_for() -> str | None:
    try:
        from mmcv.ops import get_compiling_cuda_version
    except ImportError:
        return None
    return get_compiling_cuda_version()


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.split()
    return lines[0] if answer.returncode == 0 and lines else None


def _boxes() -> tuple[Tensor, Tensor]:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 34]])
    return boxes, torch.tensor([0.8, 0.9, 0.7])


def _nms(device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    from mmcv.ops import nms

    boxes, scores = _boxes()
    _, kept = nms(boxes.to(device), scores.to(device), 0.5)
    return [kept.double()], [torch.tensor([1.0, 2.0]).double()]


def _roi_align(device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    from mmcv.ops import RoIAlign

    rois = torch.tensor([[0, 1.5, 2, 20, 30], [1, 4, 4, 9, 8]])

    def run(where: torch.device) -> list[Tensor]:
        x = _numbers(2, 3, 12, 10).to(where).requires_grad_()
        pooled = RoIAlign(5, 0.25, sampling_ratio=2)(x, rois.to(where))
        (pooled * pooled).sum().backward()
        return [pooled.detach(), x.grad]

    return run(device), run(torch.device("cpu"))


def _deform_conv(device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    from mmcv.ops import modulated_deform_conv2d

    def run(where: torch.device) -> list[Tensor]:
        x = _numbers(2, 4, 7, 6).to(where).requires_grad_()
        offset = (0.3 * _numbers(2, 18, 7, 6)).to(where).requires_grad_()
        mask = _numbers(2, 9, 7, 6).sigmoid().to(where)
        weight, bias = _numbers(5, 4, 3, 3).to(where), _numbers(5).to(where)
        y = modulated_deform_conv2d(x, offset, mask, weight, bias, 1, 1, 1, 1, 1)
        (y * y).sum().backward()
        return [y.detach(), x.grad, offset.grad]

    return run(device), run(torch.device("cpu"))


def _focal_loss(device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    from mmdet.models.losses import FocalLoss

    # On a processor this is mmdet's own formula, on a GPU mmcv's operator.
    labels = torch.tensor([0, 3, 1, 2, 3])

    def run(where: torch.device) -> list[Tensor]:
        logits = _numbers(5, 3).to(where).requires_grad_()
        loss = FocalLoss()(logits, labels.to(where))
        loss.backward()
        return [loss.detach()[None], logits.grad]

    return run(device), run(torch.device("cpu"))


def _grid_sample(device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    def run(where: torch.device) -> list[Tensor]:
        x = _numbers(2, 3, 6, 5).to(where).requires_grad_()
        grid = (0.7 * _numbers(2, 4, 4, 2)).to(where)
        y = torch.nn.functional.grid_sample(x, grid, align_corners=False)
        (y * y).sum().backward()
        return [y.detach(), x.grad]

    return run(device), run(torch.device("cpu"))


Operation = Callable[[torch.device], tuple[list[Tensor], list[Tensor]]]
OPERATIONS: dict[str, Operation] = {
    "mmcv nms": _nms,
    "mmcv RoIAlign": _roi_align,
    "mmcv deformable conv": _deform_conv,
    "mmcv sigmoid focal loss": _focal_loss,
    "torch grid_sample": _grid_sample,
}
"""What detectors and necks need; each returns what it found and what is right."""


def check_operation(name: str, device: torch.device) -> dict[str, Any]:
    """Run an operator and its gradient on the device, and on the processor.

    Raises:
        CheckFailed: it does not run there, with what to do about it; or results differ
            by more than ``LIMIT`` of the largest value.
    """
    try:
        with full_float32():
            found, expected = OPERATIONS[name](device)
    except (ImportError, NotImplementedError, RuntimeError) as error:
        text = f"{name} does not run: {' '.join(str(error).split())}"
        raise CheckFailed(f"{text}; {REMEDY}" if "mmcv" in name else text) from error
    numbers: dict[str, Any] = dict(error=0.0)
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            raise CheckFailed(f"{name} returned {tuple(ours.shape)}; {REMEDY}")
        scale = theirs.abs().max().clamp(min=1e-12)
        error = ((ours.cpu() - theirs).abs().max() / scale).item()
        at_most(f"the error of {name}", error, LIMIT, numbers)
        numbers["error"] = max(numbers["error"], error)
    return numbers


def check_device(device: torch.device) -> dict[str, Any]:
    """Compute on the device, with torch alone.

    Raises:
        CheckFailed: a matrix product is wrong, or cuDNN is missing on a GPU.
    """
    a = _numbers(64, 64)
    with full_float32():
        product = (a.to(device) @ a.to(device)).cpu()
    error = ((product - a @ a).abs().max() / (a @ a).abs().max()).item()
    numbers: dict[str, Any] = dict(error=error)
    at_most("the error of a matrix product", error, LIMIT, numbers)
    if device.type == "cuda" and not torch.backends.cudnn.is_available():
        raise CheckFailed("this torch has no cuDNN", numbers)
    return numbers


def _numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))
