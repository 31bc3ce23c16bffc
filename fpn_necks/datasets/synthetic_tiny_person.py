"""A seeded synthetic set of tiny people on beaches, with TinyPerson's fields.

For demonstrations, tests and experiments without downloads. A scene is painted in
two steps: the beach with its distractors, shadows and sensor noise (the *background*)
and the people's patches. Every patch is drawn large and scaled down, so it is
anti-aliased, and then placed on whole pixels: the boxes are exactly tight on the
pixels that the person changed.

Of mmdet nothing is used: the files are plain COCO json and images.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .synthetic_drawing import (
    EARTH_POSES,
    SAND_DISTRACTORS,
    SEA_DISTRACTORS,
    SEA_POSES,
    SKY_DISTRACTORS,
    Patch,
    crowd_patch,
    faded,
    large_figure,
    paint_beach,
    paint_board,
    paste,
    person_patch,
    scaled_patch,
    whole_pixels,
)

__all__ = [
    "Person",
    "Scene",
    "SceneSettings",
    "SplitSummary",
    "SyntheticTinyPerson",
    "draw_scene",
    "generate",
]

SEA_PERSON = "sea_person"
EARTH_PERSON = "earth_person"
MERGED_PERSON = "person"

SPLITS = ("train", "val")

_PLACEMENT_TRIES = 40
_DENSE_FACTOR = 3  # a dense image holds so many times the people of a usual one
_DENSE_OVERLAP = 0.35  # largest covered share of a box in a dense image

Box = tuple[int, int, int, int]  # x, y, width, height in whole pixels


# --------------------------------------------------------------------------------------
# What is made: settings, scenes, summaries
# --------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class SplitSummary:
    """Where a split lies and what it holds.

    Args:
        annotation_file: COCO json of the split.
        image_dir: Folder of the split's images.
        images: Number of images.
        dense_images: Number of dense images among them.
        boxes: Number of all boxes.
        ignored: Number of ignore regions among them.
        uncertain: Number of uncertain boxes among them.
        logos: Number of printed people among them.
        boxes_per_category: Number of boxes of each category name.
        size_quantiles: Least, 25 %, 50 %, 75 % and largest size, in pixels, of the
            boxes that are no ignore region; empty without boxes.
    """

    annotation_file: Path
    image_dir: Path
    images: int
    dense_images: int
    boxes: int
    ignored: int
    uncertain: int
    logos: int
    boxes_per_category: dict[str, int] = field(default_factory=dict)
    size_quantiles: tuple[float, ...] = ()

    def __str__(self) -> str:
        sizes = "no boxes"
        if self.size_quantiles:
            least, _, median, _, largest = self.size_quantiles
            sizes = f"{least:.1f} to {largest:.1f} px, median {median:.1f} px"
        return (
            f"{self.images} images ({self.dense_images} dense), {self.boxes} boxes "
            f"({self.ignored} ignore regions, {self.uncertain} uncertain, "
            f"{self.logos} logos), {sizes}"
        )


@dataclass(frozen=True)
class SyntheticTinyPerson:
    """The written set: its folder and the summary of each split."""

    root: Path
    train: SplitSummary
    val: SplitSummary


# --------------------------------------------------------------------------------------
# Checks
# --------------------------------------------------------------------------------------


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


def _check_writing_arguments(
    num_train: int, num_val: int, seed: int, workers: int, image_format: str
) -> None:
    counts = {
        "num_train": num_train,
        "num_val": num_val,
        "seed": seed,
        "workers": workers,
    }
    for name, value in counts.items():
        least = 1 if name.startswith("num") else 0
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if image_format not in ("jpg", "png"):
        raise ValueError(f"image_format must be 'jpg' or 'png', got {image_format!r}")


# --------------------------------------------------------------------------------------
# A scene
# --------------------------------------------------------------------------------------


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


# --------------------------------------------------------------------------------------
# The written set
# --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ImageJob:
    """Everything that a worker needs to draw and write one image."""

    settings: SceneSettings
    seed: tuple[int, int, int]  # the set's seed, the split's and the image's index
    path: Path
    jpeg_quality: int


def _write_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that it is there either completely or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes files for the owner only; give what the umask gives.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _draw_and_write(job: _ImageJob) -> tuple[tuple[Person, ...], bool]:
    """Draws and writes one image; returns its people and whether it is dense."""
    scene = draw_scene(job.settings, job.seed)
    options = (
        [cv2.IMWRITE_JPEG_QUALITY, job.jpeg_quality]
        if job.path.suffix == ".jpg"
        else []
    )
    encoded, content = cv2.imencode(job.path.suffix, scene.image, options)
    if not encoded:
        raise OSError(f"OpenCV could not encode {job.path}")
    _write_bytes(job.path, content.tobytes())
    return scene.people, scene.dense


def _single_thread() -> None:
    # OpenCV's thread pool does not survive a fork.
    cv2.setNumThreads(0)


def _run_jobs(
    jobs: Sequence[_ImageJob], workers: int
) -> Iterator[tuple[tuple[Person, ...], bool]]:
    """Runs the jobs in this process or in `workers` others; results in job order."""
    if workers == 0:
        yield from map(_draw_and_write, jobs)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    with context.Pool(workers, initializer=_single_thread) as pool:
        yield from pool.imap(_draw_and_write, jobs, chunksize=4)


def _categories(merge_classes: bool) -> list[dict]:
    names = [MERGED_PERSON] if merge_classes else [SEA_PERSON, EARTH_PERSON]
    return [
        {"id": number, "name": name, "supercategory": "person"}
        for number, name in enumerate(names, start=1)
    ]


def _annotation(
    person: Person,
    identifier: int,
    image_id: int,
    category_id: int,
    dense: bool,
    ignored_as_crowd: bool,
) -> dict:
    x, y, width, height = person.bbox
    right, bottom = x + width, y + height
    crowd = person.ignore and ignored_as_crowd
    return {
        "id": identifier,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": int(crowd),
        "ignore": person.ignore and not crowd,
        "uncertain": person.uncertain,
        "logo": person.logo,
        "in_dense_image": dense,
        "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
    }


def _summary(
    annotation_file: Path, image_dir: Path, coco: dict, people: Sequence[Person]
) -> SplitSummary:
    sizes = [person.size for person in people if not person.ignore]
    quantiles: tuple[float, ...] = ()
    if sizes:
        quantiles = tuple(float(q) for q in np.quantile(sizes, (0, 0.25, 0.5, 0.75, 1)))
    names = {category["id"]: category["name"] for category in coco["categories"]}
    per_category = dict.fromkeys(names.values(), 0)
    for annotation in coco["annotations"]:
        per_category[names[annotation["category_id"]]] += 1
    return SplitSummary(
        annotation_file=annotation_file,
        image_dir=image_dir,
        images=len(coco["images"]),
        dense_images=sum(image["in_dense_image"] for image in coco["images"]),
        boxes=len(people),
        ignored=sum(person.ignore for person in people),
        uncertain=sum(person.uncertain for person in people),
        logos=sum(person.logo for person in people),
        boxes_per_category=per_category,
        size_quantiles=quantiles,
    )


def _write_split(
    root: Path,
    split: str,
    jobs: Sequence[_ImageJob],
    *,
    merge_classes: bool,
    ignored_as_crowd: bool,
    workers: int,
    progress: bool,
) -> SplitSummary:
    """Writes a split's images and then its json."""
    categories = _categories(merge_classes)
    category_ids = {category["name"]: category["id"] for category in categories}
    settings = jobs[0].settings
    width, height = settings.image_size
    images: list[dict] = []
    annotations: list[dict] = []
    everybody: list[Person] = []
    results = tqdm(
        _run_jobs(jobs, workers),
        desc=f"drawing {split}",
        total=len(jobs),
        unit="image",
        disable=not progress,
    )
    for number, (people, dense) in enumerate(results):
        image_id = number + 1
        images.append(
            {
                "id": image_id,
                "file_name": jobs[number].path.name,
                "width": width,
                "height": height,
                "in_dense_image": dense,
            }
        )
        for person in people:
            everybody.append(person)
            name = MERGED_PERSON if merge_classes else person.category
            annotations.append(
                _annotation(
                    person,
                    # From 1: evaluations take a match with box 0 for no match.
                    len(everybody),
                    image_id,
                    category_ids[name],
                    dense,
                    ignored_as_crowd,
                )
            )
    coco = {
        "info": {
            "description": "synthetic tiny people on beaches",
            "split": split,
            "seed": jobs[0].seed[0],
            "settings": asdict(settings)
            | {"size_range": [float(size) for size in settings.size_range]},
        },
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    annotation_file = root / "annotations" / f"{split}.json"
    _write_bytes(annotation_file, json.dumps(coco).encode())
    return _summary(annotation_file, root / split, coco, everybody)


def _prepare_root(root: Path, overwrite: bool) -> None:
    """Makes the folders; refuses a target that holds anything unless told not to."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"out_dir must be a folder, got the file {root}")
    if root.is_dir() and any(root.iterdir()) and not overwrite:
        raise FileExistsError(
            f"out_dir must be new or empty unless overwrite=True, got {root}, "
            "which holds files"
        )
    for name in (*SPLITS, "annotations"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        # An interrupted run must not leave old boxes beside new images.
        (root / "annotations" / f"{split}.json").unlink(missing_ok=True)


def generate(
    out_dir: str | os.PathLike[str],
    num_train: int = 200,
    num_val: int = 50,
    image_size: tuple[int, int] = (640, 512),
    size_range: tuple[float, float] = (2.0, 32.0),
    people_per_image: tuple[int, int] = (5, 25),
    dense_fraction: float = 0.05,
    ignore_fraction: float = 0.05,
    uncertain_fraction: float = 0.08,
    logo_fraction: float = 0.01,
    distractors_per_image: tuple[int, int] = (4, 14),
    seed: int = 0,
    *,
    merge_classes: bool = False,
    ignored_as_crowd: bool = False,
    image_format: str = "jpg",
    jpeg_quality: int = 95,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> SyntheticTinyPerson:
    """Writes a synthetic tiny-person set as COCO json and images.

    The layout is ``out_dir/{train,val}/*.jpg`` and
    ``out_dir/annotations/{train,val}.json``. The same arguments give the same bytes,
    however many workers draw; train and validation never share a scene.

    Args:
        out_dir: Target folder; made if missing.
        num_train: Number of training images, at least 1.
        num_val: Number of validation images, at least 1.
        image_size: See `SceneSettings`, as the following ones.
        size_range: Smallest and largest person in pixels.
        people_per_image: Fewest and most people of an image that is not dense.
        dense_fraction: Share of dense images.
        ignore_fraction: Share of boxes that are ignore regions.
        uncertain_fraction: Share of boxes that are uncertain people.
        logo_fraction: Share of boxes that are printed people.
        distractors_per_image: Fewest and most things that are no people.
        seed: Seed of the whole set, at least 0.
        merge_classes: Whether to write the one class ``person`` (id 1) in place of
            ``sea_person`` (1) and ``earth_person`` (2).
        ignored_as_crowd: Whether ignore regions are written as ``iscrowd=1`` without
            ``ignore``. mmdet's CocoDataset drops ``ignore`` boxes, which makes them
            background, and COCO's evaluation counts them as people; both honour
            ``iscrowd``.
        image_format: ``"jpg"`` or ``"png"``; only png keeps the pixels exactly.
        jpeg_quality: 1 to 100, for jpg.
        workers: Number of drawing processes; 0 draws in this one.
        overwrite: Whether a target that holds files may be written into. Files of
            the same names are replaced, all others stay.
        progress: Whether to show a progress bar.

    Returns:
        The paths and the counts of each split.

    Raises:
        ValueError: An argument is out of range; the message names it.
        FileExistsError: `out_dir` holds files and `overwrite` is false.
    """
    settings = SceneSettings(
        image_size=image_size,
        size_range=size_range,
        people_per_image=people_per_image,
        dense_fraction=dense_fraction,
        ignore_fraction=ignore_fraction,
        uncertain_fraction=uncertain_fraction,
        logo_fraction=logo_fraction,
        distractors_per_image=distractors_per_image,
    )
    _check_writing_arguments(num_train, num_val, seed, workers, image_format)
    if not 1 <= jpeg_quality <= 100:
        raise ValueError(f"jpeg_quality must lie in [1, 100], got {jpeg_quality}")
    root = Path(out_dir)
    _prepare_root(root, overwrite)
    summaries = {}
    for split_index, (split, count) in enumerate(
        zip(SPLITS, (num_train, num_val), strict=True)
    ):
        jobs = [
            _ImageJob(
                settings,
                (seed, split_index, number),
                root / split / f"{split}_{number + 1:05d}.{image_format}",
                jpeg_quality,
            )
            for number in range(count)
        ]
        summaries[split] = _write_split(
            root,
            split,
            jobs,
            merge_classes=merge_classes,
            ignored_as_crowd=ignored_as_crowd,
            workers=workers,
            progress=progress,
        )
    return SyntheticTinyPerson(root, summaries["train"], summaries["val"])
