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
