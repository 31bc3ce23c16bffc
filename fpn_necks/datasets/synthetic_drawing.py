"""Drawing of beaches, people and distractors for the synthetic tiny-person set.

Figures are painted on a large canvas and scaled down to whole pixels, which makes
them anti-aliased and gives boxes that are exactly tight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_FIGURE_PIXELS = 192  # side of the canvas a figure is drawn on before scaling down
_FAINTEST_ALPHA = 0.15  # fainter edge pixels are cut away, so boxes are not inflated
_LEAST_CHANGE = 6  # grey levels by which a covered pixel differs at the very least

Colour = tuple[int, int, int]  # blue, green, red in 0..255, as OpenCV keeps them
FigurePainter = Callable[[np.ndarray, np.random.Generator], None]


# --------------------------------------------------------------------------------------
# Background: sea, sand, sky, distractors
# --------------------------------------------------------------------------------------


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
    base = np.asarray(_choose(rng, _SAND), np.float32) + rng.uniform(-14, 14)
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


_SAND: tuple[Colour, ...] = (
    (125, 170, 200),
    (150, 190, 212),
    (165, 195, 215),
    (115, 155, 180),
)
_VIVID: tuple[Colour, ...] = (
    (40, 40, 200),
    (200, 90, 30),
    (60, 180, 240),
    (50, 150, 60),
    (150, 60, 160),
    (235, 235, 235),
    (30, 30, 30),
    (60, 200, 220),
    (180, 110, 230),
    (140, 150, 30),
)


def _choose(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _varied(rng: np.random.Generator, colour: Colour, spread: float = 18) -> Colour:
    noisy = np.clip(np.asarray(colour) + rng.uniform(-spread, spread, 3), 0, 255)
    return int(noisy[0]), int(noisy[1]), int(noisy[2])


def _opaque(colour: Colour) -> tuple[int, int, int, int]:
    return (*colour, 255)


def _spot(u: float, v: float) -> tuple[int, int]:
    """Canvas point of the fractions (u, v) of the canvas, each in [0, 1]."""
    return round(u * _FIGURE_PIXELS), round(v * _FIGURE_PIXELS)


def _paint_umbrella(canvas: np.ndarray, rng: np.random.Generator) -> None:
    first, second = _varied(rng, _choose(rng, _VIVID)), _varied(rng, (230, 230, 230))
    for wedge in range(8):
        cv2.ellipse(
            canvas,
            _spot(0.5, 0.5),
            _spot(0.45, 0.45),
            0,
            wedge * 45,
            wedge * 45 + 46,
            _opaque(first if wedge % 2 else second),
            -1,
        )


def _paint_boat(canvas: np.ndarray, rng: np.random.Generator) -> None:
    hull = np.array(
        [_spot(0.02, 0.7), _spot(0.98, 0.7), _spot(0.82, 0.9), _spot(0.16, 0.9)]
    )
    cv2.fillPoly(canvas, [hull], _opaque(_varied(rng, _choose(rng, _VIVID))))
    sail = np.array([_spot(0.45, 0.05), _spot(0.45, 0.65), _spot(0.88, 0.65)])
    cv2.fillPoly(canvas, [sail], _opaque(_varied(rng, (240, 240, 240))))


def _paint_bird(canvas: np.ndarray, rng: np.random.Generator) -> None:
    colour = _opaque(_varied(rng, _choose(rng, ((40, 40, 40), (225, 225, 225)))))
    lift = rng.uniform(0.2, 0.4)
    for tip in (0.03, 0.97):
        cv2.line(canvas, _spot(0.5, 0.55), _spot(tip, lift), colour, 18)


def _paint_rock(canvas: np.ndarray, rng: np.random.Generator) -> None:
    angles = np.linspace(0, 2 * math.pi, 9)[:-1]
    radii = rng.uniform(0.28, 0.47, 8)
    outline = [
        _spot(0.5 + r * math.cos(a), 0.5 + 0.8 * r * math.sin(a))
        for r, a in zip(radii, angles, strict=True)
    ]
    grey = int(rng.integers(60, 130))
    cv2.fillPoly(canvas, [np.array(outline)], _opaque((grey, grey, grey + 8)))
    lit = np.array([_spot(0.35, 0.35), _spot(0.6, 0.3), _spot(0.5, 0.5)])
    cv2.fillPoly(canvas, [lit], _opaque((grey + 45, grey + 45, grey + 50)))


def _paint_towel(canvas: np.ndarray, rng: np.random.Generator) -> None:
    corners = np.array(
        [_spot(0.1, 0.3), _spot(0.85, 0.2), _spot(0.95, 0.65), _spot(0.2, 0.78)]
    )
    cv2.fillPoly(canvas, [corners], _opaque(_varied(rng, _choose(rng, _VIVID))))
    stripe = _opaque(_varied(rng, _choose(rng, _VIVID)))
    cv2.line(canvas, _spot(0.18, 0.5), _spot(0.88, 0.42), stripe, 22)


def _paint_buoy(canvas: np.ndarray, rng: np.random.Generator) -> None:
    colour = _choose(rng, ((20, 110, 250), (20, 220, 250), (30, 30, 220)))
    cv2.circle(canvas, _spot(0.5, 0.5), 80, _opaque(_varied(rng, colour)), -1)


def _paint_foam(canvas: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(6):
        centre = _spot(rng.uniform(0.2, 0.8), rng.uniform(0.4, 0.6))
        cv2.ellipse(canvas, centre, (40, 10), 0, 0, 360, (240, 240, 240, 255), -1)


@dataclass(frozen=True)
class Distractor:
    """A painter and its least and largest size as a share of the largest person."""

    paint: FigurePainter
    least: float
    largest: float


SEA_DISTRACTORS: tuple[Distractor, ...] = (
    Distractor(_paint_boat, 0.5, 1.8),
    Distractor(_paint_bird, 0.15, 0.4),
    Distractor(_paint_rock, 0.3, 1.3),
    Distractor(_paint_buoy, 0.1, 0.3),
    Distractor(_paint_foam, 0.3, 1.2),
)
SKY_DISTRACTORS = (Distractor(_paint_bird, 0.1, 0.4),)
SAND_DISTRACTORS: tuple[Distractor, ...] = (
    Distractor(_paint_umbrella, 0.7, 1.5),
    Distractor(_paint_bird, 0.15, 0.4),
    Distractor(_paint_rock, 0.2, 1.0),
    Distractor(_paint_towel, 0.5, 1.2),
)


# --------------------------------------------------------------------------------------
# People
# --------------------------------------------------------------------------------------

_SKIN: tuple[Colour, ...] = (
    (140, 180, 225),
    (110, 150, 205),
    (80, 115, 170),
    (55, 80, 125),
    (35, 50, 80),
)
_HAIR: tuple[Colour, ...] = ((20, 20, 25), (30, 50, 80), (70, 130, 180), (90, 90, 95))


@dataclass(frozen=True)
class _Dress:
    skin: tuple[int, int, int, int]
    hair: tuple[int, int, int, int]
    upper: tuple[int, int, int, int]
    lower: tuple[int, int, int, int]


def _dress(rng: np.random.Generator) -> _Dress:
    skin = _varied(rng, _choose(rng, _SKIN), 10)
    bare = bool(rng.random() < 0.4)
    upper = skin if bare else _varied(rng, _choose(rng, _VIVID))
    return _Dress(
        skin=_opaque(skin),
        hair=_opaque(_varied(rng, _choose(rng, _HAIR), 10)),
        upper=_opaque(upper),
        lower=_opaque(_varied(rng, _choose(rng, _VIVID))),
    )


def _paint_head(canvas: np.ndarray, u: float, v: float, dress: _Dress) -> None:
    cv2.circle(canvas, _spot(u, v), 17, dress.skin, -1)
    cv2.ellipse(canvas, _spot(u, v - 0.02), (18, 14), 0, 180, 360, dress.hair, -1)


def _paint_standing(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    stride = rng.uniform(0.02, 0.14)
    reach = rng.uniform(0.12, 0.2)
    hand = rng.uniform(0.3, 0.55)
    for side in (-1, 1):
        foot = 0.5 + side * stride
        cv2.line(canvas, _spot(0.5, 0.52), _spot(foot, 0.96), dress.skin, 20)
        wrist = _spot(0.5 + side * reach, hand)
        cv2.line(canvas, _spot(0.5 + side * 0.07, 0.25), wrist, dress.skin, 13)
    cv2.ellipse(canvas, _spot(0.5, 0.36), _spot(0.1, 0.17), 0, 0, 360, dress.upper, -1)
    cv2.ellipse(canvas, _spot(0.5, 0.55), _spot(0.1, 0.09), 0, 0, 360, dress.lower, -1)
    _paint_head(canvas, 0.5, 0.12, dress)


def _paint_sitting(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    knee = rng.uniform(0.6, 0.72)
    cv2.line(canvas, _spot(0.4, 0.8), _spot(knee, 0.55), dress.skin, 24)
    cv2.line(canvas, _spot(knee, 0.55), _spot(0.85, 0.88), dress.skin, 20)
    cv2.line(canvas, _spot(0.38, 0.45), _spot(knee, 0.58), dress.skin, 14)
    cv2.ellipse(
        canvas, _spot(0.36, 0.56), _spot(0.12, 0.22), 10, 0, 360, dress.upper, -1
    )
    cv2.ellipse(
        canvas, _spot(0.38, 0.82), _spot(0.15, 0.09), 0, 0, 360, dress.lower, -1
    )
    _paint_head(canvas, 0.4, 0.24, dress)


def _paint_lying(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    for offset in (-0.04, 0.05):
        cv2.line(canvas, _spot(0.55, 0.5), _spot(0.96, 0.5 + offset), dress.skin, 18)
    elbow = 0.5 + rng.uniform(0.1, 0.2)
    cv2.line(canvas, _spot(0.24, 0.5), _spot(0.36, elbow), dress.skin, 13)
    cv2.ellipse(canvas, _spot(0.35, 0.5), _spot(0.18, 0.1), 0, 0, 360, dress.upper, -1)
    cv2.ellipse(canvas, _spot(0.55, 0.5), _spot(0.09, 0.1), 0, 0, 360, dress.lower, -1)
    cv2.circle(canvas, _spot(0.1, 0.5), 17, dress.skin, -1)
    cv2.ellipse(canvas, _spot(0.08, 0.5), (14, 18), 0, 90, 270, dress.hair, -1)
    if rng.random() < 0.5:
        canvas[:] = canvas[:, ::-1].copy()


def _paint_swimming(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    left, right = rng.uniform(0.35, 0.62, 2)
    cv2.line(canvas, _spot(0.42, 0.62), _spot(0.1, left), dress.skin, 16)
    cv2.line(canvas, _spot(0.58, 0.62), _spot(0.9, right), dress.skin, 16)
    cv2.ellipse(
        canvas, _spot(0.5, 0.66), _spot(0.17, 0.1), 0, 180, 360, dress.upper, -1
    )
    cv2.circle(canvas, _spot(0.5, 0.46), 24, dress.skin, -1)
    cv2.ellipse(canvas, _spot(0.5, 0.43), (25, 20), 0, 180, 360, dress.hair, -1)


def _paint_bathing(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    for side in (-1, 1):
        wrist = _spot(0.5 + side * rng.uniform(0.22, 0.34), rng.uniform(0.2, 0.7))
        cv2.line(canvas, _spot(0.5 + side * 0.1, 0.44), wrist, dress.skin, 15)
    cv2.ellipse(
        canvas, _spot(0.5, 0.78), _spot(0.15, 0.4), 0, 180, 360, dress.upper, -1
    )
    cv2.circle(canvas, _spot(0.5, 0.26), 22, dress.skin, -1)
    cv2.ellipse(canvas, _spot(0.5, 0.23), (23, 18), 0, 180, 360, dress.hair, -1)


EARTH_POSES: tuple[FigurePainter, ...] = (
    _paint_standing,
    _paint_standing,
    _paint_sitting,
    _paint_lying,
)
SEA_POSES: tuple[FigurePainter, ...] = (_paint_swimming, _paint_bathing)


def paint_board(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """A board with a pictogram of a person: TinyPerson's `logo` boxes."""
    ground, print_colour = _varied(rng, (200, 120, 40)), (245, 245, 245, 255)
    cv2.rectangle(canvas, _spot(0.2, 0.05), _spot(0.8, 0.95), _opaque(ground), -1)
    cv2.circle(canvas, _spot(0.5, 0.24), 17, print_colour, -1)
    cv2.line(canvas, _spot(0.5, 0.36), _spot(0.5, 0.6), print_colour, 26)
    for foot in (0.38, 0.62):
        cv2.line(canvas, _spot(0.5, 0.6), _spot(foot, 0.86), print_colour, 14)


# --------------------------------------------------------------------------------------
# Patches: a figure scaled to whole pixels
# --------------------------------------------------------------------------------------


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


def large_figure(paint: FigurePainter, rng: np.random.Generator) -> np.ndarray:
    """Paints a figure and cuts it tight: `(height, width, 4)` uint8 BGRA."""
    canvas = np.zeros((_FIGURE_PIXELS, _FIGURE_PIXELS, 4), np.uint8)
    paint(canvas, rng)
    x, y, width, height = cv2.boundingRect(canvas[..., 3])
    return canvas[y : y + height, x : x + width]


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
    poses: Sequence[FigurePainter],
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
    poses: Sequence[FigurePainter],
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
