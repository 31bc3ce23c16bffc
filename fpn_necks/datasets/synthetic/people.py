"""People in their poses on land and at sea, and printed ones on a board."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import VIVID, Colour, FigurePainter, choose, opaque, spot, varied

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
    skin = varied(rng, choose(rng, _SKIN), 10)
    bare = bool(rng.random() < 0.4)
    upper = skin if bare else varied(rng, choose(rng, VIVID))
    return _Dress(
        skin=opaque(skin),
        hair=opaque(varied(rng, choose(rng, _HAIR), 10)),
        upper=opaque(upper),
        lower=opaque(varied(rng, choose(rng, VIVID))),
    )


def _paint_head(canvas: np.ndarray, u: float, v: float, dress: _Dress) -> None:
    cv2.circle(canvas, spot(u, v), 17, dress.skin, -1)
    cv2.ellipse(canvas, spot(u, v - 0.02), (18, 14), 0, 180, 360, dress.hair, -1)


def _paint_standing(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    stride = rng.uniform(0.02, 0.14)
    reach = rng.uniform(0.12, 0.2)
    hand = rng.uniform(0.3, 0.55)
    for side in (-1, 1):
        foot = 0.5 + side * stride
        cv2.line(canvas, spot(0.5, 0.52), spot(foot, 0.96), dress.skin, 20)
        wrist = spot(0.5 + side * reach, hand)
        cv2.line(canvas, spot(0.5 + side * 0.07, 0.25), wrist, dress.skin, 13)
    cv2.ellipse(canvas, spot(0.5, 0.36), spot(0.1, 0.17), 0, 0, 360, dress.upper, -1)
    cv2.ellipse(canvas, spot(0.5, 0.55), spot(0.1, 0.09), 0, 0, 360, dress.lower, -1)
    _paint_head(canvas, 0.5, 0.12, dress)


def _paint_sitting(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    knee = rng.uniform(0.6, 0.72)
    cv2.line(canvas, spot(0.4, 0.8), spot(knee, 0.55), dress.skin, 24)
    cv2.line(canvas, spot(knee, 0.55), spot(0.85, 0.88), dress.skin, 20)
    cv2.line(canvas, spot(0.38, 0.45), spot(knee, 0.58), dress.skin, 14)
    cv2.ellipse(canvas, spot(0.36, 0.56), spot(0.12, 0.22), 10, 0, 360, dress.upper, -1)
    cv2.ellipse(canvas, spot(0.38, 0.82), spot(0.15, 0.09), 0, 0, 360, dress.lower, -1)
    _paint_head(canvas, 0.4, 0.24, dress)


def _paint_lying(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    for offset in (-0.04, 0.05):
        cv2.line(canvas, spot(0.55, 0.5), spot(0.96, 0.5 + offset), dress.skin, 18)
    elbow = 0.5 + rng.uniform(0.1, 0.2)
    cv2.line(canvas, spot(0.24, 0.5), spot(0.36, elbow), dress.skin, 13)
    cv2.ellipse(canvas, spot(0.35, 0.5), spot(0.18, 0.1), 0, 0, 360, dress.upper, -1)
    cv2.ellipse(canvas, spot(0.55, 0.5), spot(0.09, 0.1), 0, 0, 360, dress.lower, -1)
    cv2.circle(canvas, spot(0.1, 0.5), 17, dress.skin, -1)
    cv2.ellipse(canvas, spot(0.08, 0.5), (14, 18), 0, 90, 270, dress.hair, -1)
    if rng.random() < 0.5:
        canvas[:] = canvas[:, ::-1].copy()


def _paint_swimming(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    left, right = rng.uniform(0.35, 0.62, 2)
    cv2.line(canvas, spot(0.42, 0.62), spot(0.1, left), dress.skin, 16)
    cv2.line(canvas, spot(0.58, 0.62), spot(0.9, right), dress.skin, 16)
    cv2.ellipse(canvas, spot(0.5, 0.66), spot(0.17, 0.1), 0, 180, 360, dress.upper, -1)
    cv2.circle(canvas, spot(0.5, 0.46), 24, dress.skin, -1)
    cv2.ellipse(canvas, spot(0.5, 0.43), (25, 20), 0, 180, 360, dress.hair, -1)


def _paint_bathing(canvas: np.ndarray, rng: np.random.Generator) -> None:
    dress = _dress(rng)
    for side in (-1, 1):
        wrist = spot(0.5 + side * rng.uniform(0.22, 0.34), rng.uniform(0.2, 0.7))
        cv2.line(canvas, spot(0.5 + side * 0.1, 0.44), wrist, dress.skin, 15)
    cv2.ellipse(canvas, spot(0.5, 0.78), spot(0.15, 0.4), 0, 180, 360, dress.upper, -1)
    cv2.circle(canvas, spot(0.5, 0.26), 22, dress.skin, -1)
    cv2.ellipse(canvas, spot(0.5, 0.23), (23, 18), 0, 180, 360, dress.hair, -1)


EARTH_POSES: tuple[FigurePainter, ...] = (
    _paint_standing,
    _paint_standing,
    _paint_sitting,
    _paint_lying,
)
SEA_POSES: tuple[FigurePainter, ...] = (_paint_swimming, _paint_bathing)


def paint_board(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """A board with a pictogram of a person: TinyPerson's `logo` boxes."""
    ground, print_colour = varied(rng, (200, 120, 40)), (245, 245, 245, 255)
    cv2.rectangle(canvas, spot(0.2, 0.05), spot(0.8, 0.95), opaque(ground), -1)
    cv2.circle(canvas, spot(0.5, 0.24), 17, print_colour, -1)
    cv2.line(canvas, spot(0.5, 0.36), spot(0.5, 0.6), print_colour, 26)
    for foot in (0.38, 0.62):
        cv2.line(canvas, spot(0.5, 0.6), spot(foot, 0.86), print_colour, 14)
