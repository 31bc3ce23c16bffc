"""Where DRFPN samples the level above, and what it makes of it.

As in Fig. 4 and 5 of its paper: the level as a plain pyramid passes it on, the learnt
offsets, the weight ω of each place, and the refined map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fpn_necks.hooks.recording import find_modules, level_number, observe
from fpn_necks.layers import SpatialRefinement, fit_to, resize_to

from .features import channel_unit, reduce_channels
from .figures import HeatMap, HeatRow, choose_levels
from .views import View, run


def collect_sampling(
    model: nn.Module,
    view: View,
    levels: Sequence[str] | None = None,
    channel: int | None = None,
) -> list[HeatRow]:
    """Record what the spatial blocks of a DRFPN do, the finest target first.

    Returns:
        Four rows with a map per block: the source as it is resized to the target, the
        length of the learnt offsets δ with δ as arrows, the learnt weight ω, and what
        the block returns. A row is missing where a config does not learn it.
    """
    missing = "has no spatial refinement (DRFPN's SRB)"
    blocks = find_modules(model, SpatialRefinement, missing)
    unit = channel_unit(channel)
    units = {
        "resized, as FPN adds it": unit,
        "learnt offsets δ": "length in pixels of the input",
        "weight ω of what is sampled": "ω",
        "refined: sampled · ω + resized": unit,
    }
    rows: dict[str, list[HeatMap]] = {label: [] for label in units}

    @torch.no_grad()
    def look(path: str, inputs: tuple, refined: Tensor) -> None:
        block, (low, high) = blocks[path], inputs
        if block.path == "top-down":
            source, target = high, low
            plain = resize_to(high, low, block.upsample_cfg)
        else:
            source, target = low, high
            plain = fit_to(block.downsample(low), high)
        offset, weight = block.offset_and_weight(low, high)
        start, end = (level_number(view.padded, x.shape[-2:]) for x in (source, target))
        place = f"p{end}", 100 * end + start, f"P{start} → P{end}"
        resized, offsets, weights, results = rows.values()
        resized.append(HeatMap(*place, reduce_channels(plain, channel)))
        results.append(HeatMap(*place, reduce_channels(refined, channel)))
        if weight is not None:
            weights.append(HeatMap(*place, weight[0, 0].float().cpu().numpy()))
        if offset is not None:
            pixels = offsets_in_pixels(block, offset, target, view.padded)[0]
            arrows = pixels.float().cpu().numpy()
            offsets.append(HeatMap(*place, np.hypot(*arrows), arrows))

    with observe(blocks, look):
        run(model, view)
    result = []
    for (label, maps), of_row in zip(rows.items(), units.values(), strict=True):
        maps = tuple(sorted(maps, key=lambda x: x.column))
        # The two kinds of feature maps have one scale.
        scale = unit if of_row == unit else label
        result.append(HeatRow(label, of_row, view, maps, scale=scale))
    return choose_levels(result, levels)


@torch.no_grad()
def offsets_in_pixels(
    block: SpatialRefinement, offset: Tensor, target: Tensor, padded: tuple[int, int]
) -> Tensor:
    """Return how far δ moves the sampling points, ``(N, 2, h, w)``, x before y.

    The difference of the points with δ and those with δ = 0, whatever the block's
    ``offset_scale`` and ``base_grid``.

    Args:
        block: whose δ it is.
        offset: δ of ``offset_and_weight``, ``(N, 2, h, w)``.
        target: map of the level that is added to, ``(N, C, h, w)``.
        padded: height and width in pixels of what the network sees.
    """
    moved = block.sampling_grid(offset, target)
    still = block.sampling_grid(torch.zeros_like(offset), target)
    # [-1, 1] is the whole of the map and so of the padded image.
    half = moved.new_tensor([padded[1] / 2, padded[0] / 2])
    return ((moved - still) * half).permute(0, 3, 1, 2)
