"""People and things on a beach: painted large, scaled down to whole pixels.

A figure is some strokes of a round brush: a row has the part that gives the colour, two
points (x, y) and the brush's width, in fractions of a square canvas. The second point
(a hand, a foot, a knee) moves a little from one figure to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

Figure = tuple[tuple[str, float, float, float, float, float], ...]

_CANVAS = 192  # pixels along a side
_FAINTEST = 0.15  # fainter edge pixels are cut away, so boxes are not inflated
_LEAST_CHANGE = 6  # grey levels by which a covered pixel differs at the very least

# Blue, green, red, as OpenCV keeps them. Things share the colours of people, so that
# nobody is found by colour alone.
_VIVID = (
    *((40, 40, 200), (200, 90, 30), (60, 180, 240), (50, 150, 60), (150, 60, 160)),
    *((235, 235, 235), (30, 30, 30), (60, 200, 220), (180, 110, 230), (140, 150, 30)),
)
_SKIN = ((140, 180, 225), (110, 150, 205), (80, 115, 170), (55, 80, 125), (35, 50, 80))
_COLOURS = {
    "skin": _SKIN,
    "hair": ((20, 20, 25), (30, 50, 80), (70, 130, 180), (90, 90, 95)),
    "shirt": _VIVID,
    "trunks": _VIVID,
    "thing": _VIVID,
    "trim": (*_VIVID, *_SKIN),
    "stone": (*_SKIN[2:], (70, 70, 75), (120, 120, 125)),
    "feather": ((40, 40, 40), (225, 225, 225)),
    "white": ((235, 235, 235),),
}

_STANDING = (
    ("skin", 0.48, 0.52, 0.42, 0.92, 0.10),
    ("skin", 0.52, 0.52, 0.58, 0.92, 0.10),
    ("skin", 0.43, 0.25, 0.33, 0.45, 0.07),
    ("skin", 0.57, 0.25, 0.67, 0.45, 0.07),
    ("shirt", 0.50, 0.28, 0.50, 0.45, 0.19),
    ("trunks", 0.50, 0.54, 0.50, 0.56, 0.19),
    ("skin", 0.50, 0.12, 0.50, 0.12, 0.17),
    ("hair", 0.46, 0.05, 0.54, 0.05, 0.08),
)
_LYING = tuple((part, y1, x1, y2, x2, w) for part, x1, y1, x2, y2, w in _STANDING)
_SWIMMING = (
    ("skin", 0.42, 0.62, 0.12, 0.50, 0.08),
    ("skin", 0.58, 0.62, 0.88, 0.50, 0.08),
    ("shirt", 0.40, 0.62, 0.60, 0.62, 0.12),
    ("skin", 0.50, 0.46, 0.50, 0.46, 0.24),
    ("hair", 0.44, 0.37, 0.56, 0.37, 0.12),
)
_BATHING = (*_STANDING[2:5], *_STANDING[6:])  # what is above the water
EARTH_POSES: Sequence[Figure] = (_STANDING, _STANDING, _LYING)
SEA_POSES: Sequence[Figure] = (_SWIMMING, _BATHING)
# A board with a pictogram of a person: TinyPerson's `logo` boxes.
BOARD: Figure = (
    ("thing", 0.50, 0.35, 0.50, 0.65, 0.60),
    ("white", 0.50, 0.24, 0.50, 0.24, 0.18),
    ("white", 0.50, 0.42, 0.50, 0.58, 0.16),
    ("white", 0.50, 0.60, 0.50, 0.84, 0.10),
)
_BOAT = (
    ("thing", 0.15, 0.80, 0.85, 0.80, 0.20),
    ("white", 0.50, 0.65, 0.50, 0.10, 0.12),
    ("white", 0.60, 0.60, 0.58, 0.40, 0.20),
)
_BIRD = (
    ("feather", 0.50, 0.55, 0.05, 0.30, 0.10),
    ("feather", 0.50, 0.55, 0.95, 0.30, 0.10),
)
_ROCK = (
    ("stone", 0.30, 0.55, 0.65, 0.50, 0.50),
    ("stone", 0.50, 0.65, 0.75, 0.60, 0.40),
)
_BUOY = (("thing", 0.50, 0.50, 0.50, 0.50, 0.80), ("trim", 0.35, 0.50, 0.65, 0.50, 0.2))
_UMBRELLA = (
    ("thing", 0.50, 0.50, 0.50, 0.50, 0.90),
    ("trim", 0.20, 0.20, 0.80, 0.80, 0.20),
    ("trim", 0.80, 0.20, 0.20, 0.80, 0.20),
)
_TOWEL = (
    ("thing", 0.20, 0.55, 0.85, 0.45, 0.40),
    ("trim", 0.18, 0.55, 0.88, 0.45, 0.12),
)
SEA_THINGS: Sequence[Figure] = (_BOAT, _BIRD, _ROCK, _BUOY)
SAND_THINGS: Sequence[Figure] = (_UMBRELLA, _BIRD, _ROCK, _TOWEL)


def choose(rng: np.random.Generator, items: Sequence) -> Any:
    """Draws one of the items."""
    return items[int(rng.integers(len(items)))]


def paint(figure: Figure, rng: np.random.Generator) -> np.ndarray:
    """Paints a figure in colours of its own: `(height, width, 4)` uint8 BGRA, tight."""
    colours = {
        part: np.clip(choose(rng, _COLOURS[part]) + rng.uniform(-15, 15, 3), 0, 255)
        for part in dict.fromkeys(stroke[0] for stroke in figure)
    }
    if "shirt" in colours and rng.random() < 0.4:
        colours["shirt"] = colours["skin"]
    canvas = np.zeros((_CANVAS, _CANVAS, 4), np.uint8)
    for part, x1, y1, x2, y2, width in figure:
        end = np.array((x2, y2)) + rng.uniform(-0.06, 0.06, 2)
        points = np.rint(np.array([(x1, y1), end]) * _CANVAS).astype(int).tolist()
        colour = (*colours[part].tolist(), 255)
        cv2.line(canvas, *points, colour, round(width * _CANVAS))
    return _tight(canvas[:, ::-1] if rng.random() < 0.5 else canvas)


def paint_crowd(poses: Sequence[Figure], rng: np.random.Generator) -> np.ndarray:
    """Paints a heap of three to seven people, like `paint`."""
    heap = np.zeros((2 * _CANVAS, 2 * _CANVAS, 4), np.uint8)
    for _ in range(int(rng.integers(3, 8))):
        member = paint(choose(rng, poses), rng)
        height, width = member.shape[:2]
        x, y = rng.integers(0, 2 * _CANVAS - np.array([width, height]) + 1)
        place = heap[y : y + height, x : x + width]
        np.copyto(place, member, where=member[..., 3:] > 0)
    return _tight(heap)


def _tight(canvas: np.ndarray) -> np.ndarray:
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(canvas[..., 3]))
    return canvas[y : y + height, x : x + width]


def scale(
    painted: np.ndarray, size: float, smallest: float, largest: float
) -> np.ndarray:
    """Scales a painted figure to whole pixels; all four edges stay covered.

    Returns:
        `(height, width, 4)` float32: BGR, and alpha in [0, 1]. Its sqrt(height * width)
        is about `size`, and in a range whose ends must be at least 1 apart.
    """
    aspect = painted.shape[1] / painted.shape[0]
    short = max(1, round(size * math.sqrt(min(aspect, 1 / aspect))))
    # Between these bounds there is a whole number, as `short` is at most `largest`.
    least, most = math.ceil(smallest**2 / short), math.floor(largest**2 / short)
    long = min(max(round(size**2 / short), least), most)
    width, height = (short, long) if aspect < 1 else (long, short)
    # Colours count by how much they cover, so that the canvas's black stays out.
    cover = painted[..., 3:].astype(np.float32) / 255
    weighted = np.concatenate([painted[..., :3] * cover, cover], -1)
    patch = cv2.resize(weighted, (width, height), interpolation=cv2.INTER_AREA)
    patch = patch.reshape(height, width, 4)
    alpha = patch[..., 3]
    patch[..., :3] /= np.maximum(alpha, 1e-6)[..., None]
    # Limbs are a fraction of a pixel wide; without the gain small people fade away.
    alpha[:] = np.clip(1.4 * alpha, 0, 1)
    for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        strongest = int(edge.argmax())
        edge[strongest] = max(edge[strongest], 2 * _FAINTEST)
    alpha[alpha < _FAINTEST] = 0
    return patch


def fade(patch: np.ndarray) -> np.ndarray:
    """Blurs a patch and makes it half transparent; its covered pixels stay the same."""
    blurred = cv2.blur(patch, (3, 3)).reshape(patch.shape)
    alpha = patch[..., 3]
    blurred[..., 3] = np.maximum(0.5 * alpha, _FAINTEST) * (alpha > 0)
    return blurred


def paste(image: np.ndarray, patch: np.ndarray, x: int, y: int) -> None:
    """Blends a patch into a uint8 BGR image in place; covered pixels really change."""
    area = image[y : y + patch.shape[0], x : x + patch.shape[1]]
    patch = patch[: area.shape[0], : area.shape[1]]
    before, alpha = area.astype(np.float32), patch[..., 3:]
    after = np.rint(before * (1 - alpha) + patch[..., :3] * alpha)
    # A person of the sand's colour would otherwise leave parts of its box unchanged.
    alike = (abs(after - before).max(-1) < _LEAST_CHANGE) & (alpha[..., 0] > 0)
    step = np.where(before >= 128, -_LEAST_CHANGE, _LEAST_CHANGE)
    after[alike] = (before + step)[alike]
    area[:] = after.clip(0, 255)
