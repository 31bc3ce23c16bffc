"""One scene: a beach, its distractors and the people on it, with their boxes.

A scene is painted in two steps: the beach with its distractors, shadows and sensor
noise (the *background*) and the people's patches. Every patch is drawn large and
scaled down, so it is anti-aliased, and then placed on whole pixels: the boxes are
exactly tight on the pixels that the person changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .beach import paint_beach
from .figures import (
    EARTH_POSES,
    SAND_DISTRACTORS,
    SEA_DISTRACTORS,
    SEA_POSES,
    SKY_DISTRACTORS,
    large_figure,
    paint_board,
)
from .patches import (
    Patch,
    crowd_patch,
    faded,
    paste,
    person_patch,
    scaled_patch,
    whole_pixels,
)

SEA_PERSON = "sea_person"
EARTH_PERSON = "earth_person"

_PLACEMENT_TRIES = 40
_DENSE_FACTOR = 3  # a dense image holds so many times the people of a usual one
_DENSE_OVERLAP = 0.35  # largest covered share of a box in a dense image

Box = tuple[int, int, int, int]  # x, y, width, height in whole pixels


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
        dense_fraction: Share of images that are dense: three times the people, with
            slight overlaps, ``in_dense_image`` set on the image and on its boxes.
        ignore_fraction: Share of the boxes that are ignore regions: blurred groups
            that nobody could label one by one.
        uncertain_fraction: Share of the boxes whose person is faded and blurred.
        logo_fraction: Share of the boxes that are printed people on a board.
        distractors_per_image: Fewest and most umbrellas, boats, birds, rocks, towels,
            buoys and patches of foam.

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
        size, sizes = self.image_size, self.size_range
        if len(size) != 2 or min(size) < 64:
            raise ValueError(
                "image_size must be (width, height) of at least 64 pixels each, got "
                f"{size}"
            )
        limit = min(size) / 3
        if len(sizes) != 2 or not 2 <= sizes[0] <= sizes[1] - 1 <= limit - 1:
            raise ValueError(
                "size_range must be (smallest, largest) in pixels with 2 <= smallest, "
                f"smallest + 1 <= largest <= {limit:g} (a third of the image's shorter "
                f"side), got {sizes}"
            )
        for name in ("people_per_image", "distractors_per_image"):
            counts = getattr(self, name)
            if len(counts) != 2 or not 0 <= counts[0] <= counts[1]:
                raise ValueError(
                    f"{name} must be (fewest, most) with 0 <= fewest <= most, got "
                    f"{counts}"
                )
        for name in ("ignore", "uncertain", "logo", "dense"):
            share = getattr(self, f"{name}_fraction")
            if not 0 <= share <= 1:
                raise ValueError(f"{name}_fraction must lie in [0, 1], got {share}")
        special = self.ignore_fraction + self.uncertain_fraction + self.logo_fraction
        if special > 1 + 1e-9:  # 0.6 + 0.3 + 0.1 is a little above 1
            raise ValueError(
                "ignore_fraction + uncertain_fraction + logo_fraction must be at most "
                f"1, got {special:g}"
            )


@dataclass(frozen=True)
class Person:
    """One box of a scene.

    Args:
        bbox: (x, y, width, height) in whole pixels, tight on the changed pixels.
        category: ``"sea_person"`` or ``"earth_person"``.
        ignore: Whether the box is a region of people that nobody labelled singly.
        uncertain: Whether the person is hardly to be recognised.
        logo: Whether it is a printed person.
    """

    bbox: Box
    category: str
    ignore: bool = False
    uncertain: bool = False
    logo: bool = False

    @property
    def size(self) -> float:
        """Square root of the box's area in pixels."""
        return math.sqrt(self.bbox[2] * self.bbox[3])


@dataclass(frozen=True)
class Scene:
    """A drawn image and what is in it.

    Args:
        background: `(height, width, 3)` uint8 BGR image before people were drawn.
        image: The same with people; they differ inside the people's boxes only.
        people: Boxes in drawing order, far to near.
        dense: Whether this is a dense image.
    """

    background: np.ndarray
    image: np.ndarray
    people: tuple[Person, ...]
    dense: bool


@dataclass
class _Placed:
    patch: Patch
    x: int
    y: int
    person: Person
    covered: float = 0.0  # pixels of the box that other boxes lie on

    @property
    def area(self) -> int:
        return self.patch.width * self.patch.height


def _intersection(first: Box, second: Box, margin: int) -> int:
    """Common area of two boxes in pixels, the first one grown by `margin` pixels."""
    width = min(first[0] + first[2] + margin, second[0] + second[2]) - max(
        first[0] - margin, second[0]
    )
    height = min(first[1] + first[3] + margin, second[1] + second[3]) - max(
        first[1] - margin, second[1]
    )
    return max(0, width) * max(0, height)


def _claim_place(placed: list[_Placed], new: _Placed, dense: bool) -> bool:
    """Adds `new` unless it covers others too much; says whether it was added.

    Boxes of usual images keep one pixel apart, those of dense images may lose up to
    about a third of their area to their neighbours together.
    """
    overlaps = [
        _intersection(new.person.bbox, other.person.bbox, 0 if dense else 1)
        for other in placed
    ]
    if not dense and any(overlaps):
        return False
    if sum(overlaps) > _DENSE_OVERLAP * new.area or any(
        other.covered + overlap > _DENSE_OVERLAP * other.area
        for other, overlap in zip(placed, overlaps, strict=True)
    ):
        return False
    for other, overlap in zip(placed, overlaps, strict=True):
        other.covered += overlap
    new.covered = sum(overlaps)
    placed.append(new)
    return True


def _new_patch(
    settings: SceneSettings, at_sea: bool, rng: np.random.Generator
) -> tuple[Patch, dict[str, bool]]:
    """Draws one patch of a random size and kind with its TinyPerson flags."""
    poses = SEA_POSES if at_sea else EARTH_POSES
    smallest, largest = settings.size_range
    size = math.exp(rng.uniform(math.log(smallest), math.log(largest)))
    kind = rng.random()
    if kind < settings.ignore_fraction:
        return crowd_patch(poses, settings.size_range, rng), {"ignore": True}
    kind -= settings.ignore_fraction
    if kind < settings.uncertain_fraction:
        patch = person_patch(poses, size, settings.size_range, rng)
        return faded(patch), {"uncertain": True}
    kind -= settings.uncertain_fraction
    if kind < settings.logo_fraction:
        patch = person_patch((paint_board,), size, settings.size_range, rng)
        return patch, {"logo": True}
    return person_patch(poses, size, settings.size_range, rng), {}


def _place_people(
    settings: SceneSettings,
    shore: np.ndarray,
    horizon: int,
    dense: bool,
    rng: np.random.Generator,
) -> list[_Placed]:
    fewest, most = settings.people_per_image
    wished = int(rng.integers(fewest, most + 1)) * (_DENSE_FACTOR if dense else 1)
    sea_share = float(np.mean(shore[horizon:] < 0))
    width, height = settings.image_size
    placed: list[_Placed] = []
    for _ in range(wished):
        at_sea = bool(rng.random() < sea_share)
        patch, flags = _new_patch(settings, at_sea, rng)
        if horizon + patch.height > height or patch.width > width:
            continue
        category = SEA_PERSON if at_sea else EARTH_PERSON
        for _ in range(_PLACEMENT_TRIES):
            x = int(rng.integers(0, width - patch.width + 1))
            y = int(rng.integers(horizon, height - patch.height + 1))
            foot = shore[y + patch.height - 1, x + patch.width // 2]
            if (foot < 0) != at_sea:
                continue
            person = Person((x, y, patch.width, patch.height), category, **flags)
            if _claim_place(placed, _Placed(patch, x, y, person), dense):
                break
    # Far to near: what stands lower in the image is in front.
    return sorted(placed, key=lambda p: p.y + p.patch.height)


def _add_distractors(
    image: np.ndarray,
    shore: np.ndarray,
    horizon: int,
    settings: SceneSettings,
    rng: np.random.Generator,
) -> None:
    """Paints umbrellas, boats, birds, rocks and more into the background in place."""
    height, width = shore.shape
    fewest, most = settings.distractors_per_image
    for _ in range(int(rng.integers(fewest, most + 1))):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        if y < horizon:
            kinds = SKY_DISTRACTORS
        else:
            kinds = SEA_DISTRACTORS if shore[y, x] < 0 else SAND_DISTRACTORS
        kind = kinds[int(rng.integers(len(kinds)))]
        figure = large_figure(kind.paint, rng)
        size = settings.size_range[1] * rng.uniform(kind.least, kind.largest)
        aspect = figure.shape[1] / figure.shape[0]
        patch = scaled_patch(figure, *whole_pixels(size, aspect, (1.0, math.inf)))
        if x + patch.width <= width and y + patch.height <= height:
            paste(image, patch, x, y)


def _add_shadows(image: np.ndarray, placed: Sequence[_Placed]) -> None:
    """Darkens the ground beside people on land, in place; part of the background."""
    shade = np.zeros(image.shape[:2], np.float32)
    for item in placed:
        clear = not (item.person.uncertain or item.person.ignore)
        if item.person.category == EARTH_PERSON and clear:
            patch = item.patch
            foot = (item.x + patch.width, item.y + patch.height - 1)
            axes = (max(1, patch.width // 2), max(1, patch.height // 8))
            cv2.ellipse(shade, foot, axes, 0, 0, 360, 0.35, -1)
    darker = image * (1 - cv2.blur(shade, (3, 3))[..., None])
    image[:] = np.rint(darker).astype(np.uint8)


def draw_scene(
    settings: SceneSettings, seed: int | Sequence[int] | np.random.SeedSequence
) -> Scene:
    """Draws one scene; the same settings and seed give the same scene.

    Args:
        settings: What the scene looks like.
        seed: Anything that `numpy.random.SeedSequence` takes, or one itself.

    Returns:
        The scene with background, image and boxes.

    Example:
        >>> settings = SceneSettings(image_size=(96, 64), size_range=(4, 12))
        >>> scene = draw_scene(settings, 7)
        >>> scene.image.shape
        (64, 96, 3)
    """
    rng = np.random.default_rng(seed)
    width, height = settings.image_size
    dense = bool(rng.random() < settings.dense_fraction)
    beach, shore, horizon = paint_beach(rng, height, width)
    noise = rng.normal(0, 3, beach.shape).astype(np.float32)
    background = np.clip(np.rint(beach + noise), 0, 255).astype(np.uint8)
    _add_distractors(background, shore, horizon, settings, rng)
    placed = _place_people(settings, shore, horizon, dense, rng)
    _add_shadows(background, placed)
    image = background.copy()
    for item in placed:
        paste(image, item.patch, item.x, item.y)
    return Scene(background, image, tuple(item.person for item in placed), dense)
