"""Necks, RoI extractors and the YOLOv3 head: parity, precision, layout, compilation."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from tests.gpu.devices import (
    assert_close,
    full_float32,
    on_devices,
    run,
)
from tests.neck_cases import CASES, IN_CHANNELS, OUT_CHANNELS, P2_P6_STRIDES, NeckCase
from tests.tiny_detectors import set_statistic_factors

SIZE, OTHER_SIZE = (32, 48), (40, 64)  # of the finest map
STRIDES = [4, 8, 16, 32]
RESNET_50 = dict(in_channels=[256, 512, 1024, 2048], out_channels=256)
ROI = dict(
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2),
    featmap_strides=STRIDES,
)
EXTRACTORS = [
    NeckCase("soft-roi", "SoftRoIExtractor", (), ROI),
    NeckCase("soft-roi-acf", "SoftRoIExtractor", (), {**ROI, "fusion": "acf"}),
    NeckCase("all-levels", "AllLevelRoIExtractor", (), ROI),
]
YOLO = NeckCase("yolo-head", "BridgelessYOLOV3Head", ())
MAIN = ("s-alpha-norm", "cfg-norm", "asff-group-norm", "augfpn-norm", "drfpn-retinanet")
WIDE = [
    NeckCase(f"{case.name}-wide", case.type, P2_P6_STRIDES, case.config(**RESNET_50))
    for case in CASES
    if case.name in MAIN and case.type != "ASFF"
]
EVERYTHING = [*CASES, *WIDE, *EXTRACTORS, YOLO]


class CoarsestFirst(nn.Module):
    """A YOLOv3 head that takes the maps of a backbone, finest first."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.head(tuple(maps[:0:-1]))[0]


def build(case: NeckCase) -> nn.Module:
    """Build a module in training mode, with the weights of seed 0."""
    torch.manual_seed(0)
    config = case.config()
    if case in EXTRACTORS:
        del config["in_channels"]
    elif case.type == "DRFPN":  # blocks that start at zero have nothing to compare
        config["srb"] = dict(config.get("srb", {}), zero_init=False)
    elif case is YOLO:
        widths = IN_CHANNELS[:0:-1]
        config |= dict(num_classes=4, in_channels=widths, out_channels=widths)
    module = MODELS.build(config)
    module.init_weights()
    set_statistic_factors(module)
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            # Biases begin at 0, and behind them gradients would not be told from none.
            nn.init.uniform_(parameter, -0.1, 0.1)
    return CoarsestFirst(module) if case is YOLO else module


def maps_of(case: NeckCase, size: tuple[int, int] = SIZE) -> list[Tensor]:
    widths = IN_CHANNELS
    if case in EXTRACTORS:
        widths = [OUT_CHANNELS] * 4
    elif case in WIDE:
        widths = RESNET_50["in_channels"]
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, width, size[0] >> i, size[1] >> i, generator=random)
        for i, width in enumerate(widths)
    ]


def rois_of(case: NeckCase, count: int = 24) -> list[Tensor]:
    """Return RoIs of all sizes, some of them partly outside, if the case takes them."""
    if case not in EXTRACTORS:
        return []
    random = torch.Generator().manual_seed(2)
    sides = torch.tensor([SIZE[1], SIZE[0]]) * STRIDES[0]
    corner = torch.rand(count, 2, generator=random) * sides - 2
    extent = torch.rand(count, 2, generator=random) ** 2 * sides + 2
    image = torch.arange(count)[:, None] % 2
    return [torch.cat([image, corner, corner + extent], dim=1)]


def run_case(
    case: NeckCase,
    module: nn.Module,
    device: str,
    dtype: torch.dtype = torch.float32,
    size: tuple[int, int] = SIZE,
    **options: bool,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Run a module on a device in a type of numbers."""
    maps = [x.to(device, dtype) for x in maps_of(case, size)]
    rois = [x.to(device, dtype) for x in rois_of(case)]
    return run(module, maps, *rois, **options)


def name(case: NeckCase) -> str:
    return case.name


@on_devices(EVERYTHING, [*MAIN, "soft-roi", "yolo-head"], name)
def test_parity_with_float64_on_the_processor(device: str, case: NeckCase) -> None:
    module = build(case)
    exact = run_case(case, copy.deepcopy(module).double(), "cpu", torch.float64)
    with full_float32():
        found = run_case(case, module.to(device), device)
    assert_close(found, exact)
    for key, parameter in module.named_parameters():
        if key not in case.without_gradient:
            assert found[1][key].any(), f"the gradient of {key} is zero"
            assert parameter.grad.device.type == device


@on_devices([1.0], ["1.0"])
def test_parity_with_fpn(device: str, case: float) -> None:
    """S-α FPN with α = 1 is mmdet's FPN."""
    sizes = dict(in_channels=IN_CHANNELS, out_channels=OUT_CHANNELS, num_outs=5)
    theirs = MODELS.build(dict(type="FPN", **sizes)).to(device)
    ours = MODELS.build(dict(type="SAlphaFPN", fusion_factor=case, **sizes)).to(device)
    ours.load_state_dict(theirs.state_dict())
    maps = [x.to(device) for x in maps_of(CASES[0])]
    assert_close(run(ours, maps), run(theirs, maps), 1e-6, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@on_devices([*CASES, *WIDE], MAIN, name)
def test_autocast(device: str, case: NeckCase, dtype: torch.dtype) -> None:
    """As close as the type's digits allow, in the type, with finite gradients."""
    module = build(case).to(device)
    with full_float32():
        exact = run_case(case, module, device, backward=False)
        with torch.autocast(device, dtype):
            found = run_case(case, module, device)
    assert_close((found[0], {}), exact, 0.01 if dtype == torch.float16 else 0.08)
    for key, gradient in found[1].items():
        assert gradient.isfinite().all(), f"the gradient of {key} is not finite"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@on_devices([*CASES, *WIDE], MAIN[:4], name)
def test_weights_in_half(device: str, case: NeckCase, dtype: torch.dtype) -> None:
    found, _ = run_case(case, build(case).to(device, dtype).eval(), device, dtype)
    assert all(x.dtype == dtype and x.isfinite().all() for x in found)


@on_devices([*CASES, *WIDE], MAIN, name)
def test_channels_last(device: str, case: NeckCase) -> None:
    module = build(case).to(device)
    with full_float32():
        usual = run_case(case, module, device)
        module = module.to(memory_format=torch.channels_last)
        maps = [x.to(device, memory_format=torch.channels_last) for x in maps_of(case)]
        found = run(module, maps)
    assert_close(found, usual)


COMPILED = [case for case in CASES if case.name in MAIN]


@on_devices(COMPILED, MAIN[:1], name)
def test_compiled_in_one_graph(device: str, case: NeckCase) -> None:
    """Outputs and gradients, and outputs at a second size."""
    torch.compiler.reset()
    backend = "inductor" if device == "cuda" else "aot_eager"
    module = build(case).to(device).eval()
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    with full_float32():
        assert_close(run_case(case, compiled, device), run_case(case, module, device))
        options = dict(size=OTHER_SIZE, backward=False)
        found = run_case(case, compiled, device, **options)
        assert_close(found, run_case(case, module, device, **options))
    torch.compiler.reset()
