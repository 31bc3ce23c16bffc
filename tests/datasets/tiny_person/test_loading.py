"""LoadImageTile: the right pixels, each image decoded once."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile

from fpn_necks.datasets.tiny_person import LoadImageTile, tile_corners


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{k}.png") for k in range(3)]
    for path in paths:
        cv2.imwrite(path, random.integers(0, 255, (50, 70, 3), dtype=np.uint8))
    return paths


def load(loader: LoadImageTile, path: str, corner) -> dict:
    return loader(dict(img_path=path, corner=corner))


def test_pixels(images: list[str]) -> None:
    loader = LoadImageTile()
    whole = cv2.imread(images[0])
    for x1, y1, x2, y2 in tile_corners((70, 50), (32, 24), (4, 4)).tolist():
        results = load(loader, images[0], [x1, y1, x2, y2])
        assert np.array_equal(results["img"], whole[y1:y2, x1:x2])
        assert results["img_shape"] == results["ori_shape"] == (24, 32)
        assert results["img"].flags.c_contiguous


@pytest.mark.parametrize(
    ("size", "counts"), [(0, (1, 2, 3, 4, 5, 6, 7)), (2, (1, 1, 2, 2, 3, 3, 4))]
)
def test_the_least_recent_image_is_forgotten(
    images: list[str], decoded: list[None], size: int, counts: tuple[int, ...]
) -> None:
    loader = LoadImageTile(cache_size=size)
    for number, expected in zip((0, 0, 1, 0, 2, 0, 1), counts, strict=True):
        load(loader, images[number], [0, 0, 5, 5])
        assert len(decoded) == expected
    assert len(loader._cache) == size


def test_the_memory_stays_clean(images: list[str]) -> None:
    loader = LoadImageTile()
    for corner in ([0, 0, 70, 50], [10, 10, 20, 20]):  # the whole image as well
        first = load(loader, images[0], corner)["img"]
        kept = first.copy()
        first[:] = 0
        assert np.array_equal(load(loader, images[0], corner)["img"], kept)


def test_whole_images_as_mmcv_loads_them(images: list[str]) -> None:
    options = dict(to_float32=True, color_type="grayscale")
    ours, theirs = LoadImageTile(**options), LoadImageFromFile(**options)
    for results in (dict(img_path=images[0]), dict(img_path=images[0], corner=None)):
        found, expected = ours(dict(results)), theirs(dict(results))
        assert np.array_equal(found["img"], expected["img"])
        assert found["img"].dtype == np.float32
        assert found["ori_shape"] == expected["ori_shape"] == (50, 70)
    assert not ours._cache


class Doubled(LoadImageFromFile):
    """A loader of a user's."""

    def transform(self, results: dict) -> dict | None:
        results = super().transform(results)
        results["img"] = results["img"].astype(np.uint16) * 2
        return results


def test_around_a_loader_of_a_user(images: list[str], decoded: list[None]) -> None:
    loader = LoadImageTile(loader=Doubled(color_type="grayscale"))
    whole = cv2.imread(images[0], cv2.IMREAD_GRAYSCALE)
    for corner in ([3, 4, 30, 20], [0, 0, 9, 9]):
        x1, y1, x2, y2 = corner
        found = load(loader, images[0], corner)["img"]
        assert found.dtype == np.uint16
        assert np.array_equal(found, 2 * whole[y1:y2, x1:x2].astype(np.uint16))
    assert len(decoded) == 1
    assert "Doubled" in repr(loader) and repr(loader).endswith("cache_size=8)")


def test_copies_start_with_an_empty_memory(images: list[str]) -> None:
    loader = LoadImageTile(cache_size=5)
    load(loader, images[0], [0, 0, 5, 5])
    for other in (copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert other.cache_size == 5 and not other._cache
    assert len(loader._cache) == 1


@pytest.mark.parametrize("corner", [[0, 0, 71, 5], [0, 0, 5, 51], [5, 5, 5, 9]])
def test_tile_outside(images: list[str], corner: list[int]) -> None:
    with pytest.raises(ValueError, match=r"0.png is 70x50 and does not contain"):
        load(LoadImageTile(), images[0], corner)


def test_missing_image(tmp_path: Path) -> None:
    path = str(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="none.png"):
        load(LoadImageTile(), path, [0, 0, 5, 5])
    assert load(LoadImageTile(ignore_empty=True), path, [0, 0, 5, 5]) is None
    with pytest.raises(ValueError, match="cache_size .*-1"):
        LoadImageTile(cache_size=-1)
