"""Erasing regions, and CityPersons scaled down."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.mask import decode

from fpn_necks.datasets import SyntheticTinyPerson
from fpn_necks.datasets.tiny_person import read_coco
from fpn_necks.datasets.tiny_person.city_persons import (
    read_city_persons,
    scale_coco,
    scale_images,
    scaled_size,
)
from fpn_necks.datasets.tiny_person.erase import erase_images, erase_regions
from fpn_necks.datasets.tiny_person.image_sets import RECORD

from .conftest import masks_of_small_coco, small_coco


def write_mat(path: Path, records: list[tuple[str, list[list[float]]]]) -> Path:
    """Write annotations as CityPersons' mat files hold them, in small integers."""
    savemat = pytest.importorskip("scipy.io").savemat
    cells = np.empty((1, len(records)), dtype=object)
    for k, (name, rows) in enumerate(records):
        boxes = np.array(rows, dtype=np.uint16).reshape(-1, 10)
        city = name.split("_")[0]
        cells[0, k] = dict(cityname=city, im_name=name, bbs=boxes)
    savemat(path, {"anno_val_aligned": cells})
    return path


class TestRegions:
    @pytest.fixture
    def image(self) -> np.ndarray:
        random = np.random.default_rng(0)
        return random.integers(0, 256, (20, 30, 3), dtype=np.uint8)

    def test_mean_of_every_pixel_that_is_touched(self, image: np.ndarray) -> None:
        before = image.copy()
        erased = erase_regions(image, [(4.9, 5.9, 5.2, 5.3)])
        assert np.array_equal(image, before)
        expected = image.copy()
        expected[5:12, 4:11] = np.rint(image[5:12, 4:11].mean((0, 1)))
        assert np.array_equal(erased, expected)

    def test_parts_outside(self, image: np.ndarray) -> None:
        erased = erase_regions(image, [(-5, -5, 8, 8), (50, 50, 9, 9), (3, 3, 0, 0)])
        assert (erased[:3, :3] == erased[0, 0]).all()
        assert np.array_equal(erased[3:], image[3:])

    def test_overlapping(self, image: np.ndarray) -> None:
        first, second = (0, 0, 10, 10), (5, 5, 10, 10)
        erased = erase_regions(image, [first, second])
        assert (erased[12, 12] == erase_regions(image, [second])[12, 12]).all()
        assert (erased[2, 2] == erase_regions(image, [first])[2, 2]).all()


class TestErasingASet:
    def run(self, drawn: SyntheticTinyPerson, out: Path, **options):
        coco = read_coco(drawn.train.annotation_file)
        return coco, erase_images(coco, drawn.train.image_dir, out, **options)

    def test_images_and_annotations(
        self, drawn: SyntheticTinyPerson, tmp_path: Path
    ) -> None:
        coco, (erased, written, present) = self.run(drawn, tmp_path / "out")
        assert (written, present) == (7, 0)
        gone = [a for a in coco["annotations"] if a not in erased["annotations"]]
        assert gone and all(a["ignore"] or a["uncertain"] or a["logo"] for a in gone)
        assert not any(
            a["ignore"] or a["uncertain"] or a["logo"] for a in erased["annotations"]
        )
        for image in coco["images"]:
            own = [a["bbox"] for a in gone if a["image_id"] == image["id"]]
            original = cv2.imread(str(drawn.train.image_dir / image["file_name"]))
            found = cv2.imread(str(tmp_path / "out" / image["file_name"]))
            assert np.array_equal(found, erase_regions(original, own))
        # Images without regions are copied as they are.
        source, out = drawn.train.image_dir, tmp_path / "copies"
        erase_images(erased, source, out)
        for path in out.glob("*.png"):
            assert path.read_bytes() == (source / path.name).read_bytes()

    def test_resumes(self, drawn: SyntheticTinyPerson, tmp_path: Path) -> None:
        self.run(drawn, tmp_path)
        first, *others = sorted(tmp_path.glob("*.png"))
        kept = {path: path.stat().st_mtime_ns for path in others}
        content = first.read_bytes()
        first.unlink()
        _, (_, written, present) = self.run(drawn, tmp_path)
        assert (written, present) == (1, 6)
        assert first.read_bytes() == content
        assert {path: path.stat().st_mtime_ns for path in others} == kept
        assert len(list(tmp_path.iterdir())) == 7 + 1, "nothing unfinished is left"

    def test_does_not_mix_settings(
        self, drawn: SyntheticTinyPerson, tmp_path: Path
    ) -> None:
        coco, (erased, *_) = self.run(drawn, tmp_path / "out")
        next((tmp_path / "out").glob("*.png")).unlink()
        for other, options in ((erased, {}), (coco, dict(jpeg_quality=90))):
            with pytest.raises(ValueError, match="made with other settings"):
                erase_images(other, drawn.train.image_dir, tmp_path / "out", **options)
        assert len(list((tmp_path / "out").glob("*.png"))) == 6
        (tmp_path / "out" / RECORD).unlink()
        with pytest.raises(ValueError, match="nothing tells how they were made"):
            self.run(drawn, tmp_path / "out")

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_type_and_channels_stay(self, tmp_path: Path, dtype, channels: int) -> None:
        (tmp_path / "in").mkdir()
        high = np.iinfo(dtype).max
        random = np.random.default_rng(0)
        image = random.integers(0, high, (80, 100, channels), dtype=dtype).squeeze()
        cv2.imwrite(str(tmp_path / "in" / "a.png"), image)
        erase_images(small_coco(), tmp_path / "in", tmp_path / "erased")
        scale_images(small_coco(), tmp_path / "in", tmp_path / "small", 4)
        erased = cv2.imread(str(tmp_path / "erased" / "a.png"), cv2.IMREAD_UNCHANGED)
        small = cv2.imread(str(tmp_path / "small" / "a.png"), cv2.IMREAD_UNCHANGED)
        assert erased.dtype == small.dtype == dtype
        assert (erased.shape, small.shape[2:]) == (image.shape, image.shape[2:])
        marked = [a["bbox"] for a in small_coco()["annotations"][1:4]]
        assert np.array_equal(erased, erase_regions(image, marked))

    def test_bad_images(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="a.png"):
            erase_images(small_coco(), tmp_path, tmp_path / "out")
        (tmp_path / "a.png").write_bytes(b"none")
        with pytest.raises(OSError, match="a.png cannot be decoded"):
            erase_images(small_coco(), tmp_path, tmp_path / "out")
        tiles = small_coco()
        tiles["images"][0]["corner"] = [0, 0, 100, 80]
        with pytest.raises(ValueError, match="of tiles"):
            erase_images(tiles, tmp_path, tmp_path / "out")
        with pytest.raises(ValueError, match="jpeg_quality .*101"):
            erase_images(small_coco(), tmp_path, tmp_path / "out", jpeg_quality=101)


class TestCityPersons:
    NAME = "lindau_000001_000019_leftImg8bit.png"
    ROWS = (
        [1, 1500, 400, 40, 96, 24001, 1500, 400, 40, 90],
        [2, 100, 200, 50, 100, 25001, 100, 200, 50, 100],
        [0, 300, 300, 20, 60, 0, 300, 300, 20, 60],
    )

    def test_reads_the_mat_file(self, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "a.mat", [(self.NAME, self.ROWS), ("x_1.png", [])])
        coco = read_city_persons(path)
        first, second = coco["images"]
        assert first["file_name"] == f"lindau/{self.NAME}"
        assert (first["width"], first["height"]) == (2048, 1024)
        assert second["file_name"] == "x/x_1.png"
        boxes = [(a["bbox"], a["ignore"]) for a in coco["annotations"]]
        assert boxes == [
            ([1500, 400, 40, 96], False),
            ([100, 200, 50, 100], True),
            ([300, 300, 20, 60], True),
        ]
        assert coco["categories"][0]["name"] == "person"
        coco = read_city_persons(path, positive_labels=(1, 2))
        assert [a["ignore"] for a in coco["annotations"]] == [False, False, True]
        with pytest.raises(ValueError, match=r"positive_labels .*\[7\]"):
            read_city_persons(path, positive_labels=(1, 7))

    def test_bad_files(self, tmp_path: Path) -> None:
        savemat = pytest.importorskip("scipy.io").savemat
        with pytest.raises(FileNotFoundError, match="none.mat"):
            read_city_persons(tmp_path / "none.mat")
        with pytest.raises(ValueError, match=r"a .mat or .json file, got .*a.txt"):
            read_city_persons(tmp_path / "a.txt")
        (tmp_path / "text.mat").write_text("no mat file at all" * 20)
        with pytest.raises(ValueError, match="text.mat is no mat file"):
            read_city_persons(tmp_path / "text.mat")
        savemat(tmp_path / "other.mat", {"boxes": np.zeros(3)})
        with pytest.raises(ValueError, match=r"must hold anno_train.*\['boxes'\]"):
            read_city_persons(tmp_path / "other.mat")
        savemat(tmp_path / "odd.mat", {"anno_val_aligned": np.zeros((1, 3))})
        with pytest.raises(ValueError, match="anno_val_aligned is not as in City"):
            read_city_persons(tmp_path / "odd.mat")

    def test_without_scipy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
        with pytest.raises(ImportError, match="pip install scipy"):
            read_city_persons(tmp_path / "a.mat")

    def test_scaled_masks(self) -> None:
        coco = small_coco()
        coco["annotations"][:2] = [
            dict(a, segmentation=mask)
            for a, mask in zip(coco["annotations"], masks_of_small_coco(), strict=False)
        ]
        triangle, crowd = scale_coco(coco, 2)["annotations"][:2]
        assert triangle["segmentation"] == [[5.0, 5.0, 9.0, 5.0, 5.0, 9.0]]
        assert triangle["area"] == 8
        assert decode(crowd["segmentation"]).shape == (40, 50)
        assert crowd["area"] == decode(crowd["segmentation"]).sum() == 16

    def test_scaled_boxes(self) -> None:
        before = small_coco()
        scaled = scale_coco(small_coco(), 4)
        assert (scaled["images"][0]["width"], scaled["images"][0]["height"]) == (25, 20)
        first = scaled["annotations"][0]
        assert first["bbox"] == [2.5, 2.5, 2, 2]
        assert (first["area"], first["size"]) == (4, 2)
        assert scaled["annotations"][1]["ignore"] is True
        assert before == small_coco()
        with pytest.raises(ValueError, match="factor must be .*above 0, got 0"):
            scale_coco(small_coco(), 0)

    def test_odd_sizes_follow_the_whole_pixels(self) -> None:
        coco = small_coco()
        coco["images"][0].update(width=101, height=3)
        scaled = scale_coco(coco, 4)
        assert scaled_size(101, 3, 4) == (25, 1)
        x, y, width, height = scaled["annotations"][0]["bbox"]
        assert x == pytest.approx(10 * 25 / 101) and width == pytest.approx(
            8 * 25 / 101
        )
        assert y == pytest.approx(10 / 3) and height == pytest.approx(8 / 3)

    def test_scaled_images(self, tmp_path: Path) -> None:
        coco = small_coco()
        image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
        (tmp_path / "in").mkdir()
        cv2.imwrite(str(tmp_path / "in" / "a.png"), image)
        folders = tmp_path / "in", tmp_path / "out"
        assert scale_images(coco, *folders, 4) == (1, 0)
        found = cv2.imread(str(tmp_path / "out" / "a.png"))
        means = image.reshape(20, 4, 25, 4, 3).mean((1, 3))
        assert np.abs(found - means).max() <= 0.5 + 1e-6
        assert scale_images(coco, *folders, 4) == (0, 1)
        with pytest.raises(ValueError, match="made with other settings"):
            scale_images(coco, *folders, 2)
        coco["images"][0].update(width=10, height=9)
        with pytest.raises(ValueError, match="a.png is 100x80, annotated are 10x9"):
            scale_images(coco, tmp_path / "in", tmp_path / "new", 4)
