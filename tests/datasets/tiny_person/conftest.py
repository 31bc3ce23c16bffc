"""A drawn set with large enough images to cut, and a tiny COCO dict made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import pytest
from pycocotools.mask import encode

from fpn_necks.datasets import SyntheticTinyPerson, generate


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> SyntheticTinyPerson:
    """Seven training images of 320x240 with every kind of box, two of them dense."""
    made = generate(
        tmp_path_factory.mktemp("drawn") / "set",
        num_train=7,
        num_val=3,
        image_size=(320, 240),
        people_per_image=(6, 12),
        ignore_fraction=0.2,
        uncertain_fraction=0.2,
        logo_fraction=0.1,
        dense_fraction=0.3,
        image_format="png",
        seed=4,
        progress=False,
    )
    assert 0 < made.train.dense_images < 7
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for every image that is decoded."""
    calls: list[None] = []
    original = mmcv.imfrombytes
    monkeypatch.setattr(
        mmcv, "imfrombytes", lambda *a, **k: calls.append(None) or original(*a, **k)
    )
    return calls


def small_coco() -> dict[str, Any]:
    """One image of 100x80 with a box of each kind; every test may change its copy."""
    boxes = {
        1: dict(bbox=[10, 10, 8, 8]),
        2: dict(bbox=[20, 10, 8, 8], ignore=True),
        3: dict(bbox=[30, 10, 8, 8], uncertain=True),
        4: dict(bbox=[40, 10, 8, 8], logo=True),
        5: dict(bbox=[50, 10, 8, 8], iscrowd=1),
        6: dict(bbox=[60, 10, 0.6, 8]),
        7: dict(bbox=[70, 10, 0, 8]),
        8: dict(bbox=[200, 10, 8, 8]),
        9: dict(bbox=[96, 10, 8, 8]),
        10: dict(bbox=[70, 40, 8, 8], category_id=2),
    }
    return dict(
        images=[dict(id=5, file_name="a.png", width=100, height=80)],
        annotations=[
            dict(id=k, image_id=5, category_id=1, area=64, iscrowd=0) | box
            for k, box in boxes.items()
        ],
        categories=[dict(id=1, name="sea_person"), dict(id=2, name="earth_person")],
    )


def masks_of_small_coco() -> tuple[Any, Any]:
    """Return a triangle in the first box, and the second box as run lengths."""
    mask = np.zeros((80, 100), np.uint8, order="F")
    mask[10:18, 20:28] = 1
    runs = encode(mask) | dict(counts=encode(mask)["counts"].decode())
    return [[10, 10, 18, 10, 10, 18]], runs


def write(path: Path, coco: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco))
    return path
