"""Fusion factors of a detector on its training set (S-α paper, Sec. 3.2)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from fpn_necks.io import save_figure
from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.layers.arguments import check_choice

from .annotation_boxes import build_dataset, read_boxes
from .level_counts import count_best_levels, count_regress_range_levels
from .positive_anchors import check_assigner, count_positive_anchors
from .ratios import RELEASED_LIMITS, fusion_factors

COUNTS = StatisticFusionFactor.COUNTS


@dataclass
class FusionFactorEstimate:
    """Counts per level and the fusion factors they give.

    Attributes:
        count: what was counted, in words.
        level_names: ``'P2'`` and so on, by stride.
        counts: per level.
        factors: per connection, highest resolution first.
        num_images: images read.
        num_boxes: boxes read.
        notes: what was left out of account, one sentence each.
        warnings: what speaks against these factors, one sentence each.
    """

    count: str
    level_names: list[str]
    counts: list[int]
    factors: list[float]
    num_images: int
    num_boxes: int
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return counts, shares and factors as a text table."""
        total = max(1, sum(self.counts))
        lines = [
            f"{self.count}: {self.num_images} images, {self.num_boxes} boxes",
            f"{'level':>6} {'count':>12} {'share':>8}   fusion factor",
        ]
        levels = zip(self.level_names, self.counts, strict=True)
        for i, (name, count) in enumerate(levels):
            line = f"{name:>6} {count:>12} {count / total:>8.2%}"
            if i < len(self.factors):
                upper = self.level_names[i + 1]
                line += f"   {self.factors[i]:.4f}  ({upper} into {name})"
            lines.append(line)
        return "\n".join(lines + self.notes + [f"warning: {x}" for x in self.warnings])

    def config_fragment(self) -> str:
        """Return the lines of a config that fix these factors."""
        rounded = [round(factor, 4) for factor in self.factors]
        return (
            f"# {self.count}: {dict(zip(self.level_names, self.counts, strict=True))}\n"
            f"model = dict(neck=dict(type='SAlphaFPN', fusion_factor={rounded}))\n"
        )

    def draw(self, path: str | Path) -> None:
        """Write a bar picture of the counts per level."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        bars = axes.bar(self.level_names, self.counts, color="#4477aa")
        axes.bar_label(bars, [f"{count:,}" for count in self.counts], padding=2)
        for i, factor in enumerate(self.factors):
            # On the line of the level names, between the two that it joins.
            axes.annotate(
                f"α {factor:.3f}",
                (i + 0.5, -0.03),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                color="#aa3377",
            )
        axes.margins(y=0.12)
        axes.set_title(f"{self.count} per pyramid level", pad=10)
        axes.set_ylabel("number")
        axes.set_xlabel("pyramid level, and between two of them their fusion factor α")
        save_figure(figure, path, dpi=150)


def estimate_from_config(
    config: Any, count: str = "released", progress: bool = False
) -> FusionFactorEstimate:
    """Estimate the fusion factors of an mmdet config from its training annotations.

    Args:
        config: an mmengine ``Config`` of any detector with a feature pyramid.
        count: ``'released'``, ``'best_anchor'`` (the paper) or ``'positives'``, see
            ``StatisticFusionFactor``.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: the annotation file is missing.
        ValueError: the annotations cannot be read or hold no box, ``count`` is
            unknown, or the detector has no pyramid, neither anchors nor ranges, or for
            ``'positives'`` an assigner that needs more than anchors and boxes.
    """
    check_choice("count", count, COUNTS)
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    model = MODELS.build(config.model)
    num_connections = _count_connections(model)
    find_detector(model)
    return estimate(
        model, build_dataset(config), num_connections, count, progress=progress
    )


def estimate(
    model: Any,
    dataset: Any,
    num_connections: int,
    count: str = "released",
    progress: bool = False,
) -> FusionFactorEstimate:
    """Estimate fusion factors from a built detector and its training set.

    Args:
        model: an mmdet detector, or a wrapper of one; only its head's settings are
            used.
        dataset: its training set.
        num_connections: top-down connections of its neck.
        count: see ``estimate_from_config``.
        progress: show a progress bar.

    Raises:
        ValueError: see ``estimate_from_config``.
    """
    check_choice("count", count, COUNTS)
    model = find_detector(model)
    head = _find_head(model)
    has_anchors = hasattr(head.prior_generator, "base_anchors")
    if count == "positives":
        check_assigner(head)
    divisor = getattr(model.data_preprocessor, "pad_size_divisor", 1)
    annotations = read_boxes(dataset, divisor, progress)
    names = [f"P{_log2(stride)}" for stride in head.prior_generator.strides]
    limits = None if count == "best_anchor" else RELEASED_LIMITS
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not has_anchors:
            label = "Objects (by FCOS regress range)"
            counts = count_regress_range_levels(annotations.boxes, head.regress_ranges)
        elif count == "positives":
            label = "Positive anchors"
            counts = count_positive_anchors(
                tqdm(annotations.boxes, "assigning anchors", disable=not progress),
                annotations.shapes,
                head.prior_generator,
                head.assigner,
                head.train_cfg.get("allowed_border", -1),
            )
        else:
            distinct = count == "released"
            label = "Best anchors" if distinct else "Objects (by best anchor)"
            counts = count_best_levels(
                annotations.boxes, annotations.shapes, head.prior_generator, distinct
            )
        factors = fusion_factors(counts.tolist(), num_connections, limits, names)
    return FusionFactorEstimate(
        count=label,
        level_names=names,
        counts=counts.tolist(),
        factors=factors,
        num_images=len(annotations.boxes),
        num_boxes=annotations.num_boxes,
        notes=list(annotations.notes),
        warnings=[str(warning.message) for warning in caught],
    )


def _count_connections(model: nn.Module) -> int:
    """Return the number of top-down connections of a detector's feature pyramid."""
    for module in model.modules():
        if hasattr(module, "lateral_convs"):
            return len(module.lateral_convs) - 1
    raise ValueError(
        f"{type(model).__name__} has no feature pyramid: no module with lateral_convs"
    )


def find_detector(model: nn.Module) -> nn.Module:
    """Return the detector in a model whose dense head decides an object's level.

    It is the model itself, or what a wrapper holds, such as the student of mmdet's
    semi-supervised ones.

    Raises:
        ValueError: there is none.
    """
    for module in model.modules():
        if _find_head(module) is not None:
            return module
    raise ValueError(
        f"{type(model).__name__} has neither an anchor generator nor FCOS regress "
        "ranges (in rpn_head or bbox_head), so objects have no pyramid level"
    )


def _find_head(detector: nn.Module) -> Any:
    for name in ("rpn_head", "bbox_head"):
        head = getattr(detector, name, None)
        generator = getattr(head, "prior_generator", None)
        if hasattr(generator, "base_anchors") or (
            generator is not None and hasattr(head, "regress_ranges")
        ):
            return head
    return None


def _log2(stride: Any) -> int:
    return round(math.log2(stride[0] if isinstance(stride, tuple | list) else stride))
