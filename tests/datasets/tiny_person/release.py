"""A stand-in for the TinyPerson release: its files and counts, one grey image."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np

from fpn_necks.datasets.tiny_person.checker import EXPECTED_FILES, ExpectedFile


def annotations(expected: ExpectedFile) -> dict:
    """Return annotations with the expected counts, all boxes in the first images."""
    kinds = [{}] * expected.counts["positives"][0]
    kinds += [dict(ignore=True)] * expected.counts["ignored"][0]
    kinds += [dict(uncertain=True)] * expected.counts["uncertain"][0]
    return dict(
        images=[
            dict(id=k, file_name=f"labeled_images/{k}.png", width=8, height=6)
            for k in range(expected.counts["images"][0])
        ],
        annotations=[
            dict(id=k, image_id=k % 50, category_id=1, bbox=[1, 1, 4, 4], **kind)
            for k, kind in enumerate(kinds)
        ],
        categories=[dict(id=1, name="person")],
    )


def make_release(root: Path) -> Path:
    """Write the files of the release; images are links to one of 8x6 pixels."""
    root.mkdir(parents=True)
    cv2.imwrite(str(root / "one.png"), np.full((6, 8, 3), 90, np.uint8))
    for expected in EXPECTED_FILES:
        path = root / expected.path
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(annotations(expected)))
        folder = root / expected.image_dir / "labeled_images"
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(expected.counts["images"][0]):
            os.link(root / "one.png", folder / f"{k}.png")
    return root
