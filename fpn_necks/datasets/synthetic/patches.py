"""Patches: figures scaled to whole pixels.

Figures are painted on a large canvas and scaled down to whole pixels, which makes
them anti-aliased and gives boxes that are exactly tight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .figures import Painter, large_figure

_FAINTEST_ALPHA = 0.15  # fainter edge pixels are cut away, so boxes are not inflated
_LEAST_CHANGE = 6  # grey levels by which a covered pixel differs at the very least


@dataclass(frozen=True)
class Patch:
    """`colour` `(height, width, 3)` float32 BGR and `alpha` `(height, width)`."""

    colour: np.ndarray
    alpha: np.ndarray

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.alpha.shape[1]

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.alpha.shape[0]


def whole_pixels(
    size: float, aspect: float, size_range: tuple[float, float]
) -> tuple[int, int]:
    """Whole (width, height) nearest to a size and width / height, inside the range."""
    width, height = size * math.sqrt(aspect), size / math.sqrt(aspect)
    best, best_error = None, math.inf
    for w in range(max(1, int(width) - 1), int(width) + 4):
        for h in range(max(1, int(height) - 1), int(height) + 4):
            if not size_range[0] <= math.sqrt(w * h) <= size_range[1]:
                continue
            error = abs(math.log(w / width)) + abs(math.log(h / height))
            if error < best_error:
                best, best_error = (w, h), error
    if best is None:
        # A narrow range may lie between the products of two whole numbers near the
        # wished shape; one pixel wide or high, some product always fits.
        length = max(1, math.ceil(size_range[0] ** 2))
        best = (1, length) if aspect < 1 else (length, 1)
    return best


def scaled_patch(figure: np.ndarray, width: int, height: int) -> Patch:
    """Scales a BGRA figure to `width` x `height` pixels; all four edges are covered."""
    alpha = figure[..., 3].astype(np.float32) / 255
    weighted = figure[..., :3].astype(np.float32) * alpha[..., None]
    alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(weighted, (width, height), interpolation=cv2.INTER_AREA)
    alpha = alpha.reshape(height, width)
    weighted = weighted.reshape(height, width, 3)
    colour = weighted / np.maximum(alpha, 1e-6)[..., None]
    # Limbs are a fraction of a pixel wide; without the gain small people fade away.
    alpha = np.clip(1.4 * alpha, 0, 1)
    for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        strongest = int(edge.argmax())
        edge[strongest] = max(edge[strongest], 2 * _FAINTEST_ALPHA)
    alpha[alpha < _FAINTEST_ALPHA] = 0
    return Patch(colour, alpha)


def person_patch(
    poses: Sequence[Painter],
    size: float,
    size_range: tuple[float, float],
    rng: np.random.Generator,
) -> Patch:
    """Draws a person of `size` pixels in one of the poses."""
    paint = poses[int(rng.integers(len(poses)))]
    figure = large_figure(paint, rng)
    aspect = figure.shape[1] / figure.shape[0]
    return scaled_patch(figure, *whole_pixels(size, aspect, size_range))


def faded(patch: Patch) -> Patch:
    """Blurs a patch and makes it half transparent; its covered pixels stay the same."""
    colour = cv2.blur(patch.colour, (3, 3)).reshape(patch.colour.shape)
    alpha = np.where(patch.alpha > 0, np.maximum(0.5 * patch.alpha, _FAINTEST_ALPHA), 0)
    return Patch(colour, alpha.astype(np.float32))


def crowd_patch(
    poses: Sequence[Painter],
    size_range: tuple[float, float],
    rng: np.random.Generator,
) -> Patch:
    """A blurred heap of three to seven people in one patch, cut tight."""
    smallest, largest = size_range
    size = min(largest, max(smallest, 0.35 * largest))
    members = [
        person_patch(poses, size, size_range, rng)
        for _ in range(int(rng.integers(3, 8)))
    ]
    side = round(3 * size) + max(max(m.width, m.height) for m in members)
    colour = np.zeros((side, side, 3), np.float32)
    alpha = np.zeros((side, side), np.float32)
    for member in members:
        x = int(rng.integers(0, side - member.width + 1))
        y = int(rng.integers(0, side - member.height + 1))
        rows, columns = slice(y, y + member.height), slice(x, x + member.width)
        share = member.alpha[..., None]
        colour[rows, columns] = colour[rows, columns] * (1 - share) + (
            member.colour * share
        )
        alpha[rows, columns] = np.maximum(alpha[rows, columns], member.alpha)
    x, y, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    rows, columns = slice(y, y + height), slice(x, x + width)
    return faded(Patch(colour[rows, columns], alpha[rows, columns]))


def paste(image: np.ndarray, patch: Patch, x: int, y: int) -> None:
    """Blends a patch into a uint8 BGR image in place; covered pixels really change."""
    area = image[y : y + patch.height, x : x + patch.width]
    share = patch.alpha[..., None]
    before = area.astype(np.int16)
    after = np.clip(np.rint(before * (1 - share) + patch.colour * share), 0, 255)
    after = after.astype(np.int16)
    # A person of the sand's colour would otherwise leave parts of its box unchanged.
    alike = (np.abs(after - before).max(-1) < _LEAST_CHANGE) & (patch.alpha > 0)
    step = np.where(before >= 128, -_LEAST_CHANGE, _LEAST_CHANGE)
    after[alike] = (before + step)[alike]
    area[:] = after.astype(np.uint8)
