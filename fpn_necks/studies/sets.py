"""The two data sets of the study: what is read, and that it is the right one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpn_necks.datasets import generate

from .recipe import BATCH_SIZE

Settings = dict[str, Any]

BCCD_SIZE = (320, 240)  # (width, height) in pixels, half of the files'
BCCD_CLASSES = ("RBC", "WBC", "Platelets")
TILES = dict(size=(320, 256), overlap=(48, 48), cut_boxes="ignore")

# What is drawn. The demo, whose recipe was the model for this one, has another seed.
SYNTHETIC_SET: Settings = dict(
    num_train=80,
    num_val=24,
    image_size=(592, 464),
    size_range=(5, 32),
    people_per_image=(17, 51),
    distractors_per_image=(10, 34),
    merge_classes=True,
    seed=7,
)
SYNTHETIC_FOLDER = "synthetic_tiny_person"


@dataclass(frozen=True)
class StudySet:
    """A data set.

    Attributes:
        name: For display.
        num_classes: Of its objects.
        first_level: Level of highest resolution that one-stage detectors need for it.
        train: Name of the split that is trained on.
        test: Name of the split that is tested on, once, at the end.
        metrics: Columns of the report: the log's name and the heading.
    """

    name: str
    num_classes: int
    first_level: int
    train: str
    test: str
    metrics: tuple[tuple[str, str], ...]


def _coco(*names: str) -> tuple[tuple[str, str], ...]:
    headings = dict(mAP="AP", mAP_50="AP50", mAP_75="AP75")
    headings |= dict(mAP_s="APs", mAP_m="APm", mAP_l="APl")
    return tuple((f"coco/bbox_{name}", headings[name]) for name in names)


def _tiny_person(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"tiny_person/{name}", name.replace("_", " ")) for name in names)


SETS = {
    "bccd": StudySet(
        name="BCCD",
        num_classes=3,
        first_level=3,
        train="train",
        test="test",
        metrics=_coco("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"),
    ),
    "synthetic": StudySet(
        name="synthetic tiny people",
        num_classes=1,
        first_level=2,
        train="train",
        test="val",
        metrics=_tiny_person(
            "AP50_tiny",
            "AP50_tiny1",
            "AP50_tiny2",
            "AP50_tiny3",
            "AP50_small",
            "MR50_tiny",
        ),
    ),
}


def data_config(name: str, root: str, test: str | None = None) -> Settings:
    """Return the part of a config that says what is read and how it is scored.

    Args:
        name: A key of `SETS`.
        root: The set's folder.
        test: Split to test on; the set's own by default.
    """
    kind = SETS[name]
    test = test or kind.test
    train_dataset, test_dataset, evaluator = (
        _bccd(root, kind.train, test)
        if name == "bccd"
        else _synthetic(root, kind.train, test)
    )
    # One process reads and computes, so that its processor time is the whole cost.
    workers = dict(num_workers=0, persistent_workers=False)
    return dict(
        train_dataloader=dict(
            batch_size=BATCH_SIZE,
            sampler=dict(type="InfiniteSampler", shuffle=True),
            dataset=train_dataset,
            **workers,
        ),
        test_dataloader=dict(
            batch_size=BATCH_SIZE,
            drop_last=False,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=test_dataset,
            **workers,
        ),
        test_evaluator=evaluator,
    )


def _pipelines(resize: Settings) -> tuple[list[Settings], list[Settings]]:
    load = [dict(type="LoadImageFromFile")]
    boxes = [dict(type="LoadAnnotations", with_bbox=True)]
    train = [
        *load,
        *boxes,
        resize,
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackDetInputs"),
    ]
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return train, [*load, resize, *boxes, dict(type="PackDetInputs", meta_keys=keys)]


def _files(root: str, split: str, pipeline: list[Settings]) -> Settings:
    return dict(
        data_root=f"{root.rstrip('/')}/",
        ann_file=f"annotations/{split}.json",
        data_prefix=dict(img=f"{split}/"),
        pipeline=pipeline,
    )


def _bccd(root: str, train: str, test: str) -> tuple[Settings, Settings, Settings]:
    resize = dict(type="Resize", scale=BCCD_SIZE, keep_ratio=True)
    train_pipeline, test_pipeline = _pipelines(resize)
    shared = dict(type="CocoDataset", metainfo=dict(classes=BCCD_CLASSES))
    test_files = _files(root, test, test_pipeline)
    return (
        dict(
            **shared,
            **_files(root, train, train_pipeline),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
        ),
        dict(**shared, **test_files, test_mode=True),
        dict(
            type="CocoMetric",
            ann_file=test_files["data_root"] + test_files["ann_file"],
            metric="bbox",
            classwise=True,
        ),
    )


def _synthetic(root: str, train: str, test: str) -> tuple[Settings, Settings, Settings]:
    resize = dict(type="Resize", scale_factor=1.0, keep_ratio=True)
    train_pipeline, test_pipeline = _pipelines(resize)
    shared = dict(
        type="TinyPersonDataset", metainfo=dict(classes=("person",)), tiles=TILES
    )
    test_files = _files(root, test, test_pipeline)
    return (
        dict(
            **shared,
            **_files(root, train, train_pipeline),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
        ),
        dict(**shared, **test_files, test_mode=True),
        dict(
            type="TinyPersonMetric",
            ann_file=test_files["data_root"] + test_files["ann_file"],
            tiles=TILES,
            leave_out_dense=True,
        ),
    )


def image_size(name: str) -> tuple[int, int]:
    """Return (height, width) in pixels of what a detector of a set sees."""
    width, height = BCCD_SIZE if name == "bccd" else TILES["size"]
    return height, width


def draw_synthetic_set(folder: Path) -> Path:
    """Draw the synthetic set unless it is there; return its root.

    Args:
        folder: Where the set's own folder is, or is to be.
    """
    root = folder / SYNTHETIC_FOLDER
    # The annotations of the last split are the last file that is written.
    if not (root / "annotations" / "val.json").is_file():
        generate(root, **SYNTHETIC_SET, overwrite=True, progress=False)
    return root


def fingerprint(name: str, root: Path, test: str | None = None) -> dict[str, str]:
    """Return a digest of the annotations per split: whether two runs saw the same set.

    Raises:
        ValueError: If the folder lacks a file, or the classes are not the set's.
    """
    found = {}
    for split in (SETS[name].train, test or SETS[name].test):
        file = root / "annotations" / f"{split}.json"
        if not file.is_file() or not (root / split).is_dir():
            missing = file if not file.is_file() else root / split
            raise ValueError(
                f"--data must be the folder of {SETS[name].name} with train/, val/, "
                f"test/ and annotations/*.json; there is no {missing}"
            )
        content = file.read_bytes()
        if name == "bccd":
            _check_classes(content, file)
        found[split] = hashlib.sha256(content).hexdigest()[:16]
    return found


def _check_classes(content: bytes, file: Path) -> None:
    try:
        categories = json.loads(content)["categories"]
        names = [category["name"] for category in categories]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no COCO json: {error!r}") from None
    if set(names) != set(BCCD_CLASSES):
        raise ValueError(
            f"{file} must have the classes {', '.join(BCCD_CLASSES)}, not "
            f"{', '.join(names) or 'none'}"
        )
