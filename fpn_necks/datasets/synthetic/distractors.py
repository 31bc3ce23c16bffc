"""Things on a beach that are no people: umbrellas, boats, birds, rocks and more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import VIVID, FigurePainter, choose, opaque, spot, varied


def _paint_umbrella(canvas: np.ndarray, rng: np.random.Generator) -> None:
    first, second = varied(rng, choose(rng, VIVID)), varied(rng, (230, 230, 230))
    for wedge in range(8):
        cv2.ellipse(
            canvas,
            spot(0.5, 0.5),
            spot(0.45, 0.45),
            0,
            wedge * 45,
            wedge * 45 + 46,
            opaque(first if wedge % 2 else second),
            -1,
        )


def _paint_boat(canvas: np.ndarray, rng: np.random.Generator) -> None:
    hull = np.array(
        [spot(0.02, 0.7), spot(0.98, 0.7), spot(0.82, 0.9), spot(0.16, 0.9)]
    )
    cv2.fillPoly(canvas, [hull], opaque(varied(rng, choose(rng, VIVID))))
    sail = np.array([spot(0.45, 0.05), spot(0.45, 0.65), spot(0.88, 0.65)])
    cv2.fillPoly(canvas, [sail], opaque(varied(rng, (240, 240, 240))))


def _paint_bird(canvas: np.ndarray, rng: np.random.Generator) -> None:
    colour = opaque(varied(rng, choose(rng, ((40, 40, 40), (225, 225, 225)))))
    lift = rng.uniform(0.2, 0.4)
    for tip in (0.03, 0.97):
        cv2.line(canvas, spot(0.5, 0.55), spot(tip, lift), colour, 18)


def _paint_rock(canvas: np.ndarray, rng: np.random.Generator) -> None:
    angles = np.linspace(0, 2 * math.pi, 9)[:-1]
    radii = rng.uniform(0.28, 0.47, 8)
    outline = [
        spot(0.5 + r * math.cos(a), 0.5 + 0.8 * r * math.sin(a))
        for r, a in zip(radii, angles, strict=True)
    ]
    grey = int(rng.integers(60, 130))
    cv2.fillPoly(canvas, [np.array(outline)], opaque((grey, grey, grey + 8)))
    lit = np.array([spot(0.35, 0.35), spot(0.6, 0.3), spot(0.5, 0.5)])
    cv2.fillPoly(canvas, [lit], opaque((grey + 45, grey + 45, grey + 50)))


def _paint_towel(canvas: np.ndarray, rng: np.random.Generator) -> None:
    corners = np.array(
        [spot(0.1, 0.3), spot(0.85, 0.2), spot(0.95, 0.65), spot(0.2, 0.78)]
    )
    cv2.fillPoly(canvas, [corners], opaque(varied(rng, choose(rng, VIVID))))
    stripe = opaque(varied(rng, choose(rng, VIVID)))
    cv2.line(canvas, spot(0.18, 0.5), spot(0.88, 0.42), stripe, 22)


def _paint_buoy(canvas: np.ndarray, rng: np.random.Generator) -> None:
    colour = choose(rng, ((20, 110, 250), (20, 220, 250), (30, 30, 220)))
    cv2.circle(canvas, spot(0.5, 0.5), 80, opaque(varied(rng, colour)), -1)


def _paint_foam(canvas: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(6):
        centre = spot(rng.uniform(0.2, 0.8), rng.uniform(0.4, 0.6))
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
