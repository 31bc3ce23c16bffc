"""Size ranges, thresholds and rules of the benchmarks.

Ranges are in side pixels, √area, both ends inclusive: a box exactly on an edge counts
in both buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Ranges = Mapping[str, tuple[float, float]]

TINY_PERSON_IOU_THRESHOLDS = (0.25, 0.5, 0.75)
TINY_PERSON_AP_RANGES: Ranges = {
    "all": (1, 1e5),
    "tiny": (1, 20),
    "tiny1": (1, 8),
    "tiny2": (8, 12),
    "tiny3": (12, 20),
    "small": (20, 32),
    "reasonable": (32, 1e5),
}
# The released miss rate starts at 2 pixels where the average precision starts at 1.
TINY_PERSON_MR_RANGES: Ranges = {
    "tiny": (2, 20),
    "tiny1": (2, 8),
    "tiny2": (8, 12),
    "tiny3": (12, 20),
    "small": (20, 32),
    "all": (-1, 1e10),
}

# Wang et al., "Tiny Object Detection in Aerial Images", ICPR 2020, name the ranges very
# tiny [2, 8], tiny [8, 16], small [16, 32] and medium [32, 64]. Their evaluation code
# leaves both outer ends open, so that the few boxes beyond them are counted; so do we.
AI_TOD_RANGES: Ranges = {
    "all": (0, 1e5),
    "very_tiny": (0, 8),
    "tiny": (8, 16),
    "small": (16, 32),
    "medium": (32, 1e5),
}


@dataclass(frozen=True)
class Rules:
    """What the released evaluation does that nobody would decide to do.

    The field names say what happens where they are true.

    Attributes:
        zero_id_is_no_match: a detection matched to the annotation with id 0 counts as
            unmatched, because a match is stored as the id. TinyPerson's ids start at 0.
        iod_from_overlap: the share of a detection that lies in an ignored box (IoD) is
            derived from the overlap o and the annotation's ``area`` as
            o / (1 + o) * (1 + area / detection area). That is right if o is the IoU and
            the area that of the box; for crowd boxes, and for all ignored boxes of the
            miss rate, o is the IoD itself. The miss rate then compares with 0.5 at
            every IoU threshold.
        recall_wraps: where the first ranked detection is already beyond a point of
            false positives per image, the final recall is taken instead of 0.
        miss_rate_reads_ignore_alone: the miss rate does not look at ``iscrowd``, and
            looks at ``ignore`` even with ``use_ignore_attr=False``.
    """

    zero_id_is_no_match: bool
    iod_from_overlap: bool
    recall_wraps: bool
    miss_rate_reads_ignore_alone: bool


RELEASED = Rules(True, True, True, True)
CORRECTED = Rules(False, False, False, False)

# Keyword arguments of evaluate_tiny_person and TinyPersonMetric. AI-TOD is evaluated by
# the plain rules of COCO, with more detections.
AI_TOD = dict(
    metrics=("ap",),
    released=False,
    ignore_uncertain=False,
    use_iod_for_ignore=False,
    use_ignore_attr=False,
    iou_thresholds=tuple(round(0.5 + 0.05 * i, 2) for i in range(10)),
    ap_ranges=AI_TOD_RANGES,
    ap_max_detections=1500,
)
