"""People and things on a beach, each drawn on a large BGRA canvas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

FIGURE_PIXELS = 192  # side of the canvas a figure is drawn on before scaling down

Colour = tuple[int, int, int]  # blue, green, red in 0..255, as OpenCV keeps them
_SKIN = ((140, 180, 225), (110, 150, 205), (80, 115, 170), (55, 80, 125), (35, 50, 80))
_HAIR = ((20, 20, 25), (30, 50, 80), (70, 130, 180), (90, 90, 95))
_WHITE = (240, 240, 240)
_PRINT = (245, 245, 245)
_VIVID = (
    *((40, 40, 200), (200, 90, 30), (60, 180, 240), (50, 150, 60), (150, 60, 160)),
    *((235, 235, 235), (30, 30, 30), (60, 200, 220), (180, 110, 230), (140, 150, 30)),
)


def choose(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """Draws one of the colours."""
    return colours[int(rng.integers(len(colours)))]


class Canvas:
    """Shapes by fractions of the canvas, each in [0, 1], and colours of a generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.pixels = np.zeros((FIGURE_PIXELS, FIGURE_PIXELS, 4), np.uint8)

    def varied(self, colour: Colour, spread: float = 18) -> Colour:
        """The colour with up to `spread` grey levels of change in each channel."""
        noise = self.rng.uniform(-spread, spread, 3)
        return tuple(map(int, np.clip(np.asarray(colour) + noise, 0, 255)))

    def vivid(self) -> Colour:
        """A bright colour."""
        return self.varied(choose(self.rng, _VIVID))

    def line(self, start: tuple, end: tuple, colour: Colour, width: int) -> None:
        """Paints a line of `width` pixels."""
        cv2.line(self.pixels, _spot(*start), _spot(*end), (*colour, 255), width)

    def disc(self, centre: tuple, radius: int, colour: Colour) -> None:
        """Paints a disc; its radius is in pixels."""
        cv2.circle(self.pixels, _spot(*centre), radius, (*colour, 255), -1)

    def oval(
        self,
        centre: tuple,
        axes: tuple,
        colour: Colour,
        arc: tuple[int, int] = (0, 360),
        turned: int = 0,
    ) -> None:
        """Paints an ellipse or a part; whole numbers as axes are pixels."""
        if isinstance(axes[0], float):
            axes = _spot(*axes)
        place = _spot(*centre)
        cv2.ellipse(self.pixels, place, axes, turned, *arc, (*colour, 255), -1)

    def polygon(self, points: Sequence[tuple], colour: Colour) -> None:
        """Paints a polygon."""
        corners = np.array([_spot(*point) for point in points])
        cv2.fillPoly(self.pixels, [corners], (*colour, 255))


def _spot(u: float, v: float) -> tuple[int, int]:
    return round(u * FIGURE_PIXELS), round(v * FIGURE_PIXELS)


Painter = Callable[[Canvas], None]


def large_figure(paint: Painter, rng: np.random.Generator) -> np.ndarray:
    """Paints a figure and cuts it tight: `(height, width, 4)` uint8 BGRA."""
    canvas = Canvas(rng)
    paint(canvas)
    x, y, width, height = cv2.boundingRect(canvas.pixels[..., 3])
    return canvas.pixels[y : y + height, x : x + width]


def _dress(canvas: Canvas) -> tuple[Colour, Colour, Colour, Colour]:
    """Draws the colours of skin, hair, upper and lower part."""
    skin = canvas.varied(choose(canvas.rng, _SKIN), 10)
    bare = bool(canvas.rng.random() < 0.4)
    upper = skin if bare else canvas.vivid()
    return skin, canvas.varied(choose(canvas.rng, _HAIR), 10), upper, canvas.vivid()


def _standing(canvas: Canvas) -> None:
    skin, hair, upper, lower = _dress(canvas)
    uniform = canvas.rng.uniform
    stride, reach, hand = uniform(0.02, 0.14), uniform(0.12, 0.2), uniform(0.3, 0.55)
    for side in (-1, 1):
        canvas.line((0.5, 0.52), (0.5 + side * stride, 0.96), skin, 20)
        canvas.line((0.5 + side * 0.07, 0.25), (0.5 + side * reach, hand), skin, 13)
    canvas.oval((0.5, 0.36), (0.1, 0.17), upper)
    canvas.oval((0.5, 0.55), (0.1, 0.09), lower)
    canvas.disc((0.5, 0.12), 17, skin)
    canvas.oval((0.5, 0.12 - 0.02), (18, 14), hair, (180, 360))


def _sitting(canvas: Canvas) -> None:
    skin, hair, upper, lower = _dress(canvas)
    knee = canvas.rng.uniform(0.6, 0.72)
    canvas.line((0.4, 0.8), (knee, 0.55), skin, 24)
    canvas.line((knee, 0.55), (0.85, 0.88), skin, 20)
    canvas.line((0.38, 0.45), (knee, 0.58), skin, 14)
    canvas.oval((0.36, 0.56), (0.12, 0.22), upper, turned=10)
    canvas.oval((0.38, 0.82), (0.15, 0.09), lower)
    canvas.disc((0.4, 0.24), 17, skin)
    canvas.oval((0.4, 0.24 - 0.02), (18, 14), hair, (180, 360))


def _lying(canvas: Canvas) -> None:
    skin, hair, upper, lower = _dress(canvas)
    for offset in (-0.04, 0.05):
        canvas.line((0.55, 0.5), (0.96, 0.5 + offset), skin, 18)
    canvas.line((0.24, 0.5), (0.36, 0.5 + canvas.rng.uniform(0.1, 0.2)), skin, 13)
    canvas.oval((0.35, 0.5), (0.18, 0.1), upper)
    canvas.oval((0.55, 0.5), (0.09, 0.1), lower)
    canvas.disc((0.1, 0.5), 17, skin)
    canvas.oval((0.08, 0.5), (14, 18), hair, (90, 270))
    if canvas.rng.random() < 0.5:
        canvas.pixels[:] = canvas.pixels[:, ::-1].copy()


def _swimming(canvas: Canvas) -> None:
    skin, hair, upper, _ = _dress(canvas)
    left, right = canvas.rng.uniform(0.35, 0.62, 2)
    canvas.line((0.42, 0.62), (0.1, left), skin, 16)
    canvas.line((0.58, 0.62), (0.9, right), skin, 16)
    canvas.oval((0.5, 0.66), (0.17, 0.1), upper, (180, 360))
    canvas.disc((0.5, 0.46), 24, skin)
    canvas.oval((0.5, 0.43), (25, 20), hair, (180, 360))


def _bathing(canvas: Canvas) -> None:
    skin, hair, upper, _ = _dress(canvas)
    uniform = canvas.rng.uniform
    for side in (-1, 1):
        wrist = 0.5 + side * uniform(0.22, 0.34), uniform(0.2, 0.7)
        canvas.line((0.5 + side * 0.1, 0.44), wrist, skin, 15)
    canvas.oval((0.5, 0.78), (0.15, 0.4), upper, (180, 360))
    canvas.disc((0.5, 0.26), 22, skin)
    canvas.oval((0.5, 0.23), (23, 18), hair, (180, 360))


EARTH_POSES: tuple[Painter, ...] = (_standing, _standing, _sitting, _lying)
SEA_POSES: tuple[Painter, ...] = (_swimming, _bathing)


def paint_board(canvas: Canvas) -> None:
    """A board with a pictogram of a person: TinyPerson's `logo` boxes."""
    (left, top), (right, bottom) = (0.2, 0.05), (0.8, 0.95)
    corners = (left, top), (right, top), (right, bottom), (left, bottom)
    canvas.polygon(corners, canvas.varied((200, 120, 40)))
    canvas.disc((0.5, 0.24), 17, _PRINT)
    canvas.line((0.5, 0.36), (0.5, 0.6), _PRINT, 26)
    for foot in (0.38, 0.62):
        canvas.line((0.5, 0.6), (foot, 0.86), _PRINT, 14)


def _umbrella(canvas: Canvas) -> None:
    colours = canvas.vivid(), canvas.varied((230, 230, 230))
    for wedge in range(8):
        arc = wedge * 45, wedge * 45 + 46
        canvas.oval((0.5, 0.5), (0.45, 0.45), colours[1 - wedge % 2], arc)


def _boat(canvas: Canvas) -> None:
    hull = (0.02, 0.7), (0.98, 0.7), (0.82, 0.9), (0.16, 0.9)
    canvas.polygon(hull, canvas.vivid())
    canvas.polygon(((0.45, 0.05), (0.45, 0.65), (0.88, 0.65)), canvas.varied(_WHITE))


def _bird(canvas: Canvas) -> None:
    colour = canvas.varied(choose(canvas.rng, ((40, 40, 40), (225, 225, 225))))
    lift = canvas.rng.uniform(0.2, 0.4)
    for tip in (0.03, 0.97):
        canvas.line((0.5, 0.55), (tip, lift), colour, 18)


def _rock(canvas: Canvas) -> None:
    angles = np.linspace(0, 2 * math.pi, 9)[:-1]
    outline = [
        (0.5 + r * math.cos(a), 0.5 + 0.8 * r * math.sin(a))
        for r, a in zip(canvas.rng.uniform(0.28, 0.47, 8), angles, strict=True)
    ]
    grey = int(canvas.rng.integers(60, 130))
    canvas.polygon(outline, (grey, grey, grey + 8))
    lit = (0.35, 0.35), (0.6, 0.3), (0.5, 0.5)
    canvas.polygon(lit, (grey + 45, grey + 45, grey + 50))


def _towel(canvas: Canvas) -> None:
    corners = (0.1, 0.3), (0.85, 0.2), (0.95, 0.65), (0.2, 0.78)
    canvas.polygon(corners, canvas.vivid())
    canvas.line((0.18, 0.5), (0.88, 0.42), canvas.vivid(), 22)


def _buoy(canvas: Canvas) -> None:
    colour = choose(canvas.rng, ((20, 110, 250), (20, 220, 250), (30, 30, 220)))
    canvas.disc((0.5, 0.5), 80, canvas.varied(colour))


def _foam(canvas: Canvas) -> None:
    uniform = canvas.rng.uniform
    for _ in range(6):
        canvas.oval((uniform(0.2, 0.8), uniform(0.4, 0.6)), (40, 10), _WHITE)


@dataclass(frozen=True)
class Distractor:
    """A painter and its least and largest size as a share of the largest person."""

    paint: Painter
    least: float
    largest: float


SEA_DISTRACTORS = (
    Distractor(_boat, 0.5, 1.8),
    Distractor(_bird, 0.15, 0.4),
    Distractor(_rock, 0.3, 1.3),
    Distractor(_buoy, 0.1, 0.3),
    Distractor(_foam, 0.3, 1.2),
)
SKY_DISTRACTORS = (Distractor(_bird, 0.1, 0.4),)
SAND_DISTRACTORS = (
    Distractor(_umbrella, 0.7, 1.5),
    Distractor(_bird, 0.15, 0.4),
    Distractor(_rock, 0.2, 1.0),
    Distractor(_towel, 0.5, 1.2),
)
