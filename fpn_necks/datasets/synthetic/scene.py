"""One scene: a beach, things on it, and on top people with tight boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fpn_necks.coco_files import PARTS_OF_MERGED_CLASS as CATEGORIES
from fpn_necks.layers.arguments import check_int, check_list, check_number

from . import figures
from .figures import choose

_SAND = ((125, 170, 200), (150, 190, 212), (165, 195, 215), (115, 155, 180))


@dataclass(frozen=True)
class SceneSettings:
    """What a scene looks like; checked when it is made.

    Args:
        image_size: (width, height) in pixels, each at least 64.
        size_range: Smallest and largest person in pixels, as sqrt(width * height) of
            the box, both ends included. At least 2, and the ends at least 1 apart
            (boxes are whole pixels); at most a third of the image's shorter side.
        people_per_image: Fewest and most people of an image that is not dense. A
            scene without free place holds fewer.
        dense_fraction: Share of images that are dense: three times the people, and
            ``in_dense_image`` set on the image and on its boxes.
        ignore_fraction: Share of the boxes that are ignore regions: blurred groups
            that nobody could label one by one.
        uncertain_fraction: Share of the boxes whose person is faded and blurred.
        logo_fraction: Share of the boxes that are printed people on a board.
        distractors_per_image: Fewest and most umbrellas, boats, birds, rocks, towels
            and buoys.

    Raises:
        ValueError: With the argument's name, its value and what was expected.
    """

    image_size: tuple[int, int] = (640, 512)
    size_range: tuple[float, float] = (2.0, 32.0)
    people_per_image: tuple[int, int] = (5, 25)
    dense_fraction: float = 0.05
    ignore_fraction: float = 0.05
    uncertain_fraction: float = 0.08
    logo_fraction: float = 0.01
    distractors_per_image: tuple[int, int] = (4, 14)

    def __post_init__(self) -> None:
        for side in check_list("image_size", self.image_size, 2):
            check_int("image_size", side, minimum=64)
        least, most = check_list("size_range", self.size_range, 2)
        limit = min(self.image_size) / 3
        if not 2 <= least <= most - 1 <= limit - 1:
            raise ValueError(
                "size_range must be (smallest, largest) with 2 <= smallest <= largest "
                f"- 1 <= {limit - 1:g}, see SceneSettings; got {self.size_range}"
            )
        for name in ("people_per_image", "distractors_per_image"):
            fewest, most = check_list(name, getattr(self, name), 2)
            check_int(name, fewest, minimum=0)
            check_int(name, most, minimum=fewest)
        for name in ("ignore", "uncertain", "logo", "dense"):
            share = getattr(self, f"{name}_fraction")
            check_number(f"{name}_fraction", share, maximum=1)
        special = self.ignore_fraction + self.uncertain_fraction + self.logo_fraction
        # 0.6 + 0.3 + 0.1 is a little above 1.
        check_number("the sum of the fractions of boxes", special, maximum=1 + 1e-9)


@dataclass(frozen=True)
class Person:
    """One box of a scene, see `SceneSettings`.

    Args:
        bbox: (x, y, width, height) in whole pixels, tight on the changed pixels.
        category: ``"sea_person"`` or ``"earth_person"``.
        ignore: A group of people.
        uncertain: A faded person.
        logo: A printed person.
    """

    bbox: tuple[int, int, int, int]
    category: str
    ignore: bool = False
    uncertain: bool = False
    logo: bool = False


@dataclass(frozen=True)
class Scene:
    """A drawn image and what is in it.

    Args:
        background: `(height, width, 3)` uint8 BGR image before people were drawn.
        image: The same with people; they differ inside the people's boxes only.
        people: Boxes in drawing order, far to near.
        dense: Whether it was drawn with many people.
    """

    background: np.ndarray
    image: np.ndarray
    people: tuple[Person, ...]
    dense: bool


def draw_scene(
    settings: SceneSettings, seed: int | Sequence[int] | np.random.SeedSequence
) -> Scene:
    """Draws one scene; the same settings and seed give the same scene.

    Example:
        >>> settings = SceneSettings(image_size=(96, 64), size_range=(4, 12))
        >>> scene = draw_scene(settings, 7)
        >>> scene.image.shape
        (64, 96, 3)
    """
    rng = np.random.default_rng(seed)
    dense = bool(rng.random() < settings.dense_fraction)
    background, shore = _paint_beach(rng, *settings.image_size)
    for _ in range(rng.integers(*settings.distractors_per_image, endpoint=True)):
        y, x = rng.integers(0, shore.shape).tolist()
        things = figures.SEA_THINGS if shore[y, x] < 0 else figures.SAND_THINGS
        size = max(1.0, settings.size_range[1] * 10 ** rng.uniform(-0.8, 0.2))
        painted = figures.paint(choose(rng, things), rng)
        patch = figures.scale(painted, size, size / 2, 2 * size)
        figures.paste(background, patch, x, y)
    image, people = background.copy(), []
    wished = rng.integers(*settings.people_per_image, endpoint=True)
    wished *= 3 if dense else 1
    for person, patch in _place_people(shore, settings, wished, rng):
        people.append(person)
        figures.paste(image, patch, *person.bbox[:2])
    return Scene(background, image, tuple(people), dense)


def _noise(
    rng: np.random.Generator, shape: tuple[int, int], grain: tuple[float, float]
) -> np.ndarray:
    """Smooth noise in about [-1, 1], with a `grain` of (height, width) pixels."""
    cells = [
        math.ceil(side / cell) + 2 for side, cell in zip(shape, grain, strict=True)
    ]
    coarse = rng.uniform(-1, 1, cells).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _paint_beach(
    rng: np.random.Generator, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Paints sea and sand; returns them and the distance to the shore (< 0 at sea)."""
    shape = height, width
    angle = rng.uniform(0, 2 * math.pi)
    rows, columns = np.indices(shape, np.float32)
    shore = (columns - width * rng.uniform(0.4, 0.6)) * math.cos(angle)
    shore += (rows - height * rng.uniform(0.4, 0.6)) * math.sin(angle)
    shore += 0.05 * min(shape) * _noise(rng, shape, (height / 2, width / 3))

    waves = 10 * _noise(rng, shape, (40, 120)) + 9 * _noise(rng, shape, (4, 22))
    waves += 6 * _noise(rng, shape, (2, 6))
    foam = _noise(rng, shape, (5, 34)) > rng.uniform(0.62, 0.8)
    # Shallow water lets the sand shine through.
    shallow = np.exp(np.minimum(shore, 0) / (0.08 * height))[..., None]
    sea = rng.uniform((120, 80, 10), (190, 140, 60)) + shallow * (15, 45, 45)
    sea = np.where(foam[..., None], 0.5 * sea + 120, sea + waves[..., None])

    dunes = 10 * _noise(rng, shape, (50, 70)) + 7 * _noise(rng, shape, (6, 8))
    dunes += rng.normal(0, 6, shape) - 35 * np.exp(-shore.clip(0) / (0.04 * height))
    sand = np.array(choose(rng, _SAND)) + rng.uniform(-14, 14) + dunes[..., None]

    surf = np.exp(-(((shore + 2) / rng.uniform(1.5, 4)) ** 2))
    surf = (surf * (0.6 + 0.4 * _noise(rng, shape, (3, 12)))).clip(0, 1)[..., None]
    beach = np.where(shore[..., None] < 0, sea, sand) * (1 - surf) + 240 * surf
    beach += rng.normal(0, 3, beach.shape)
    return np.rint(beach).clip(0, 255).astype(np.uint8), shore


def _place_people(
    shore: np.ndarray, settings: SceneSettings, wished: int, rng: np.random.Generator
) -> list[tuple[Person, np.ndarray]]:
    """Finds places for people where their boxes do not overlap."""
    sea_share = float(np.mean(shore < 0))
    taken = np.zeros(shore.shape, bool)
    placed = []
    for _ in range(wished):
        at_sea = bool(rng.random() < sea_share)
        patch, flags = _draw_person(settings, at_sea, rng)
        height, width = patch.shape[:2]
        free = np.subtract(shore.shape, (height, width))
        if free.min() < 0:
            continue
        for _ in range(40):  # tries to place it
            y, x = rng.integers(0, free + 1).tolist()
            foot = shore[y + height - 1, x + width // 2]
            place = taken[y : y + height, x : x + width]
            if (foot < 0) == at_sea and not place.any():
                place[:] = True
                category = CATEGORIES[0 if at_sea else 1]
                person = Person((x, y, width, height), category, **flags)
                placed.append((person, patch))
                break
    # Far to near: what stands lower in the image is in front.
    return sorted(placed, key=lambda entry: entry[0].bbox[1] + entry[0].bbox[3])


def _draw_person(
    settings: SceneSettings, at_sea: bool, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, bool]]:
    """Draws one patch of a random size and kind with its TinyPerson flags."""
    poses = figures.SEA_POSES if at_sea else figures.EARTH_POSES
    smallest, largest = settings.size_range
    size = math.exp(rng.uniform(math.log(smallest), math.log(largest)))
    shares = settings.ignore_fraction, settings.uncertain_fraction
    kinds = np.cumsum([*shares, settings.logo_fraction])
    kind = int(np.searchsorted(kinds, rng.random(), side="right"))
    if kind == 0:
        size = largest * rng.uniform(0.7, 1.4)
        crowd = figures.scale(figures.paint_crowd(poses, rng), size, size / 2, 2 * size)
        return figures.fade(crowd), {"ignore": True}
    figure = figures.BOARD if kind == 2 else choose(rng, poses)
    patch = figures.scale(figures.paint(figure, rng), size, smallest, largest)
    if kind == 1:
        return figures.fade(patch), {"uncertain": True}
    return patch, {"logo": True} if kind == 2 else {}
