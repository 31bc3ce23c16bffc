"""The distribution of box sizes of a set: drawing from it and mapping onto it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fpn_necks.coco_files import is_ignored, read_coco
from fpn_necks.layers.arguments import check_int


@dataclass(frozen=True)
class SizeHistogram:
    """A histogram of sizes, sqrt(width * height), whose end bins hold the outliers.

    Attributes:
        edges: (bins + 1,) ascending, in pixels.
        cumulative: (bins,) share of the boxes up to the end of each bin; ends at 1.
    """

    edges: np.ndarray
    cumulative: np.ndarray

    @classmethod
    def of(cls, sizes: np.ndarray, bins: int = 100) -> SizeHistogram:
        """Counts sizes.

        As in the released Scale Match: the two bins at the ends hold 1 / bins of the
        sizes each, the smallest and the largest; equal widths divide what is between.

        Args:
            sizes: (n,) in pixels, positive, n at least 1.
            bins: Number of bins with the two ends, at least 3.

        Raises:
            ValueError: `bins` is below 3.
        """
        check_int("bins", bins, minimum=3)
        ordered = np.sort(np.asarray(sizes, dtype=np.float64))
        count = len(ordered)
        outliers = 2 / bins
        first = int(count * outliers / 2)
        last = max(first + 1, int(count * (1 - outliers / 2)))
        inner, inner_edges = np.histogram(ordered[first:last], bins=bins - 2)
        # numpy widens the range if all sizes are the same.
        inner_edges = inner_edges.clip(ordered[first], ordered[last - 1])
        numbers = np.concatenate([[first], inner, [count - last]])
        edges = np.concatenate([ordered[:1], inner_edges, ordered[-1:]])
        return cls(edges, np.cumsum(numbers) / count)

    def draw(self) -> float:
        """Draws a size with numpy's global generator, which mmengine seeds."""
        mass, position = np.random.random_sample(2)
        # The last bin that holds boxes ends at 1, up to rounding.
        within = min(mass, self.cumulative[-1])
        number = int(np.searchsorted(self.cumulative, within))
        low, high = self.edges[number : number + 2]
        return float(low + (high - low) * position)


def matching_edges(source_sizes: np.ndarray, target: SizeHistogram) -> np.ndarray:
    """Returns the source sizes that have the cumulative mass of the target's edges.

    Linear interpolation between them and ``target.edges`` is the monotone map from the
    source's distribution to the target's.

    Args:
        source_sizes: (n,) in pixels, positive, n at least 1.
        target: What to map onto.

    Returns:
        (bins + 1,) ascending.
    """
    ordered = np.sort(source_sizes)
    places = (target.cumulative * len(ordered)).astype(np.int64)
    inner = ordered[places.clip(max=len(ordered) - 1)]
    inner[-1] = ordered[-1]
    return np.concatenate([ordered[:1], inner])


def annotated_sizes(paths: str | Sequence[str]) -> np.ndarray:
    """Returns the sizes of all boxes of annotation files that are not ignored.

    A file is read once per process.

    Returns:
        (n,) float64, sqrt(width * height) in pixels, positive.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is no COCO file, or no box is left.
    """
    paths = [paths] if isinstance(paths, str) else paths
    sizes = np.concatenate([np.zeros(0), *map(_sizes_of_file, paths)])
    if len(sizes) == 0:
        raise ValueError(f"no box that is not ignored in {', '.join(paths)}")
    return sizes


@functools.lru_cache(maxsize=8)
def _sizes_of_file(path: str) -> np.ndarray:
    boxes = np.array(
        [a["bbox"][2:] for a in read_coco(path)["annotations"] if not is_ignored(a)],
        dtype=np.float64,
    ).reshape(-1, 2)
    return np.sqrt(boxes[(boxes > 0).all(1)].prod(1))
