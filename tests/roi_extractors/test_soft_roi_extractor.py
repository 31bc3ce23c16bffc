import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fpn_necks.roi_extractors import SoftRoIExtractor, level_shares, original_levels
from tests.neck_cases import backbone_maps

STRIDES = [4, 8, 16, 32]
CHANNELS = 6
ROI_LAYER = dict(type="RoIAlign", output_size=7, sampling_ratio=0)
SETTINGS = dict(
    type="SoftRoIExtractor",
    roi_layer=ROI_LAYER,
    out_channels=CHANNELS,
    featmap_strides=STRIDES,
)
FUSIONS = ["asf", "acf", "sum", "max"]
every_fusion = pytest.mark.parametrize("fusion", FUSIONS)


def feature_maps(channels: int = CHANNELS, size=(96, 128)) -> list[Tensor]:
    maps = backbone_maps((size[0] // 4, size[1] // 4), channels=[channels] * 4)
    return [x.requires_grad_() for x in maps]


def some_rois(count: int = 9, size=(96, 128)) -> Tensor:
    """RoIs of all sizes, some of them partly outside of the image."""
    random = torch.Generator().manual_seed(1)
    height, width = size
    corner = torch.rand(count, 2, generator=random) * torch.tensor([width, height])
    extent = torch.rand(count, 2, generator=random) * 100 + 2
    image = torch.arange(count)[:, None] % 2
    return torch.cat([image, corner - 5, corner + extent], dim=1)


def build(fusion: str = "asf", **changes) -> SoftRoIExtractor:
    torch.manual_seed(0)
    extractor = MODELS.build(SETTINGS | dict(fusion=fusion) | changes)
    extractor.init_weights()
    for name, parameter in extractor.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.uniform_(parameter, 0.1, 0.4)
    return extractor


def pool_all(feats: list[Tensor], rois: Tensor) -> Tensor:
    pooled = [
        RoIAlign(7, 1 / s, sampling_ratio=0)(x, rois)
        for x, s in zip(feats, STRIDES, strict=True)
    ]
    return torch.stack(pooled, dim=1)  # (K, L, C, h, w)


def test_asf_is_the_formula_of_the_concatenation() -> None:
    extractor, feats, rois = build(), feature_maps(), some_rois()
    pooled = pool_all(feats, rois)
    hidden = extractor.fusion.reduce(pooled.flatten(1, 2)).relu()
    weights = extractor.fusion.weigh(hidden).sigmoid()
    torch.testing.assert_close(extractor.level_weights(feats, rois), weights)
    expected = (weights[:, :, None] * pooled).sum(1)
    torch.testing.assert_close(extractor(feats, rois), expected)


def test_acf_sum_and_max() -> None:
    feats, rois = feature_maps(), some_rois()
    pooled = pool_all(feats, rois)
    torch.testing.assert_close(build("sum")(feats, rois), pooled.sum(1))
    assert torch.equal(build("max")(feats, rois), pooled.amax(1))
    extractor = build("acf")
    squeezed = pooled.mean((3, 4)).flatten(1)[..., None, None]
    hidden = extractor.fusion.reduce(squeezed).relu()
    weights = extractor.fusion.weigh(hidden).sigmoid().view(9, 4, CHANNELS, 1, 1)
    torch.testing.assert_close(extractor(feats, rois), (weights * pooled).sum(1))
    shown = extractor.level_weights(feats, rois)
    assert shown.shape == (9, 4, 7, 7)
    torch.testing.assert_close(shown, weights.mean(2).expand_as(shown))


@pytest.mark.parametrize("level", range(4))
def test_one_hot_weights_are_roi_align_of_that_level(level: int) -> None:
    """And SingleRoIExtractor, for RoIs that it assigns to this level."""
    extractor, feats = build(), feature_maps()
    torch.nn.init.zeros_(extractor.fusion.weigh.weight)
    with torch.no_grad():  # at ±1000 the sigmoid is exactly 0 and 1
        extractor.fusion.weigh.bias.fill_(-1000.0)
        extractor.fusion.weigh.bias[level] = 1000.0
    rois = some_rois()
    align = RoIAlign(7, 1 / STRIDES[level], sampling_ratio=0)
    assert torch.equal(extractor(feats, rois), align(feats[level], rois))

    side = 56 * 2.0**level * 1.5
    rois = torch.tensor([[0, 3.2, 5.1, 3.2 + side, 5.1 + side], [1, 0, 9, side, side]])
    assert original_levels(rois, 4).tolist() == [level, level]
    single = SingleRoIExtractor(ROI_LAYER, CHANNELS, STRIDES)
    assert torch.equal(extractor(feats, rois), single(feats, rois))
    scaled = extractor(feats, rois, roi_scale_factor=1.3)
    assert torch.equal(scaled, single(feats, rois, roi_scale_factor=1.3))
    assert not torch.equal(scaled, single(feats, rois))


@pytest.mark.parametrize("inclusive", [True, False])
def test_legacy_is_aligned_pooling_half_a_cell_further(inclusive: bool) -> None:
    """A box of 7 pixels keeps its extent, or gets the last pixel's."""
    layer = dict(type="RoIAlign", output_size=7, legacy=True, inclusive=inclusive)
    extractor = build(roi_layer=layer)
    feats = feature_maps()
    rois = [[0, 8.0, 16, 15, 23], [1, 3.2, 5.1, 90.7, 60.3], [1, -6, -9, 12, 150]]
    rois = torch.tensor([*rois, [0, 20, 20, 14, 12]])  # the last one inside out
    for level, stride in enumerate(STRIDES):
        moved = rois + torch.tensor([0.0, *[stride / 2] * 4])
        moved[:, 3:] += int(inclusive)
        moved[:, 3:] = moved[:, 3:].maximum(moved[:, 1:3])
        expected = RoIAlign(7, 1 / stride, sampling_ratio=2)(feats[level], moved)
        found = extractor.pool_level(level, feats[level], rois)
        torch.testing.assert_close(found, expected)


def test_released_sampling_is_the_default() -> None:
    feats, rois = feature_maps(), some_rois()
    plain = build("sum", roi_layer=dict(type="RoIAlign", output_size=7))
    released = build("sum", roi_layer=ROI_LAYER | dict(sampling_ratio=2))
    assert torch.equal(plain(feats, rois), released(feats, rois))
    assert not torch.equal(plain(feats, rois), build("sum")(feats, rois))


def test_parameters_of_the_paper() -> None:
    """0.27M with four levels of 256 channels (Sec. 4.4)."""
    count = sum(p.numel() for p in build(out_channels=256).parameters())
    assert count == 1024 * 256 + 256 + 9 * 256 * 4 + 4 == 271_620
    assert not list(build("max").parameters())


def test_init_cfg() -> None:
    extractor = build()
    for conv in (extractor.fusion.reduce, extractor.fusion.weigh):
        fan_in, fan_out = (conv.weight[:, 0].numel(), conv.weight[0].numel())
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.9 * bound < conv.weight.abs().max() <= bound


@every_fusion
def test_checkpointed_extractor_has_the_same_gradients(fusion: str) -> None:
    results, kept, rois = [], [], some_rois()
    for with_cp in (False, True):
        extractor, feats = build(fusion, with_cp=with_cp), feature_maps()
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        ):
            found = extractor(feats, rois)
        found.square().sum().backward()
        kept.append(sum(sizes))
        tensors = (*extractor.parameters(), *feats)
        results.append([found, *(x.grad for x in tensors)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert kept[1] < kept[0]


@every_fusion
def test_without_rois(fusion: str) -> None:
    """Every process of a distributed training must have all gradients."""
    extractor, feats = build(fusion), feature_maps()
    for layer in extractor.roi_layers:  # whose GPU kernel cannot be launched for none
        layer.register_forward_pre_hook(lambda *_: pytest.fail("the operator was run"))
    for rois in (torch.zeros(0, 5), torch.zeros(0, 5, dtype=torch.double)):
        result = extractor(feats, rois, roi_scale_factor=1.2)
        assert result.shape == (0, CHANNELS, 7, 7) and result.dtype == torch.float32
        result.sum().backward()
        for tensor in (*extractor.parameters(), *feats):
            assert tensor.grad is not None and torch.count_nonzero(tensor.grad) == 0


@every_fusion
@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [(torch.bfloat16, True), (torch.float16, False), (torch.double, False)],
    ids=str,
)
def test_precision(fusion: str, dtype: torch.dtype, autocast: bool) -> None:
    """Maps of any type give RoIs of it, under autocast and behind ``model.half()``."""
    extractor = build(fusion)
    exact_feats = [x.detach() for x in feature_maps(size=(2048, 96))]
    # Rounded to half precision, these RoIs would be off by up to a pixel (float16) or
    # eight (bfloat16).
    rois = torch.tensor([[0, 11.3, 2001.3, 41.9, 2037.7], [1, 5.2, 1025.5, 70.1, 1044]])
    with torch.no_grad():
        exact = extractor([x.to(dtype).float() for x in exact_feats], rois)
    feats = [x.to(dtype).requires_grad_() for x in exact_feats]
    if not autocast:
        extractor.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        result = extractor(feats, rois)
        empty = extractor(feats, rois[:0])
    assert result.dtype == empty.dtype == dtype
    (result.float().sum() + empty.float().sum()).backward()
    for tensor in (*extractor.parameters(), *feats):
        assert tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0
    assert (result.float() - exact).abs().max() < 0.03 * exact.abs().max()


def test_memory_format_changes_nothing() -> None:
    """mmcv's operator reads channels_last maps wrongly, in both directions."""
    extractor, rois = build(), some_rois()
    expected_feats, feats = feature_maps(), feature_maps()
    expected = extractor(expected_feats, rois)
    expected.square().sum().backward()
    last = torch.channels_last
    found = extractor.to(memory_format=last)(
        [x.contiguous(memory_format=last) for x in feats], rois
    )
    found.contiguous(memory_format=last).square().sum().backward()
    torch.testing.assert_close(found, expected)
    for x, expected_x in zip(feats, expected_feats, strict=True):
        torch.testing.assert_close(x.grad, expected_x.grad, rtol=1e-4, atol=1e-5)


class LargestResult(TorchDispatchMode):
    """The number of entries of the largest tensor that any operator returned."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(result) if isinstance(x, Tensor)]
        self.entries = max(self.entries, *sizes, 0)
        return result


@every_fusion
def test_levels_are_never_concatenated(fusion: str) -> None:
    """Neither forward nor backward stores all levels of all RoIs in one tensor."""
    extractor = build(fusion, out_channels=16)
    feats, rois = feature_maps(16, (32, 32)), some_rois(64, (32, 32))
    with LargestResult() as largest:
        extractor(feats, rois).sum().backward()
    assert 0 < largest.entries <= 64 * 16 * 7 * 7


def test_level_shares_of_fig_4() -> None:
    weights = torch.zeros(5, 4, 2, 2)
    weights[0] = torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None]
    weights[1, 0] = torch.tensor([[0.2, 0.4], [0.4, 0.6]])
    weights[2:, 3] = 0.5
    groups = torch.tensor([0, 0, 2, 2, 2])
    shares = level_shares(weights, groups)
    first = torch.tensor([0.5, 0.2, 0.3, 0.4]) / 1.4
    torch.testing.assert_close(shares[0], first)
    assert shares[2].tolist() == [0, 0, 0, 1]
    assert shares[1].isnan().all() and shares[3].isnan().all()
    together = level_shares(weights)
    torch.testing.assert_close(together, torch.tensor([0.5, 0.2, 0.3, 1.9]) / 2.9)


def test_original_levels_are_those_of_mmdet() -> None:
    random = torch.Generator().manual_seed(0)
    corners = torch.rand(500, 2, generator=random) * 100
    extent = 2.0 ** (torch.rand(500, 2, generator=random) * 8 + 2)
    rois = torch.cat([torch.zeros(500, 1), corners, corners + extent], dim=1)
    for scale in (56, 28):
        single = SingleRoIExtractor(ROI_LAYER, CHANNELS, STRIDES, finest_scale=scale)
        expected = single.map_roi_levels(rois, 4)
        assert len(expected.unique()) == 4
        assert torch.equal(original_levels(rois, 4, scale), expected)


@every_fusion
def test_traced_extractor_is_equal(fusion: str) -> None:
    extractor = build(fusion).eval()
    feats, rois = [x.detach() for x in feature_maps()], some_rois()
    traced = torch.jit.trace(extractor, (feats, rois))
    other = [x * 0.5 for x in feats]
    torch.testing.assert_close(
        traced(other, rois.flip(0)), extractor(other, rois.flip(0))
    )


def test_without_compiled_ops(tmp_path: Path) -> None:
    """As with mmcv-lite: these packages are empty, and necks work."""
    code = (
        "import sys; sys.modules['mmcv._ext'] = None;"
        "import torch, fpn_necks;"
        "from fpn_necks.necks import SAlphaFPN;"
        "neck = SAlphaFPN([4, 8], 4, num_outs=3, fusion_factor='learnable');"
        "maps = [torch.rand(1, 4, 8, 8), torch.rand(1, 8, 4, 4)];"
        "print(fpn_necks.roi_extractors.__all__, fpn_necks.auxiliary.__all__,"
        " len(neck(maps)))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "[] [] 3", result.stderr
