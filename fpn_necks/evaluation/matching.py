"""Greedy matching of detections to boxes, for many settings at once.

COCO's matching walks the detections of an image by falling score; each takes the best
box that is left. Images do not depend on each other, and neither do settings (an IoU
threshold and a size bucket each). So the first detections of all images are matched
together in all settings, then the second ones, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .overlaps import Pairs

# Pairs times settings that are matched at once: about 40 bytes each.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Preferences:
    """What each detection may take, and what it prefers.

    Attributes:
        keys: ``(P, S)`` per pair and setting: -1, the detection may not take the box;
            else the detection takes the pair of its highest key. Within one setting
            keys are unique.
        pair_of_key: the pair that a key stands for.
        fallback: ``(P, S)`` pair that the detection of a pair takes where it may take
            none by its key, or -1; the same for all pairs of a detection. Such a
            box may have been taken before.
        exclusive: ``(G, S)`` a box that can be taken by its key only once.
    """

    keys: np.ndarray
    pair_of_key: np.ndarray
    fallback: np.ndarray | None
    exclusive: np.ndarray


def order_positions(*keys: np.ndarray) -> np.ndarray:
    """Return each element's place when sorted by the last key, then the one before."""
    order = np.lexsort(keys)
    positions = np.empty(len(order), dtype=np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    return positions


def best_per_detection(detections: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return for each pair the highest key among the pairs of its detection.

    Args:
        detections: ``(P,)`` sorted, P at least 1.
        keys: ``(P, S)``.

    Returns:
        ``(P, S)``.
    """
    starts = _starts(detections)
    best = np.maximum.reduceat(keys, starts, axis=0)
    return np.repeat(best, np.diff(starts, append=len(detections)), axis=0)


def chunks(pairs: Pairs, groups: np.ndarray, num_settings: int) -> Iterator[slice]:
    """Cut pairs into pieces of bounded size that do not cut through a group.

    Args:
        pairs: sorted by detection.
        groups: ``(D,)`` group of each detection.
        num_settings: number of columns that the caller needs per pair.
    """
    if not len(pairs):
        return
    limit = max(1, _CHUNK // max(1, num_settings))
    ends = np.append(_starts(groups[pairs.detections])[1:], len(pairs))
    start = 0
    while start < len(pairs):
        fitting = np.searchsorted(ends, start + limit, side="right")
        beyond = np.searchsorted(ends, start, side="right")
        end = int(ends[max(fitting - 1, beyond)])
        yield slice(start, end)
        start = end


def match(
    pairs: Pairs, ranks: np.ndarray, preferences: Preferences, matched: np.ndarray
) -> None:
    """Match the detections of some groups, highest rank first.

    Args:
        pairs: of whole groups, sorted by detection.
        ranks: ``(D,)`` place of each detection within its group.
        preferences: of these pairs.
        matched: ``(S, D)`` int32, gets the index of the box that each detection takes;
            what takes none is left as it is.
    """
    order = np.argsort(ranks[pairs.detections], kind="stable")
    detections, truths = pairs.detections[order], pairs.truths[order]
    keys = preferences.keys[order]
    starts = _starts(detections)
    rank_of_start = ranks[detections[starts]]
    first_of_rank = _starts(rank_of_start)
    free = np.ones_like(preferences.exclusive)
    fallback = preferences.fallback
    if fallback is not None:
        fallback = fallback[order[starts]]
    bounds = np.append(first_of_rank, len(starts)).tolist()
    pair_ends = np.append(starts, len(order))
    for low, high in pairwise(bounds):
        begin, end = int(pair_ends[low]), int(pair_ends[high])
        left = np.where(free[truths[begin:end]], keys[begin:end], -1)
        best = np.maximum.reduceat(left, starts[low:high] - begin, axis=0)
        taken = preferences.pair_of_key[best]  # of key -1 as well, which is not read
        if fallback is not None:
            taken = np.where(best >= 0, taken, fallback[low:high])
            rows, settings = (taken >= 0).nonzero()
        else:
            rows, settings = (best >= 0).nonzero()
        boxes = pairs.truths[taken[rows, settings]]
        matched[settings, detections[starts[low:high]][rows]] = boxes
        free[boxes, settings] &= ~preferences.exclusive[boxes, settings]


def _starts(values: np.ndarray) -> np.ndarray:
    """Return where runs of equal values begin."""
    change = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=change[1:])
    return change.nonzero()[0]
