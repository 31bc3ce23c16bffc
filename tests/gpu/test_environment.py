"""What detectors need of torch and mmcv runs on the device, with gradients."""

from collections.abc import Callable

import torch
from mmcv.ops import RoIAlign, modulated_deform_conv2d, nms
from mmdet.models.losses import FocalLoss
from torch import Tensor

from tests.gpu.devices import full_float32, on_devices, relative_error


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def keep_boxes(device: str) -> list[Tensor]:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 34]])
    _, kept = nms(boxes.to(device), torch.tensor([0.8, 0.9, 0.7]).to(device), 0.5)
    return [kept]


def align_rois(device: str) -> list[Tensor]:
    rois = torch.tensor([[0, 1.5, 2, 20, 30], [1, 4, 4, 9, 8]]).to(device)
    x = numbers(2, 3, 12, 10).to(device).requires_grad_()
    pooled = RoIAlign(5, 0.25, sampling_ratio=2)(x, rois)
    (pooled * pooled).sum().backward()
    return [pooled.detach(), x.grad]


def deform(device: str) -> list[Tensor]:
    x = numbers(2, 4, 7, 6).to(device).requires_grad_()
    offset = (0.3 * numbers(2, 18, 7, 6)).to(device).requires_grad_()
    mask = numbers(2, 9, 7, 6).sigmoid().to(device)
    weight, bias = numbers(5, 4, 3, 3).to(device), numbers(5).to(device)
    y = modulated_deform_conv2d(x, offset, mask, weight, bias, 1, 1, 1, 1, 1)
    (y * y).sum().backward()
    return [y.detach(), x.grad, offset.grad]


def lose_focally(device: str) -> list[Tensor]:
    """On a processor this is mmdet's own formula, on a GPU mmcv's operator."""
    logits = numbers(5, 3).to(device).requires_grad_()
    loss = FocalLoss()(logits, torch.tensor([0, 3, 1, 2, 3]).to(device))
    loss.backward()
    return [loss.detach(), logits.grad]


def sample(device: str) -> list[Tensor]:
    x = numbers(2, 3, 6, 5).to(device).requires_grad_()
    grid = (0.7 * numbers(2, 4, 4, 2)).to(device)
    y = torch.nn.functional.grid_sample(x, grid, align_corners=False)
    (y * y).sum().backward()
    return [y.detach(), x.grad]


OPERATORS = [keep_boxes, align_rois, deform, lose_focally, sample]


@on_devices(OPERATORS, [f.__name__ for f in OPERATORS], lambda f: f.__name__)
def test_operators(device: str, case: Callable[[str], list[Tensor]]) -> None:
    with full_float32():
        found, expected = case(device), case("cpu")
    if case is keep_boxes:
        assert found[0].tolist() == [1, 2]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.device.type == device and ours.shape == theirs.shape
        assert relative_error(ours, theirs) < 1e-4
