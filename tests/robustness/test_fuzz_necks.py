"""Necks on drawn arguments and maps: a right result, or an error that says why."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks.necks  # noqa: F401
from fpn_necks.layers import StatisticFusionFactor
from tests.neck_cases import IN_CHANNELS
from tests.necks.test_all_necks import FIRST_CASES
from tests.robustness.fuzzing import check_refusal, fuzz

Config = dict[str, Any]
GN = dict(type="GN", num_groups=2)
# GN's two groups fit, and each has two values where a map has a single pixel.
WIDTHS = st.sampled_from([4, 6, 8])
NORMS = st.sampled_from([None, GN, dict(type="BN", eps=1e-3, requires_grad=True)])
ACTIVATIONS = st.sampled_from(
    [None, dict(type="ReLU"), dict(type="LeakyReLU", negative_slope=0.1)]
)
NECKS = ("SAlphaFPN", "CFGFPN", "AugFPN", "DRFPN")


@st.composite
def sizes(draw: st.DrawFn, levels: int) -> list[tuple[int, int]]:
    """Heights and widths, fine to coarse: halved in any rounding, or just falling."""
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    result = [size]
    kind = draw(st.sampled_from(["up", "down", "falling"]))
    for _ in range(levels - 1):
        if kind == "falling":
            size = tuple(draw(st.integers(1, side)) for side in size)
        else:
            size = tuple(
                max(1, side // 2) if kind == "down" else math.ceil(side / 2)
                for side in size
            )
        result.append(size)
    return result


UPSAMPLINGS = [
    None,
    dict(mode="nearest"),
    dict(mode="nearest", scale_factor=2),
    dict(mode="nearest-exact"),
    dict(mode="bilinear"),
    dict(mode="bilinear", align_corners=True),
    dict(mode="bicubic", align_corners=False),
    dict(mode="area"),
]
CONVS = [None, dict(type="Conv2d")]
FACTORS = st.floats(0, 3)


def factor_configs(connections: int) -> st.SearchStrategy:
    return st.one_of(
        FACTORS,
        st.lists(FACTORS, min_size=connections, max_size=connections),
        st.sampled_from(["learnable", "learnable-shared", "attention", "statistic"]),
        FACTORS.map(lambda x: dict(type="LearnableFusionFactor", init=x)),
    )


@st.composite
def pyramid_necks(draw: st.DrawFn) -> Config:
    """Arguments that are allowed together."""

    def pick(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    count = draw(st.integers(1, 5))
    start = draw(st.integers(0, count - 1))
    end = pick(-1, *range(start, count))
    last = count - 1 if end == -1 else end
    used = last - start + 1
    extra = draw(st.integers(0, 3)) if last == count - 1 else 0
    kind = pick(*NECKS)
    config = dict(
        type=kind,
        in_channels=draw(st.lists(WIDTHS, min_size=count, max_size=count)),
        out_channels=draw(WIDTHS),
        num_outs=used + extra,
        start_level=start,
        end_level=end,
        add_extra_convs=pick(False, True, "on_input", "on_lateral", "on_output"),
        relu_before_extra_convs=draw(st.booleans()),
        no_norm_on_lateral=draw(st.booleans()),
        norm_cfg=draw(NORMS),
        act_cfg=draw(ACTIVATIONS),
        conv_cfg=pick(*CONVS),
        upsample_cfg=pick(*UPSAMPLINGS),
    )
    if kind in ("SAlphaFPN", "AugFPN"):
        config["fusion_factor"] = draw(factor_configs(used - 1))
    if kind == "SAlphaFPN":
        config["power_init"] = pick(None, 0.5, 0.1, 2)
    if kind == "CFGFPN":
        width = -(-config["out_channels"] // used) * used
        config["rank"] = draw(st.none() | st.integers(1, width))
        config["cascade_times"] = draw(st.integers(1, 3))
        config["noise"] = draw(st.floats(1e-4, 1))
        config["weight_channels"] = draw(st.integers(2, 9))
        if width % 2:
            config["norm_cfg"] = None
    if kind == "AugFPN":
        pooling = pick("ratio-invariant", "gap", "gmp", "psp")
        fusions = [None, "sum"] if pooling in ("gap", "gmp") else [None, "asf", "psp"]
        config["pooling"] = pooling
        config["fusion"] = pick(*fusions)
        config["ratios"] = draw(st.lists(st.floats(0.01, 1), min_size=1, max_size=3))
        config["residual_to_extra_level"] = bool(extra) and draw(st.booleans())
    if kind == "DRFPN":
        wide = config["in_channels"][last] >= 8
        contexts = ["ppm", "dense-aspp", "none", *["non-local"] * wide]
        offset, weight = pick((True, True), (True, False), (False, True))
        config["context"] = pick(*contexts)
        config["top_down"] = pick("srb", "crb", "srb+crb", "plain")
        config["bottom_up"] = pick("crb", "srb", "plain", "none")
        config["srb"] = dict(
            inputs=pick("cat", "low", "high", "add"),
            sampling_offset=offset,
            sampling_weight=weight,
            offset_scale=pick("size", "mean-side"),
            base_grid=pick("released", "identity"),
        )
        norm = pick(None, GN, dict(type="BN"))
        config["crb"] = dict(guide=pick("low", "high", "add", "cat"), norm_cfg=norm)
    return config


def build(config: Config) -> nn.Module:
    torch.manual_seed(0)
    neck = MODELS.build(config)
    neck.init_weights()
    for module in neck.modules():
        if isinstance(module, StatisticFusionFactor):
            module.set([0.5] * module.num_connections)
    return neck


def random_maps(
    batch: int, channels: list[int], map_sizes: list[tuple[int, int]]
) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, c, *size, generator=random).requires_grad_()
        for c, size in zip(channels, map_sizes, strict=True)
    ]


def normalises_single_values(neck: nn.Module) -> bool:
    """Whether BN may meet one value per channel, if there is a single image."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in neck.modules())


def check_result(
    neck: nn.Module, maps: list[Tensor], expected: list[tuple[int, ...]]
) -> None:
    outputs = neck(maps)
    assert [tuple(output.shape) for output in outputs] == expected
    assert all(output.isfinite().all() for output in outputs)
    random = torch.Generator().manual_seed(2)
    sum((o * torch.randn(o.shape, generator=random)).sum() for o in outputs).backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad is not None, f"No gradient for {name}"
        assert parameter.grad.isfinite().all(), f"Gradient of {name} is not finite"
    for x in maps:
        assert x.grad is None or x.grad.isfinite().all()


def pyramid_shapes(
    config: Config, batch: int, map_sizes: list[tuple[int, int]]
) -> list[tuple[int, ...]]:
    """Used levels keep their sizes; each further one is half the one before."""
    start, end = config["start_level"], config["end_level"]
    used = map_sizes[start:] if end == -1 else map_sizes[start : end + 1]
    height, width = used[-1]
    while len(used) < config["num_outs"]:
        height, width = (height + 1) // 2, (width + 1) // 2
        used = [*used, (height, width)]
    return [(batch, config["out_channels"], *size) for size in used]


@fuzz(200, config=pyramid_necks(), data=st.data())
def test_allowed_necks(config: Config, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, 3), "batch")
    training = data.draw(st.booleans(), "training")
    map_sizes = data.draw(sizes(len(config["in_channels"])), "sizes")
    expected = pyramid_shapes(config, batch, map_sizes)
    neck = build(config).train(training)
    try:
        check_result(
            neck, random_maps(batch, config["in_channels"], map_sizes), expected
        )
    except ValueError as error:
        # The one thing that allowed arguments cannot do.
        assert batch == 1 and training and normalises_single_values(neck)
        check_refusal(error, ["norm_cfg", "value per channel"], "one image with BN")


# What is done to the maps of a neck, the second of which is x.
FAULTS: dict[str, Callable[[list[Tensor], Tensor], Any]] = {
    "one less": lambda maps, x: maps[:-1],
    "one more": lambda maps, x: [*maps, x],
    "no list": lambda maps, x: x,
    "other width": lambda maps, x: [maps[0], torch.cat([x, x], 1), *maps[2:]],
    "no batch": lambda maps, x: [maps[0], x[0], *maps[2:]],
    "five dimensions": lambda maps, x: [maps[0], x[None], *maps[2:]],
    "other batch": lambda maps, x: [maps[0], x[:1], *maps[2:]],
    "no image": lambda maps, x: [x[:0] for x in maps],
    "no rows": lambda maps, x: [maps[0], x[:, :, :0], *maps[2:]],
    "no tensor": lambda maps, x: [maps[0], x.tolist(), *maps[2:]],
    "nothing": lambda maps, x: None,
    "integers": lambda maps, x: [maps[0], x.long(), *maps[2:]],
}


@pytest.mark.parametrize("kind", FIRST_CASES)
def test_maps_that_do_not_fit(kind: str) -> None:
    neck = MODELS.build(FIRST_CASES[kind].config()).eval()
    maps = random_maps(2, IN_CHANNELS, [(16 >> i, 16 >> i) for i in range(4)])
    for fault, change in FAULTS.items():
        if fault == "one more" and kind == "ASFF":
            continue  # passed on as it is
        with pytest.raises((ValueError, TypeError), match="map|inputs"):
            neck(change(maps, maps[1]))
            pytest.fail(f"{fault} was taken")
