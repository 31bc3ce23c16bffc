import pytest
import torch
from torch import Tensor, nn

from fpn_necks.layers import (
    CompressedLevelScores,
    DirectLevelScores,
    LevelFusion,
)
from tests.neck_cases import backbone_maps

SMOOTH = dict(norm_cfg=None, act_cfg=dict(type="Tanh"))
WIDTHS = [4, 6, 6]


def pyramid() -> list[Tensor]:
    return backbone_maps((9, 11), channels=WIDTHS)


def build(target: int = 1, settings=SMOOTH, **changes) -> LevelFusion:
    torch.manual_seed(0)
    arguments = dict(
        in_channels=WIDTHS,
        target=target,
        out_channels=7,
        order="fine_to_coarse",
        weights="compressed",
        compress_channels=3,
        fusion="asff",
        settings=settings,
    )
    return LevelFusion(**{**arguments, **changes})


def test_scores_from_one_level_alone() -> None:
    """Eq. 2: λ of a level is a 1x1 conv of this level; the softmax joins them."""
    scores = DirectLevelScores(3, 5)
    maps = [torch.randn(2, 5, 6, 7) for _ in range(3)]
    before = scores(maps)
    maps[1] = maps[1] + 1
    changed = (scores(maps) != before).flatten(2).any(2)
    assert changed.tolist() == [[False, True, False]] * 2
    expected = nn.functional.conv2d(
        maps[1], scores.score[1].weight, scores.score[1].bias
    )
    torch.testing.assert_close(scores(maps)[:, 1:2], expected)


def test_softmax_is_float32_under_autocast() -> None:
    fusion = build()
    maps = pyramid()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights, fused = fusion.weight_maps(maps), fusion(maps)
    assert weights.dtype == torch.float32
    assert fused.dtype == torch.bfloat16


@pytest.mark.parametrize(("kind", "width"), [("sum", 6), ("concat", 18)])
def test_sum_and_concat(kind: str, width: int) -> None:
    fusion, maps = build(fusion=kind), pyramid()
    resized = fusion.resizing(maps)
    fused = sum(resized) if kind == "sum" else torch.cat(resized, dim=1)
    torch.testing.assert_close(fusion(maps), fusion.expand(fused))
    assert fusion.expand.conv.in_channels == width
    # Nothing is made that gets no gradient.
    assert not [n for n, _ in fusion.named_parameters() if "scores" in n]


@pytest.mark.parametrize("target", range(3))
def test_result_is_the_expanded_sum_of_resized_levels(target: int) -> None:
    fusion, maps = build(target), pyramid()
    resized = fusion.resizing(maps)
    weights = fusion.weight_maps(maps)
    expected = sum(x * weights[:, i : i + 1] for i, x in enumerate(resized))
    torch.testing.assert_close(fusion(maps), fusion.expand(expected))
    assert fusion(maps).shape == (2, 7, *maps[target].shape[2:])


def test_activations_with_weights_stay_apart() -> None:
    settings = dict(norm_cfg=None, act_cfg=dict(type="PReLU"))
    scores = CompressedLevelScores(2, 4, 3, settings)
    with torch.no_grad():
        scores.compress[0].activate.weight.fill_(0.0)
        scores.compress[1].activate.weight.fill_(1.0)
    maps = [torch.randn(1, 4, 5, 5), torch.randn(1, 4, 5, 5)]
    squeezed = [b(x) for b, x in zip(scores.compress, maps, strict=True)]
    expected = scores.score(torch.cat(squeezed, dim=1))
    torch.testing.assert_close(scores(maps), expected)
