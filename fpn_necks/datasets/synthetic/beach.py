"""Empty beaches: sea, sand, sky and the shore line between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from .figures import Colour, choose

_SAND: tuple[Colour, ...] = (
    (125, 170, 200),
    (150, 190, 212),
    (165, 195, 215),
    (115, 155, 180),
)


def _smooth_noise(
    rng: np.random.Generator, height: int, width: int, cell: tuple[float, float]
) -> np.ndarray:
    """Noise in about [-1, 1] whose grain is `cell` = (height, width) pixels."""
    rows = max(2, math.ceil(height / cell[0]) + 1)
    columns = max(2, math.ceil(width / cell[1]) + 1)
    coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _shaded(colour: Sequence[float], light: np.ndarray) -> np.ndarray:
    """A `(height, width, 3)` area of one colour, brightened by `light` grey levels."""
    return np.asarray(colour, np.float32)[None, None] + light[..., None]


def _paint_sea(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    deep = rng.uniform((120, 80, 10), (190, 140, 60))
    swell = 10 * _smooth_noise(rng, height, width, (40, 120))
    waves = 9 * _smooth_noise(rng, height, width, (4, 22))
    ripples = 6 * _smooth_noise(rng, height, width, (2, 6))
    sea = _shaded(deep, swell + waves + ripples)
    crests = _smooth_noise(rng, height, width, (5, 34)) > rng.uniform(0.62, 0.8)
    foam = np.clip(cv2.blur(crests.astype(np.float32), (3, 1)), 0, 1)[..., None]
    return sea * (1 - 0.5 * foam) + 0.5 * foam * 235


def _paint_sand(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    base = np.asarray(choose(rng, _SAND), np.float32) + rng.uniform(-14, 14)
    dunes = 10 * _smooth_noise(rng, height, width, (50, 70))
    prints = 7 * _smooth_noise(rng, height, width, (6, 8))
    grain = rng.normal(0, 6, (height, width)).astype(np.float32)
    return _shaded(base, dunes + prints + grain)


def _paint_sky(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    base = rng.uniform((205, 165, 110), (240, 200, 160))
    paling = np.linspace(-15, 20, height, dtype=np.float32)[:, None]
    clouds = 18 * np.clip(_smooth_noise(rng, height, width, (14, 60)), 0, 1)
    return _shaded(base, paling + clouds)


def _shore_distance(
    rng: np.random.Generator, height: int, width: int, seen_from_land: bool
) -> np.ndarray:
    """Signed distance to the shore line in pixels, `(height, width)`, < 0 at sea."""
    across, down = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    if seen_from_land:
        angle = math.pi / 2 + rng.uniform(-0.15, 0.15)
    else:
        angle = rng.uniform(0, 2 * math.pi)
    x_0 = width * rng.uniform(0.4, 0.6)
    y_0 = height * rng.uniform(0.45, 0.65)
    distance = (across - x_0) * math.cos(angle) + (down - y_0) * math.sin(angle)
    bays = _smooth_noise(rng, height, width, (height / 2, width / 3))
    return distance + 0.05 * min(height, width) * bays


def paint_beach(
    rng: np.random.Generator, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Paints sea, sand and perhaps sky.

    Returns:
        The float32 BGR image, the distance to the shore (< 0 at sea) and the first
        row below the sky.
    """
    seen_from_land = bool(rng.random() < 0.6)
    shore = _shore_distance(rng, height, width, seen_from_land)
    sea = _paint_sea(rng, height, width)
    # Shallow water lets the sand shine through, and the sand is wet at the line.
    shallow = np.exp(np.minimum(shore, 0) / (0.08 * height))[..., None]
    sea = sea + shallow * np.array([15, 45, 45], np.float32)
    sand = _paint_sand(rng, height, width)
    sand = sand - 35 * np.exp(-np.maximum(shore, 0) / (0.04 * height))[..., None]
    image = np.where((shore < 0)[..., None], sea, sand).astype(np.float32)

    surf_width = rng.uniform(1.5, 4)
    surf = np.exp(-(((shore + 2) / surf_width) ** 2))
    surf = surf * (0.6 + 0.4 * _smooth_noise(rng, height, width, (3, 12)))
    surf = np.clip(surf, 0, 1)[..., None]
    image = image * (1 - surf) + 240 * surf

    horizon = 0
    if seen_from_land and rng.random() < 0.5:
        horizon = int(height * rng.uniform(0.08, 0.2))
        image[:horizon] = _paint_sky(rng, horizon, width)
    return image, shore, horizon
