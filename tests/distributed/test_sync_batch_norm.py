"""SyncBN: configs with it build, and run without a GPU the way mmengine does it.

torch synchronises batch norms on GPUs alone, so that here nothing is synchronised.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import revert_sync_batchnorm
from torch import nn

from fpn_necks.layers import StatisticFusionFactor
from tests.neck_cases import CASES as NECKS
from tests.neck_cases import IN_CHANNELS, NeckCase

SYNC_BN = dict(type="SyncBN", requires_grad=True)


def neck_config(case: NeckCase) -> dict[str, Any]:
    """Return a neck's config with SyncBN wherever it takes a norm."""
    config = case.config(norm_cfg=SYNC_BN)
    if case.type == "DRFPN":
        config["crb"] = dict(config.get("crb", {}), norm_cfg=SYNC_BN)
    return config


def sync_norms(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.SyncBatchNorm)]


@pytest.mark.long
@pytest.mark.parametrize("case", NECKS, ids=lambda case: case.name)
def test_necks_with_sync_bn(case: NeckCase) -> None:
    torch.manual_seed(0)
    neck = MODELS.build(neck_config(case))
    neck.init_weights()
    assert sync_norms(neck)
    keys = list(neck.state_dict())
    for module in neck.modules():
        if isinstance(module, StatisticFusionFactor):
            module.set([0.5] * module.num_connections)
    # mmengine does this before every training that is not distributed.
    neck = revert_sync_batchnorm(neck).train()
    assert not sync_norms(neck) and list(neck.state_dict()) == keys
    maps = [
        torch.randn(2, channels, 64 >> level, 64 >> level)
        for level, channels in enumerate(IN_CHANNELS)
    ]
    outputs = neck(maps)
    torch.stack([(x**2).mean() for x in outputs]).sum().backward()
    for key, parameter in neck.named_parameters():
        if key not in case.without_gradient:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    for key, value in neck.named_buffers():
        if key.endswith("running_mean"):
            assert value.isfinite().all() and value.any(), key


def test_one_image_without_a_gpu() -> None:
    """What SyncBN becomes there needs two images as BN does, and says so."""
    config = dict(
        type="DRFPN",
        in_channels=IN_CHANNELS,
        out_channels=16,
        num_outs=5,
        crb=dict(norm_cfg=SYNC_BN),
    )
    neck = revert_sync_batchnorm(MODELS.build(config)).train()
    maps = [torch.randn(1, c, 64 >> i, 64 >> i) for i, c in enumerate(IN_CHANNELS)]
    with pytest.raises(ValueError, match="impossible with one image per batch"):
        neck(maps)
