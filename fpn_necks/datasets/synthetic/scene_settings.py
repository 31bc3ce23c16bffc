"""What a scene looks like, checked."""

from __future__ import annotations

from dataclasses import dataclass


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
        _check_image_size(self.image_size)
        _check_size_range(self.size_range, self.image_size)
        _check_count_range("people_per_image", self.people_per_image)
        _check_count_range("distractors_per_image", self.distractors_per_image)
        special = 0.0
        for name in ("ignore_fraction", "uncertain_fraction", "logo_fraction"):
            _check_fraction(name, getattr(self, name))
            special += getattr(self, name)
        _check_fraction("dense_fraction", self.dense_fraction)
        if special > 1 + 1e-9:  # 0.6 + 0.3 + 0.1 is a little above 1
            raise ValueError(
                "ignore_fraction + uncertain_fraction + logo_fraction must be at most "
                f"1, got {special:g}"
            )


def _check_image_size(image_size: tuple[int, int]) -> None:
    if len(image_size) != 2 or min(image_size) < 64:
        raise ValueError(
            "image_size must be (width, height) of at least 64 pixels each, "
            f"got {image_size}"
        )


def _check_size_range(
    size_range: tuple[float, float], image_size: tuple[int, int]
) -> None:
    largest = min(image_size) / 3
    if len(size_range) != 2 or not (
        size_range[0] >= 2
        and size_range[1] >= size_range[0] + 1
        and size_range[1] <= largest
    ):
        raise ValueError(
            "size_range must be (smallest, largest) in pixels with 2 <= smallest, "
            f"smallest + 1 <= largest <= {largest:g} (a third of the image's shorter "
            f"side), got {size_range}"
        )


def _check_count_range(name: str, counts: tuple[int, int]) -> None:
    if len(counts) != 2 or not 0 <= counts[0] <= counts[1]:
        raise ValueError(
            f"{name} must be (fewest, most) with 0 <= fewest <= most, got {counts}"
        )


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {fraction}")
