"""Eq. 12-17 of CFG-FPN, image by image and group by group, from the weights alone."""

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def below(weights: Weights, prefix: str) -> Weights:
    return {
        k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)
    }


def slow_matrix(weights: Weights, x: Tensor, rank: int | None) -> Tensor:
    """M_k of one image ``x``, ``(W, H, W')``."""
    channels = x.shape[0]
    pooled = torch.stack([x[c].sum() / x[c].numel() for c in range(channels)])
    hidden = weights["hidden.weight"] @ pooled + weights["hidden.bias"]
    groups = max(1, len(hidden) // 8)
    while len(hidden) % groups:
        groups -= 1
    normed = [
        (part - part.mean()) / (part.var(unbiased=False) + 1e-5).sqrt()
        for part in hidden.chunk(groups)
    ]
    hidden = torch.cat(normed) * weights["norm.weight"] + weights["norm.bias"]
    hidden = hidden.clamp(min=0)
    entries = weights["entries.weight"] @ hidden + weights["entries.bias"]
    if rank is None:
        return entries.reshape(channels, channels)
    size = channels * rank
    factors = entries[:size].reshape(channels, rank), entries[size:].reshape(rank, -1)
    identity = torch.eye(channels, dtype=x.dtype)
    return identity + factors[0] @ factors[1]


def slow_resize(group: Tensor, source: int, level: int, size, upsample_cfg) -> Tensor:
    if source < level:
        return F.adaptive_avg_pool2d(group[None], size)[0]
    if source > level:
        return F.interpolate(group[None], size, **upsample_cfg)[0]
    return group


def slow_grouping(
    weights: Weights, maps: list[Tensor], rank: int | None, upsample_cfg
) -> list[Tensor]:
    levels, width = len(maps), maps[0].shape[1] // len(maps)
    batches: list[list[Tensor]] = [[] for _ in maps]
    for image in range(len(maps[0])):
        swapped = []
        for k, level_map in enumerate(maps):
            x = level_map[image]
            matrix = slow_matrix(below(weights, f"matrices.{k}."), x, rank)
            flat = x.reshape(x.shape[0], -1)
            swapped.append((matrix @ flat).reshape(x.shape))
        for level, target in enumerate(maps):
            start = level * width
            groups = [
                slow_resize(
                    swapped[k][start : start + width],
                    k,
                    level,
                    target.shape[2:],
                    upsample_cfg,
                )
                for k in range(levels)
            ]
            batches[level].append(torch.cat(groups))
    return [torch.stack(batch) for batch in batches]


def slow_weight(weights: Weights, x: Tensor) -> Tensor:
    """f_w of one level."""
    hidden = F.conv2d(x, weights["0.conv.weight"], padding=1)
    groups = max(1, hidden.shape[1] // 8)
    while hidden.shape[1] % groups:
        groups -= 1
    affine = weights["0.gn.weight"], weights["0.gn.bias"]
    hidden = F.relu(F.group_norm(hidden, groups, *affine))
    logits = F.conv2d(
        hidden, weights["1.conv.weight"], weights["1.conv.bias"], padding=1
    )
    return 1 / (1 + torch.exp(-logits))


def slow_cascade(
    weights: Weights,
    maps: list[Tensor],
    cascade_times: int,
    rank: int | None = None,
    upsample_cfg=dict(mode="bilinear", align_corners=False),  # noqa: B006
) -> list[Tensor]:
    stages, x = [], maps
    for t in range(cascade_times):
        x = slow_grouping(below(weights, f"stages.{t}."), x, rank, upsample_cfg)
        stages.append(x)
    if cascade_times == 1:
        return x
    fused = []
    for level in range(len(maps)):
        own = below(weights, f"stage_weights.{level}.")
        fused.append(sum(slow_weight(own, s[level]) * s[level] for s in stages))
    return fused
