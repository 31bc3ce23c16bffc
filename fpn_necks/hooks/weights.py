"""The weights that necks and RoI extractors give to levels, as a pass used them.

What is recorded is the result of the model's own forward: nothing is computed twice, no
statistics of a normalisation are updated, and nothing carries a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fpn_necks.layers import (
    AdaptiveChannelFusion,
    AdaptiveSpatialFusion,
    FusionFactor,
    softmax_over_levels,
)
from fpn_necks.necks.asff import ASFF

from .recording import find_modules, observe

try:
    from fpn_necks.roi_extractors import SoftRoIExtractor
except ImportError:  # mmcv without compiled ops: no model has such an extractor
    SoftRoIExtractor = ()


def stored_factors(model: nn.Module) -> dict[str, Tensor]:
    """Return the α that are parameters or buffers, ``<path>.<connection>`` -> scalar.

    A factor that all connections share is there once, as connection 0.
    """
    return {
        f"{path}.{i}": value
        for path, factor in find_modules(model, FusionFactor).items()
        if hasattr(factor, "alpha")
        for i, value in enumerate(factor.alpha.detach().float())
    }


@contextmanager
def record_attention_factors(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the α of S-α FPN that depend on the image.

    Yields:
        A dict that is filled: ``<path of the factor>.<connection>`` -> ``(N,)``, from
        the first pass inside the block. `stored_factors` returns the others.
    """
    every = find_modules(model, FusionFactor)
    factors = {path: x for path, x in every.items() if not hasattr(x, "alpha")}
    found: dict[str, Tensor] = {}

    @torch.no_grad()
    def look(path: str, inputs: tuple, _output: Any) -> None:
        connection, upper = inputs
        alpha = factors[path].alpha_of(connection, upper.detach())
        found.setdefault(f"{path}.{connection}", alpha.flatten().float())

    with observe(factors, look):
        yield found


@contextmanager
def record_asff_weights(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collect α, β, γ ... of ASFF's Eq. 1.

    Yields:
        A dict that is filled: path of the ASFF -> ``(N, levels, H_l, W_l)`` per fused
        level l, both in the order of its maps, from the first pass inside the block.
    """
    found: dict[str, list[Tensor]] = {}

    def look(key: tuple[str, int], _inputs: tuple, output: Tensor) -> None:
        path, level = key
        maps = found.setdefault(path, [])
        if len(maps) == level:
            maps.append(softmax_over_levels(output.detach()))

    with observe(_asff_scores(model), look):
        yield found


@contextmanager
def record_soft_roi_weights(
    model: nn.Module,
) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Collect the weights of Soft-RoI extractors with ``fusion`` asf or acf.

    Yields:
        A dict that is filled: path of the extractor -> per call its RoIs ``(K, 5)``
        (image index, x1, y1, x2, y2 in pixels of the network's image) and their weights
        ``(K, levels, h, w)`` in (0, 1), as ``SoftRoIExtractor.level_weights`` returns
        them; h = w = 1 for weights that are the same everywhere.
    """
    extractors = soft_roi_extractors(model)
    weights: dict[str, Tensor] = {}
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def keep_weights(path: str, _inputs: tuple, output: Tensor) -> None:
        weights[path] = torch.sigmoid(output.detach())

    def keep_rois(path: str, inputs: tuple, _output: Tensor) -> None:
        extractor, rois = extractors[path], inputs[1].detach()
        used = weights.pop(path).float()
        if isinstance(extractor.fusion, AdaptiveChannelFusion):
            used = used.view(len(rois), extractor.num_inputs, -1).mean(2)
            used = used[..., None, None]
        found.setdefault(path, []).append((rois.float(), used))

    convs = {path: extractor.fusion.weigh for path, extractor in extractors.items()}
    with observe(convs, keep_weights), observe(extractors, keep_rois):
        yield found


def soft_roi_extractors(model: nn.Module) -> dict[str, SoftRoIExtractor]:
    """Return the Soft-RoI extractors that weigh levels, by their path."""
    return {
        path: extractor
        for path, extractor in find_modules(model, SoftRoIExtractor).items()
        if isinstance(extractor.fusion, AdaptiveSpatialFusion | AdaptiveChannelFusion)
    }


def has_weights(model: nn.Module) -> bool:
    """Whether a model has anything that this module records."""
    factors = find_modules(model, FusionFactor)
    return bool(factors or _asff_scores(model) or soft_roi_extractors(model))


def _asff_scores(model: nn.Module) -> dict[tuple[str, int], nn.Module]:
    return {
        (path, level): fusion.scores
        for path, asff in find_modules(model, ASFF).items()
        for level, fusion in enumerate(asff.fusions)
        if fusion.fusion == "asff"
    }
