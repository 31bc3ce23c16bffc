"""What every neck promises, for every row of tests/neck_cases.py."""

import copy
import inspect
import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fpn_necks.necks
from fpn_necks.necks import PyramidNeck
from tests.neck_cases import (
    CASES,
    IN_CHANNELS,
    OUT_CHANNELS,
    PYRAMIDS,
    NeckCase,
    backbone_maps,
)
from tests.stack import IS_TORCH_2_1, needs_whole_graphs

SIZES = [(97, 130), (33, 31)]
# Faster R-CNN's top level at 800x1344; no pool of AugFPN or PPM divides it.
EXPORT_SIZE = (200, 336)
FIRST_CASES = {case.type: case for case in reversed(CASES)}
PYRAMID_CASES = [
    case
    for case in CASES
    if issubclass(getattr(fpn_necks.necks, case.type), PyramidNeck)
]


def build_untrained(config: dict) -> nn.Module:
    torch.manual_seed(0)
    neck = MODELS.build(config)
    neck.init_weights()
    return neck


def build(case: NeckCase, **changes) -> nn.Module:
    """Build a neck of which no part is silent, as after some training."""
    neck = build_untrained(case.config(**changes))
    for parameter in neck.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return neck


def check_gradients(neck: nn.Module, without: tuple[str, ...] = ()) -> None:
    for name, parameter in neck.named_parameters():
        if name in without:
            assert parameter.grad is None, f"{name} is listed as without gradient"
        else:
            assert parameter.grad is not None, f"No gradient for {name}"
            assert parameter.grad.isfinite().all(), f"Gradient of {name} is not finite"
            assert parameter.grad.abs().sum() > 0, f"Zero gradient for {name}"


def weighted_sum(outputs: tuple[Tensor, ...]) -> Tensor:
    """Sum the outputs with random weights: a plain sum is blind behind a norm layer."""
    random = torch.Generator().manual_seed(2)
    return sum(
        (o.float() * torch.randn(o.shape, generator=random)).sum() for o in outputs
    )


def check_close(found: Tensor, expected: Tensor, share: float = 2e-5) -> None:
    """Compare as far as rounding goes, which is a share of the largest value."""
    error = (found - expected).abs().max() / expected.abs().max().clamp(min=1)
    assert error <= share, f"{error:.1e} of the largest value"


def every_case(function):
    return pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)(function)


def every_type(function):
    cases = list(FIRST_CASES.values())
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.type)(function)


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
def test_batches(case: NeckCase) -> None:
    """An image's result does not depend on the others; one image can train."""
    neck, maps = build(case).eval(), backbone_maps((64, 96), batch=3)
    outputs, alone = neck(maps), neck([m[:1] for m in maps])
    for output, first in zip(outputs, alone, strict=True):
        assert output.shape[0] == 3
        check_close(output[:1], first)
    if case.needs_two_images_to_train:
        with pytest.raises(ValueError, match=r"norm_cfg=dict\(type='GN'"):
            neck.train()([m[:1] for m in maps])
    else:
        neck.train()([m[:1] for m in maps])


@pytest.mark.parametrize(
    "case",
    [case for case in FIRST_CASES.values() if case in PYRAMID_CASES],
    ids=lambda case: case.type,
)
@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_every_pyramid(case: NeckCase, pyramid: str) -> None:
    settings = dict(PYRAMIDS[pyramid])
    channels = ([*IN_CHANNELS, 8, 8])[: settings.pop("num_ins")]
    neck = build(replace(case, arguments=settings), in_channels=channels)
    outputs = neck(backbone_maps((97, 130), channels=channels))
    assert len(outputs) == settings["num_outs"]
    first = settings.get("start_level", 0)
    for i, output in enumerate(outputs):
        expected = [math.ceil(side / 2 ** (first + i)) for side in (97, 130)]
        assert list(output.shape) == [2, OUT_CHANNELS, *expected]
    weighted_sum(outputs).backward()
    check_gradients(neck)
    # Other code reads what mmdet's FPN has.
    fpn = FPN(channels, OUT_CHANNELS, **settings)
    names = {name for name in vars(fpn) if not name.startswith("_")}
    names -= {"init_cfg", "upsample_cfg"}  # the former names deconvolutions as well
    for name in names:
        assert getattr(neck, name) == getattr(fpn, name), name


@every_case
def test_every_parameter_gets_a_gradient(case: NeckCase) -> None:
    neck, maps = build(case), backbone_maps((64, 96))
    before = copy.deepcopy(maps)
    weighted_sum(neck(maps)).backward()
    check_gradients(neck, case.without_gradient)
    assert all(map(torch.equal, maps, before))  # nothing is changed in place


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
    convs = [
        f"{name}.weight"
        for name, module in neck.named_modules()
        if isinstance(module, nn.modules.conv._ConvNd)
    ]
    assert convs
    for name in convs:
        after = neck.get_parameter(name)
        assert not torch.equal(before[name], after) or not after.any(), name


@every_case
def test_traced_neck_is_equal(case: NeckCase) -> None:
    neck, maps = build(case).eval(), backbone_maps((64, 96))
    traced = torch.jit.trace(neck, (maps,), check_trace=False)
    other_maps = [m.flip(0, 2, 3) for m in maps]
    with torch.jit.optimized_execution(False):  # optimising takes seconds
        # Other numbers, then other sizes, odd ones too, and another batch.
        for tried in (other_maps, backbone_maps((97, 130), batch=3)):
            for a, b in zip(traced(tried), neck(tried), strict=True):
                check_close(a, b)


# One per kind of neck, and per option that makes another graph.
GRAPHS = [
    "s-alpha-attention",
    "cfg-retinanet-rank",
    "augfpn-retinanet",
    "augfpn-psp-psp",
    "asff-direct",
    "asff-concat",
    "drfpn-non-local",
    "drfpn-swapped",
    "drfpn-top-down",
]


every_graph = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name in GRAPHS or case in FIRST_CASES.values()],
    ids=lambda case: case.name,
)


@needs_whole_graphs
@every_graph
def test_compiles_without_graph_breaks(case: NeckCase) -> None:
    torch.compiler.reset()
    neck, maps = build(case), backbone_maps((64, 96))
    outputs = torch.compile(neck, backend="eager", fullgraph=True)(maps)
    weighted_sum(outputs).backward()
    for found, expected in zip(outputs, neck(maps), strict=True):
        check_close(found, expected)


@every_case
def test_recomputed_gradients(case: NeckCase) -> None:
    """``with_cp`` keeps less and changes neither gradients nor statistics."""
    results, kept = [], []
    for with_cp in (False, True):
        neck = build(case, with_cp=with_cp)
        maps = [m.requires_grad_() for m in backbone_maps((64, 96))]
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        ):
            outputs = neck(maps)
        weighted_sum(outputs).backward()
        kept.append(sum(sizes))
        gradients = [p.grad for p in [*maps, *neck.parameters()]]
        results.append([*outputs, *gradients, *neck.buffers()])
        neck.eval()
        assert all(torch.isfinite(x).all() for x in neck(maps))
    assert kept[1] < kept[0]
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


@every_graph
@pytest.mark.filterwarnings("ignore")
def test_onnx(case: NeckCase, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    if IS_TORCH_2_1 and case.type in ("CFGFPN", "AugFPN", "DRFPN"):
        pytest.skip("torch 2.1 exports S-α FPN and ASFF only")
    neck, maps = build(case).eval(), backbone_maps(EXPORT_SIZE, batch=1)
    path = tmp_path / "neck.onnx"
    names = [f"c{i}" for i in range(len(maps))]
    # torch 2.1 has this exporter alone, and no option to choose it.
    parameters = inspect.signature(torch.onnx.export).parameters
    exporter = dict(dynamo=False) if "dynamo" in parameters else {}
    torch.onnx.export(
        neck,
        (maps,),
        str(path),
        input_names=names,
        opset_version=18,
        dynamic_axes={
            name: {2: f"{name}-height", 3: f"{name}-width"} for name in names
        },
        **exporter,
    )
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    # Maps the outputs do not depend on are no inputs of the graph.
    used = {found.name for found in session.get_inputs()}
    for tried in ([m.flip(2, 3) for m in maps], backbone_maps((97, 130), batch=1)):
        feed = {n: m.numpy() for n, m in zip(names, tried, strict=True) if n in used}
        with torch.no_grad():
            expected = neck(tried)
        for ours, theirs in zip(session.run(None, feed), expected, strict=True):
            check_close(torch.from_numpy(ours), theirs, share=3e-5)


@every_case
@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [(torch.float16, False), (torch.bfloat16, True)],
    ids=["cast", "autocast"],
)
def test_half_precision(case: NeckCase, dtype: torch.dtype, autocast: bool) -> None:
    """Every module returns the type that was asked for, and gradients are finite."""
    if IS_TORCH_2_1 and dtype == torch.float16:
        pytest.skip("torch 2.1 has no convolution of float16 on a processor")
    neck, maps = build(case), backbone_maps((64, 96))
    expected = neck(maps)
    maps = [m.to(dtype) for m in maps]  # as a backbone gives them, autocast or not
    if not autocast:
        neck = neck.to(dtype)
    found = []
    for name, module in neck.named_modules():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: found.extend(
                (name, x.dtype) for x in tree_leaves(output)
            )
        )
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        outputs = neck(maps)
    assert found and not [(name, x) for name, x in found if x != dtype]
    (0.01 * weighted_sum(outputs)).backward()
    for name, parameter in neck.named_parameters():
        if name not in case.without_gradient:
            assert parameter.grad.isfinite().all(), name
    for output, exact in zip(outputs, expected, strict=True):
        error = (output.float() - exact).abs().max() / exact.abs().max()
        # Batch normalisation of two values amplifies what rounding does to them.
        assert error < (0.2 if case.needs_two_images_to_train else 0.05)


def backbone_maps_of_scale(std: float) -> list[Tensor]:
    return [(m.relu() * std / 0.58).detach() for m in backbone_maps((64, 96))]


def fpn_beside(case: NeckCase, **changes) -> dict:
    """Return the config of an FPN with the levels, norm and activation of a case."""
    own = inspect.signature(getattr(fpn_necks.necks, case.type)).parameters
    settings = {k: v.default for k, v in own.items() if k in ("norm_cfg", "act_cfg")}
    known = inspect.signature(FPN).parameters.keys() - {"upsample_cfg"}
    settings |= {k: v for k, v in case.arguments.items() if k in known}
    settings.setdefault("num_outs", len(IN_CHANNELS))
    fpn = replace(case, type="FPN", arguments=settings)
    return fpn.config(**changes)


@every_case
@pytest.mark.parametrize("std", [0.1, 10])
def test_scale_at_the_start_is_that_of_fpn(case: NeckCase, std: float) -> None:
    maps = backbone_maps_of_scale(std)
    references = [build_untrained(fpn_beside(case))(maps)]
    if case.type == "DRFPN":  # its channel blocks normalise whatever comes in
        norm = dict(norm_cfg=dict(type="GN", num_groups=4), act_cfg=dict(type="ReLU"))
        references.append(build_untrained(fpn_beside(case, **norm))(maps))
    found = build_untrained(case.config())(maps)
    for output, *expected in zip(found, *references, strict=True):
        scales = [x.std().item() for x in expected]
        assert min(scales) / 4 < output.std().item() < max(scales) * 4


@every_case
def test_runs_on_the_meta_device(case: NeckCase) -> None:
    """Costs are counted there; nothing may be copied from the processor."""
    neck = build(case).to("meta")
    outputs = neck([m.to("meta") for m in backbone_maps((64, 96))])
    assert all(output.is_meta for output in outputs)


class CountedOperations(TorchDispatchMode):
    """Counts what is computed; views cost nothing and are left out."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (dict(type="SAlphaFPN", fusion_factor=0.5), 15),
        (dict(type="CFGFPN", cascade_times=1), 55),
        (dict(type="CFGFPN"), 227),
        (dict(type="AugFPN"), 44),
        (dict(type="DRFPN"), 166),
        (dict(type="ASFF", in_channels=256), 79),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_operations_of_one_image(kind: dict, most: int) -> None:
    """An image of 800x1344 on a ResNet-50; mmdet's FPN takes 15, views left out."""
    channels = [256, 512, 1024, 2048]
    with torch.device("meta"):
        levels = {} if kind["type"] == "ASFF" else dict(num_outs=5)
        neck = MODELS.build(
            dict(in_channels=channels, out_channels=256) | levels | kind
        ).eval()
        if kind["type"] == "ASFF":
            maps = [torch.empty(1, 256, 100 >> i, 168 >> i) for i in range(3)]
        else:
            shapes = enumerate(channels)
            maps = [torch.empty(1, c, 200 >> i, 336 >> i) for i, c in shapes]
    with torch.no_grad():
        neck(maps)  # makes the constants
        with CountedOperations() as counted:
            neck(maps)
    assert counted.count <= most


@every_type
def test_trains_on_large_maps(case: NeckCase) -> None:
    neck, maps = build_untrained(case.config()), backbone_maps_of_scale(8)
    head = nn.Conv2d(OUT_CHANNELS, 1, 1)
    nn.init.normal_(head.weight, std=0.01)
    parameters = [*neck.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.001, momentum=0.9)
    losses = []
    for _ in range(50):
        scores = [head(x) for x in neck(maps)]
        # Every second column is to be found.
        wanted = [(torch.arange(x.shape[3]) % 2).expand_as(x).float() for x in scores]
        each = map(nn.functional.binary_cross_entropy_with_logits, scores, wanted)
        loss = sum(each) / len(scores)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert max(losses) < 1.1 * losses[0] < 1.1
    assert sum(losses[-10:]) / 10 < losses[0]
