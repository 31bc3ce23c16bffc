"""What every neck promises, for every row of tests/neck_cases.py."""

import copy
import inspect
import math
import pickle

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks.necks
from tests.neck_cases import CASES, IN_CHANNELS, OUT_CHANNELS, NeckCase

SIZES = [(64, 96), (97, 130), (33, 31)]


def build(case: NeckCase, **changes) -> nn.Module:
    torch.manual_seed(0)
    neck = MODELS.build(case.config(**changes))
    neck.init_weights()
    return neck


def backbone_maps(size: tuple[int, int], batch: int = 2, **options) -> list[Tensor]:
    """Maps as a backbone gives them: sides are halved and rounded up."""
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(
            batch, c, math.ceil(size[0] / 2**i), math.ceil(size[1] / 2**i),
            generator=random,
        ).to(**options)
        for i, c in enumerate(IN_CHANNELS)
    ]  # fmt: skip


def every_case(function):
    return pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)(function)


def test_every_neck_has_a_case() -> None:
    covered = {case.type for case in CASES}
    assert covered == set(fpn_necks.necks.__all__) - {"PyramidNeck"}
    assert all(MODELS.get(name) is not None for name in covered)


@every_case
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shapes(case: NeckCase, size: tuple[int, int]) -> None:
    outputs = build(case)(backbone_maps(size))
    assert isinstance(outputs, tuple)
    expected = [
        (2, OUT_CHANNELS, *(math.ceil(side / stride) for side in size))
        for stride in case.strides
    ]
    assert [tuple(output.shape) for output in outputs] == expected
    assert all(output.isfinite().all() for output in outputs)
    assert all(output.dtype == torch.float32 for output in outputs)


@every_case
def test_every_parameter_gets_a_gradient(case: NeckCase) -> None:
    neck = build(case)
    sum(output.sum() for output in neck(backbone_maps((97, 130)))).backward()
    for name, parameter in neck.named_parameters():
        if name in case.without_gradient:
            assert parameter.grad is None, f"{name} is listed as without gradient"
        else:
            assert parameter.grad is not None, f"No gradient for {name}"
            assert parameter.grad.isfinite().all(), f"Gradient of {name} is not finite"
            assert parameter.grad.abs().sum() > 0, f"Zero gradient for {name}"


@every_case
def test_inputs_are_not_changed(case: NeckCase) -> None:
    maps = backbone_maps((64, 96))
    before = copy.deepcopy(maps)
    build(case)(maps)
    for map_after, map_before in zip(maps, before, strict=True):
        assert torch.equal(map_after, map_before)


@every_case
def test_same_input_same_output_in_eval(case: NeckCase) -> None:
    neck = build(case).eval()
    first, second = neck(backbone_maps((64, 96))), neck(backbone_maps((64, 96)))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@every_case
def test_state_dict_round_trip(case: NeckCase) -> None:
    neck, other = build(case).eval(), MODELS.build(case.config()).eval()
    other.load_state_dict(neck.state_dict())
    pairs = zip(
        neck(backbone_maps((64, 96))), other(backbone_maps((64, 96))), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    pickle.loads(pickle.dumps(neck))


@every_case
def test_init_cfg_changes_the_weights(case: NeckCase) -> None:
    torch.manual_seed(0)
    neck = MODELS.build(case.config())
    before = {k: v.clone() for k, v in neck.named_parameters()}
    neck.init_weights()
    convs = [k for k in before if k.endswith("conv.weight")]
    assert convs
    for name in convs:
        assert not torch.equal(before[name], neck.get_parameter(name)), name


@every_case
def test_traced_neck_is_equal(case: NeckCase) -> None:
    neck, maps = build(case).eval(), backbone_maps((64, 96))
    traced = torch.jit.trace(neck, (maps,))
    other_maps = [m * 0.5 for m in maps]
    for a, b in zip(traced(other_maps), neck(other_maps), strict=True):
        torch.testing.assert_close(a, b)


@every_case
def test_bfloat16_autocast(case: NeckCase) -> None:
    neck, maps = build(case), backbone_maps((64, 96))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = neck(maps)
    sum(output.float().sum() for output in outputs).backward()
    for output, exact in zip(outputs, neck(maps), strict=True):
        error = (output.float() - exact).abs().max() / exact.abs().max()
        assert error < 0.05


@every_case
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(in_channels=8), TypeError, "in_channels must be a list"),
        (dict(in_channels=[8, 0, 1, 1]), ValueError, "in_channels must be at least 1"),
        (dict(in_channels=[8, "x", 1, 1]), TypeError, "in_channels must be an integer"),
        (dict(out_channels=-1), ValueError, "out_channels must be at least 1, got -1"),
        (dict(num_outs=0), ValueError, "num_outs must be at least"),
        (dict(num_outs=2.0), TypeError, "num_outs must be an integer, got 2.0"),
        (dict(start_level=4, end_level=-1), ValueError, r"start_level must lie in"),
        (dict(end_level=7), ValueError, "end_level must be -1 or lie in"),
        (dict(add_extra_convs="on_top"), ValueError, "add_extra_convs must be True"),
        (dict(upsample_cfg=dict(mode="near")), ValueError, "upsample_cfg mode must be"),
        (dict(upsample_cfg="nearest"), TypeError, "upsample_cfg must be a dict"),
        (dict(upsample_cfg=dict(size=3)), ValueError, "upsample_cfg may hold"),
        (dict(levels=3), TypeError, "unexpected keyword argument 'levels'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments(case: NeckCase, changes: dict, error, message: str) -> None:
    with pytest.raises(error, match=message):
        MODELS.build(case.config(**changes))


@every_case
def test_wrong_number_of_maps(case: NeckCase) -> None:
    with pytest.raises(ValueError, match="expected 4 feature maps.*got 3"):
        build(case)(backbone_maps((64, 96))[:3])


def test_constructors_do_not_restate_the_shared_arguments() -> None:
    shared = set(inspect.signature(fpn_necks.necks.PyramidNeck).parameters)
    for name in set(fpn_necks.necks.__all__) - {"PyramidNeck"}:
        neck = getattr(fpn_necks.necks, name)
        if issubclass(neck, fpn_necks.necks.PyramidNeck):
            own = set(inspect.signature(neck).parameters)
            assert not own & (shared - {"in_channels", "out_channels"}), name
