"""Scale Match: whole images scaled so that their boxes are as tiny as another set's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type

from fpn_necks.layers.arguments import check_number

from .size_histogram import SizeHistogram, annotated_sizes, matching_edges

MIN_BOX_SIZE = 2.0
"""Boxes with a side below it after scaling, in pixels, are dropped."""
MAX_DRAWS = 5
_PER_BOX = ("gt_bboxes", "gt_bboxes_labels", "gt_masks", "gt_ignore_flags")


class _MatchSizes(BaseTransform):
    """What both kinds share: scale the image, drop what became too small."""

    def __init__(
        self,
        target_ann_file: str | Sequence[str],
        bins: int = 100,
        scale_range: tuple[float, float] = (0.0, 2.0),
        default_scale: float = 1.0,
        **resize_kwargs: Any,
    ) -> None:
        low, high = scale_range
        if not 0 <= low < high < float("inf"):
            raise ValueError(
                "scale_range must be (low, high) with 0 <= low < high, got "
                f"{tuple(scale_range)}"
            )
        self.scale_range = (float(low), float(high))
        self.default_scale = check_number("default_scale", default_scale, above=0)
        self.resize = Resize(scale=0, **resize_kwargs)
        self.target = SizeHistogram.of(annotated_sizes(target_ann_file), bins)

    @abstractmethod
    def choose_scale(self, size: float) -> float:
        """Return the scale for an image whose boxes have the mean size `size`."""

    @autocast_box_type()
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Scale image and boxes, which must have been loaded."""
        boxes = results["gt_bboxes"].tensor.numpy().astype(np.float64)
        sides = (boxes[:, 2:] - boxes[:, :2]).clip(0)
        learnable = np.ones(len(sides), dtype=bool)
        if results.get("gt_ignore_flags") is not None:
            learnable = ~np.asarray(results["gt_ignore_flags"], dtype=bool)
        sizes = np.sqrt(sides[learnable].prod(1))
        sizes = sizes[sizes > 0]
        scale = self.default_scale
        kept = np.ones(len(sides), dtype=bool)
        if len(sizes):
            matched = self.choose_scale(float(np.exp(np.log(sizes).mean())))
            width, height = self._scaled_size(results, matched)
            ratios = np.array(
                [width / results["img"].shape[1], height / results["img"].shape[0]]
            )
            large_enough = (sides * ratios >= MIN_BOX_SIZE).all(1)
            if (large_enough & learnable).any():
                scale, kept = matched, large_enough
        self.resize.scale = self._scaled_size(results, scale)
        results = self.resize(results)
        if not kept.all():
            for key in _PER_BOX:
                if results.get(key) is not None:
                    results[key] = results[key][kept]
        return results

    @staticmethod
    def _scaled_size(results: dict[str, Any], scale: float) -> tuple[int, int]:
        height, width = results["img"].shape[:2]
        return max(1, round(width * scale)), max(1, round(height * scale))


@TRANSFORMS.register_module()
class ScaleMatch(_MatchSizes):
    """Scale an image so that its boxes get a size drawn from another set's (SM).

    "Scale Match for Tiny Person Detection" (WACV 2020), Section 4.1: draw a size from
    the histogram of the target set and scale the whole image by that size over the
    geometric mean of the image's box sizes, sqrt(width * height). Boxes with a side
    below 2 pixels after it are dropped. Takes the place of ``Resize`` in a pipeline;
    random numbers are numpy's, which mmengine seeds.

    The released pre-training on COCO has ``scale_range=(0.1, 1), default_scale=0.25``.
    Images without a box to learn from, and those whose boxes would all be dropped, get
    `default_scale`; ignored boxes say nothing about the size.

    Args:
        target_ann_file: COCO file, or several, whose sizes are matched. Relative to
            the working directory. Ignored boxes are left out.
        bins: Bins of the histogram, at least 3; the two at the ends hold 1 / bins of
            the boxes each.
        scale_range: Scales are drawn anew until one lies inside, at most 5 times; the
            last one is clipped.
        default_scale: Scale of images without matched boxes.
        **resize_kwargs: Those of mmdet's ``Resize``, for example `interpolation`.

    Raises:
        FileNotFoundError: The annotation file is missing.
        ValueError: An argument is out of range, or the file has no boxes.
    """

    def choose_scale(self, size: float) -> float:
        """Draw scales until one is in range."""
        low, high = self.scale_range
        for _ in range(MAX_DRAWS):
            scale = self.target.draw() / size
            if low < scale < high:
                break
        return min(max(scale, low), high)


@TRANSFORMS.register_module()
class MonotonicScaleMatch(_MatchSizes):
    """Scale an image by the monotone map between two sets' box sizes (MSM).

    "Scale Match for Tiny Person Detection" (WACV 2020), Section 4.2: a size of the
    source set is mapped to the size that has the same share of boxes below it in the
    target set; the map is applied to the geometric mean of the image's box sizes.
    Nothing is drawn. Sizes beyond the source set's are mapped to the target's ends,
    where the released code fails.

    Args:
        source_ann_file: COCO file, or several, of the set that is trained on.
        target_ann_file: See `ScaleMatch`, as the rest.
        **kwargs: `bins`, `scale_range`, `default_scale` and the arguments of mmdet's
            ``Resize``.

    Raises:
        FileNotFoundError: An annotation file is missing.
        ValueError: An argument is out of range, or a file has no boxes.
    """

    def __init__(
        self,
        source_ann_file: str | Sequence[str],
        target_ann_file: str | Sequence[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(target_ann_file, **kwargs)
        self.source_edges = matching_edges(
            annotated_sizes(source_ann_file), self.target
        )

    def map_size(self, size: float) -> float:
        """Return the target's size of the same rank; never falls as `size` grows."""
        return float(np.interp(size, self.source_edges, self.target.edges))

    def choose_scale(self, size: float) -> float:
        """Map the size; the scale is what leads there."""
        low, high = self.scale_range
        return min(max(self.map_size(size) / size, low), high)
