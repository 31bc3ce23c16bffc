"""RoI extractors on drawn arguments, maps and RoIs, also outside and without area."""

import math
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks.roi_extractors  # noqa: F401
from tests.robustness.fuzzing import SMALL_JUNK as JUNK
from tests.robustness.fuzzing import check_refusal, fuzz

Config = dict[str, Any]
pytest.importorskip("mmcv.ops")


@st.composite
def extractors(draw: st.DrawFn) -> Config:
    kind = draw(st.sampled_from(["SoftRoIExtractor", "AllLevelRoIExtractor"]))
    side = st.integers(1, 4)
    layer = dict(
        type="RoIAlign",
        output_size=draw(side | st.tuples(side, side)),
        sampling_ratio=draw(st.integers(0, 3)),
    )
    if draw(st.booleans()):
        layer["legacy"] = True
    least = 2 if kind == "SoftRoIExtractor" else 1
    config = dict(
        type=kind,
        roi_layer=layer,
        out_channels=draw(st.integers(1, 4)),
        featmap_strides=[4 * 2**i for i in range(draw(st.integers(least, 4)))],
    )
    if kind == "SoftRoIExtractor":
        config["fusion"] = draw(st.sampled_from(["asf", "acf", "sum", "max"]))
    return config


# Inside, outside, without area, thousands of pixels away.
COORDINATES = (
    st.integers(-20, 80)
    | st.sampled_from([0, 15, 16, 31.999, 64])
    | st.floats(-3000, 3000, width=32)
)


@st.composite
def drawn_rois(draw: st.DrawFn, images: int) -> Tensor:
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, images - 1), *[COORDINATES] * 2, *[COORDINATES] * 2
            ),
            max_size=6,
        )
    )
    rois = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    kind = draw(st.sampled_from(["any", "any", "no width", "no area", "outside"]))
    if kind in ("no width", "no area"):
        rois[:, 3] = rois[:, 1]
    if kind == "no area":
        rois[:, 4] = rois[:, 2]
    if kind == "outside":
        rois[:, 1:] = rois[:, 1:].abs() + 1000
    low, high = rois[:, 1:3], rois[:, 3:]
    return torch.cat([rois[:, :1], low.minimum(high), low.maximum(high)], dim=1)


def build(config: Config) -> nn.Module:
    torch.manual_seed(0)
    extractor = MODELS.build(config)
    extractor.init_weights()
    return extractor


def maps_of(config: Config, images: int, size: tuple[int, int]) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(
            images,
            config["out_channels"],
            math.ceil(size[0] / stride),
            math.ceil(size[1] / stride),
            generator=random,
        ).requires_grad_()
        for stride in config["featmap_strides"]
    ]


def plain_align(
    x: Tensor, roi: list[float], stride: int, out: tuple[int, int], ratio: int
) -> Tensor:
    """RoIAlign of one RoI, written again: aligned, ``(C, *out)``."""
    _, height, width = x.shape
    x1, y1, x2, y2 = (c / stride - 0.5 for c in roi)
    cell_h, cell_w = (y2 - y1) / out[0], (x2 - x1) / out[1]
    num_h = ratio or math.ceil((y2 - y1) / out[0])
    num_w = ratio or math.ceil((x2 - x1) / out[1])
    result = torch.zeros(len(x), *out)
    for i in range(out[0]):
        for j in range(out[1]):
            for a in range(num_h):
                for b in range(num_w):
                    y = y1 + cell_h * (i + (a + 0.5) / num_h)
                    z = x1 + cell_w * (j + (b + 0.5) / num_w)
                    if not (-1 <= y <= height and -1 <= z <= width):
                        continue
                    y, z = max(y, 0.0), max(z, 0.0)
                    top, left = min(int(y), height - 1), min(int(z), width - 1)
                    low, right = min(top + 1, height - 1), min(left + 1, width - 1)
                    v = 0.0 if top == height - 1 else y - top
                    u = 0.0 if left == width - 1 else z - left
                    result[:, i, j] += (
                        (1 - v) * (1 - u) * x[:, top, left]
                        + (1 - v) * u * x[:, top, right]
                        + v * (1 - u) * x[:, low, left]
                        + v * u * x[:, low, right]
                    ) / max(num_h * num_w, 1)
    return result


@fuzz(100, config=extractors(), data=st.data())
def test_allowed_extractors(config: Config, data: st.DataObject) -> None:
    images = data.draw(st.integers(1, 3), "images")
    size = data.draw(st.tuples(st.integers(8, 64), st.integers(8, 64)), "size")
    rois = data.draw(drawn_rois(images), "rois")
    extractor, feats = build(config), maps_of(config, images, size)
    scale = data.draw(st.sampled_from([None, None, 0.5, 2.0]), "scale")
    result = extractor(feats, rois, scale)
    out = config["roi_layer"]["output_size"]
    out = out if isinstance(out, tuple) else (out, out)
    count = len(rois)
    if config["type"] == "AllLevelRoIExtractor":
        count *= len(config["featmap_strides"])
    assert tuple(result.shape) == (count, config["out_channels"], *out)
    assert result.isfinite().all()
    random = torch.Generator().manual_seed(2)
    (result * torch.randn(result.shape, generator=random)).sum().backward()
    for x in (*extractor.parameters(), *feats):
        assert x.grad is not None and x.grad.isfinite().all()


@fuzz(30, size=st.tuples(st.integers(3, 40), st.integers(3, 40)), data=st.data())
def test_values_of_any_roi(size: tuple[int, int], data: st.DataObject) -> None:
    """Also outside of the image and without area: what is outside counts as 0."""
    ratio = data.draw(st.integers(0, 2), "ratio")
    out = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)), "out")
    corner = data.draw(st.tuples(*[st.floats(-60, 90, width=32)] * 2), "corner")
    extent = data.draw(st.tuples(*[st.floats(0, 60, width=32)] * 2), "extent")
    box = [*corner, corner[0] + extent[0], corner[1] + extent[1]]
    rois = torch.tensor([[0, *box]])
    config = dict(
        type="AllLevelRoIExtractor",
        roi_layer=dict(type="RoIAlign", output_size=out, sampling_ratio=ratio),
        out_channels=2,
        featmap_strides=[4, 8],
    )
    feats = maps_of(config, 1, size)
    found = build(config)(feats, rois)
    for level, stride in enumerate((4, 8)):
        plain = plain_align(
            feats[level][0].detach(), rois[0, 1:].tolist(), stride, out, ratio
        )
        # Samples may fall on either side of the border at which they begin to count.
        close = (found[level] - plain).abs() < 1e-3
        assert close.all() or near_border(rois[0, 1:].tolist(), stride, feats[level])


def near_border(box: list[float], stride: int, x: Tensor) -> bool:
    """Whether rounding decides how many samples there are, or which are inside."""
    _, _, height, width = x.shape
    edges = [c / stride - 0.5 for c in box]
    limits = [(-1, width), (-1, height)] * 2
    sides = [edges[2] - edges[0], edges[3] - edges[1]]
    return any(
        low - side - 1e-3 <= edge <= high + side + 1e-3
        for edge, (low, high), side in zip(edges, limits, sides * 2, strict=True)
        if min(abs(edge - low), abs(edge - high)) < 1e-3
    ) or any(abs(side - round(side)) < 1e-4 for side in sides)


def try_with(config: Config, name: str, feats: Any, rois: Any, names: list[str]) -> Any:
    try:
        result = build(config)(feats, rois)
    except Exception as error:
        return check_refusal(error, names, f"{config['type']}.{name}")
    assert result.isfinite().all(), name
    return result


@fuzz(50, config=extractors(), data=st.data())
def test_one_argument_is_anything(config: Config, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(set(config) - {"type"})), "name")
    value = data.draw(st.sampled_from(JUNK), "value")
    feats = maps_of(config, 1, (32, 32))
    rois = torch.tensor([[0.0, 1, 2, 20, 30]])
    config = config | {name: value}
    names = [name]
    if name in ("featmap_strides", "out_channels"):
        # Then the maps are those of another extractor.
        names.append("feature map")
    try_with(config, name, feats, rois, names)


@fuzz(
    30,
    name=st.sampled_from(["type", "output_size", "sampling_ratio", "aligned", "x"]),
    value=st.sampled_from(["SingleRoIExtractor", "nms", (0, 3), (2, -1), *JUNK]),
)
def test_one_setting_of_the_pooling_is_anything(name: str, value: Any) -> None:
    config = dict(
        type="AllLevelRoIExtractor",
        roi_layer={"type": "RoIAlign", "output_size": 2, name: value},
        out_channels=2,
        featmap_strides=[4, 8],
    )
    rois = torch.tensor([[0.0, 1, 2, 20, 30]])
    try_with(config, name, maps_of(config, 1, (32, 32)), rois, ["roi_layer"])


@fuzz(
    30,
    config=extractors(),
    fault=st.sampled_from(
        [
            "image too high",
            "image below 0",
            "NaN",
            "infinite",
            "inside out",
            "four columns",
            "one dimension",
            "no tensor",
            "one map less",
            "other batch",
            "unbatched maps",
            "no list of maps",
        ]
    ),
)
def test_inputs_that_do_not_fit(config: Config, fault: str) -> None:
    rois: Any = torch.tensor([[0.0, 1, 2, 20, 30], [1, 3, 4, 9, 9]])
    feats: Any = maps_of(config, 2, (32, 48))
    names = ["rois"]
    if fault == "image too high":
        rois[1, 0] = 2
    elif fault == "image below 0":
        rois[1, 0] = -1
    elif fault == "NaN":
        rois[0, 2] = math.nan
    elif fault == "infinite":
        rois[0, 3] = math.inf
    elif fault == "inside out":
        config["roi_layer"].pop("legacy", None)  # the old operator clamps them
        rois[0, 3] = 0
    elif fault == "four columns":
        rois = rois[:, 1:]
    elif fault == "one dimension":
        rois = rois[0]
    elif fault == "no tensor":
        rois = rois.tolist()
    else:
        names = ["feature map"]
        if fault == "one map less":
            feats = feats[1:]
        elif fault == "other batch":
            feats = [*feats[:-1], torch.cat([feats[-1]] * 2)]
            if len(feats) == 1:
                return
        elif fault == "unbatched maps":
            feats = [x[0] for x in feats]
        else:
            feats = feats[0]
    assert try_with(config, fault, feats, rois, names) is None, f"{fault} was taken"
