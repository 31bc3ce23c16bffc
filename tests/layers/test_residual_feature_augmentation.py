import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fpn_necks.layers import AdaptiveSpatialFusion, ResidualFeatureAugmentation

# The kinds of rows in Table 4.
TABLE_4 = [
    ("gmp", (0.1, 0.2, 0.3), "sum"),
    ("gap", (0.1, 0.2, 0.3), "sum"),
    ("ratio-invariant", (0.1, 0.2, 0.3), "sum"),
    ("ratio-invariant", (0.1,), "asf"),
    ("ratio-invariant", (0.1, 0.2, 0.3, 0.4), "asf"),
    ("psp", (0.1, 0.2, 0.3), "asf"),
    ("psp", (0.1, 0.2, 0.3), "psp"),
]
every_row = pytest.mark.parametrize(("pooling", "ratios", "fusion"), TABLE_4)


def build(
    *arguments, in_channels: int = 5, out_channels: int = 4
) -> ResidualFeatureAugmentation:
    torch.manual_seed(0)
    return ResidualFeatureAugmentation(in_channels, out_channels, *arguments).double()


def last_map(height: int = 25, width: int = 42) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(2, 5, height, width, generator=random, dtype=torch.double)


def branches_by_torch(module: ResidualFeatureAugmentation, x: Tensor) -> list[Tensor]:
    """The branches with torch's own pooling."""
    height, width = x.shape[2:]
    sizes = {
        "gap": [(1, 1)],
        "gmp": [(1, 1)],
        "psp": [(1, 1), (2, 2), (3, 3), (6, 6)],
        "ratio-invariant": [
            (max(1, int(r * height)), max(1, int(r * width))) for r in module.ratios
        ],
    }[module.pooling]
    maximum = module.pooling == "gmp"
    pool = F.adaptive_max_pool2d if maximum else F.adaptive_avg_pool2d
    up = torch.nn.Upsample(size=(height, width), mode="bilinear", align_corners=True)
    pooled = [pool(x, size) for size in sizes]
    return [up(conv(p)) for conv, p in zip(module.convs, pooled, strict=True)]


@every_row
@pytest.mark.parametrize("size", [(25, 42), (7, 5), (4, 9)], ids=str)
def test_rows_of_table_4(pooling: str, ratios, fusion: str, size) -> None:
    module = build(pooling, ratios, fusion)
    x = last_map(*size)
    branches = branches_by_torch(module, x)
    if fusion == "sum":
        expected = torch.stack(branches).sum(0)
    elif fusion == "asf":
        weights = module.fusion.weights(branches)
        expected = torch.einsum("nlhw,lnchw->nchw", weights, torch.stack(branches))
    else:
        expected = module.fusion.conv(torch.cat(branches, 1))
    torch.testing.assert_close(module(x), expected)


def test_fusion_follows_the_pooling_by_default() -> None:
    def is_asf(*arguments) -> bool:
        return isinstance(build(*arguments).fusion, AdaptiveSpatialFusion)

    assert is_asf() and is_asf("psp") and is_asf("ratio-invariant", (0.1,))
    assert not is_asf("gap") and not is_asf("gmp")
