"""The canvas that figures are painted on, and its colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

FIGURE_PIXELS = 192  # side of the canvas a figure is drawn on before scaling down

Colour = tuple[int, int, int]  # blue, green, red in 0..255, as OpenCV keeps them
FigurePainter = Callable[[np.ndarray, np.random.Generator], None]

VIVID: tuple[Colour, ...] = (
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


def choose(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """Draws one of the colours."""
    return colours[int(rng.integers(len(colours)))]


def varied(rng: np.random.Generator, colour: Colour, spread: float = 18) -> Colour:
    """The colour with up to `spread` grey levels of change in each channel."""
    noisy = np.clip(np.asarray(colour) + rng.uniform(-spread, spread, 3), 0, 255)
    return int(noisy[0]), int(noisy[1]), int(noisy[2])


def opaque(colour: Colour) -> tuple[int, int, int, int]:
    """The colour with full alpha, as canvases hold it."""
    return (*colour, 255)


def spot(u: float, v: float) -> tuple[int, int]:
    """Canvas point of the fractions (u, v) of the canvas, each in [0, 1]."""
    return round(u * FIGURE_PIXELS), round(v * FIGURE_PIXELS)
