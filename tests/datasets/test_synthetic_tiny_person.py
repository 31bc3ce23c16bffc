"""The synthetic set: reproducible, tight boxes, TinyPerson's fields, careful writes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpn_necks.cli import main
from fpn_necks.datasets import Person, SceneSettings, draw_scene, generate
from tests.full_disk import tree

FIELDS = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore"}
FIELDS |= {"uncertain", "logo", "in_dense_image", "segmentation"}
LOOKS = dict(image_size=(128, 96), size_range=(4.0, 20.0), people_per_image=(2, 6))
SMALL = dict(num_train=3, num_val=2, progress=False, **LOOKS)


def people_of(seeds: int, **settings) -> list[Person]:
    drawn = SceneSettings(**settings)
    return [p for seed in range(seeds) for p in draw_scene(drawn, seed).people]


class TestScene:
    @pytest.mark.parametrize("dense", [0, 1])
    def test_boxes_are_tight_on_the_changed_pixels(self, dense: int) -> None:
        settings = SceneSettings(image_size=(320, 256), dense_fraction=dense)
        scene = draw_scene(settings, 1)
        assert scene.dense == dense
        changed = (scene.image != scene.background).any(-1)
        assert scene.people
        for person in scene.people:
            x, y, width, height = person.bbox
            # Boxes do not overlap, so each holds one person's pixels.
            inside = changed[y : y + height, x : x + width]
            assert cv2.boundingRect(inside.astype(np.uint8)) == (0, 0, width, height)
            inside[:] = False
        assert not changed.any(), "pixels changed outside all boxes"

    @pytest.mark.parametrize("size_range", [(2, 32), (6.5, 7.5)])
    def test_sizes_fill_the_range_and_boxes_lie_inside(
        self, size_range: tuple[float, float]
    ) -> None:
        looks = dict(image_size=(256, 160), people_per_image=(20, 20))
        people = people_of(2, size_range=size_range, dense_fraction=1, **looks)
        assert len(people) > 40
        sizes = []
        for person in people:
            x, y, width, height = person.bbox
            assert x >= 0 and y >= 0 and x + width <= 256 and y + height <= 160
            if not person.ignore:
                sizes.append((width * height) ** 0.5)
        assert size_range[0] <= min(sizes) and max(sizes) <= size_range[1]
        assert max(sizes) - min(sizes) > 0.6 * (size_range[1] - size_range[0])

    def test_categories_and_kinds_appear(self) -> None:
        shares = dict.fromkeys(("ignore", "uncertain", "logo"), 0.3)
        looks = dict(image_size=(256, 192), size_range=(4, 12))
        looks |= {f"{kind}_fraction": share for kind, share in shares.items()}
        people = people_of(4, **looks)
        assert {p.category for p in people} == {"sea_person", "earth_person"}
        for kind in shares:
            share = np.mean([getattr(person, kind) for person in people])
            assert 0.1 < share < 0.5, kind


class TestWrittenSet:
    def test_same_bytes_for_any_number_of_workers_and_by_command(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for workers in (0, 2):
            generate(tmp_path / str(workers), seed=7, workers=workers, **SMALL)
        one = tree(tmp_path / "0")
        assert one == tree(tmp_path / "2")
        assert len(one) == 3 + 2 + 2
        command = ["tiny-person", "synthesize", str(tmp_path / "tool")]
        options = "--num-train 3 --num-val 2 --image-size 128 96 --size-range 4 20 "
        options += "--people-per-image 2 6 --seed 7"
        assert main([*command, *options.split()]) == 0
        assert "3 images" in capsys.readouterr().out
        assert one == tree(tmp_path / "tool")
        assert main([*command, "--overwrite", "--size-range", "9", "3"]) == 2
        assert "size_range must be" in capsys.readouterr().err

    def test_seeds_and_splits_differ(self, tmp_path: Path) -> None:
        for seed in (0, 1):
            generate(tmp_path / str(seed), seed=seed, image_format="png", **SMALL)
        images = [v for k, v in tree(tmp_path).items() if k.endswith("png")]
        assert len(set(images)) == len(images) == 2 * (3 + 2)
        written = cv2.imread(str(next((tmp_path / "1" / "val").glob("*1.png"))))
        assert np.array_equal(
            written, draw_scene(SceneSettings(**LOOKS), (1, 1, 1)).image
        )

    def test_fields_and_summary_are_tinypersons(self, tmp_path: Path) -> None:
        settings = dict(people_per_image=(6, 12), ignore_fraction=0.3)
        made = generate(tmp_path, dense_fraction=0.5, **(SMALL | settings))
        coco = json.loads(made.train.annotation_file.read_text())
        assert coco["categories"] == [
            {"id": 1, "name": "sea_person", "supercategory": "person"},
            {"id": 2, "name": "earth_person", "supercategory": "person"},
        ]
        dense = {}
        for image in coco["images"]:
            dense[image["id"]] = image["in_dense_image"]
            pixels = cv2.imread(str(made.train.image_dir / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3) == (96, 128, 3)
        boxes = coco["annotations"]
        # From 1: COCO's evaluation takes a match with box 0 for no match.
        assert [box["id"] for box in boxes] == list(range(1, len(boxes) + 1))
        for box in boxes:
            assert box.keys() == FIELDS
            x, y, width, height = box["bbox"]
            assert box["area"] == width * height and box["iscrowd"] == 0
            assert box["in_dense_image"] == dense[box["image_id"]]
            right, bottom = x + width, y + height
            polygon = [x, y, x, bottom, right, bottom, right, y]
            assert box["segmentation"] == [polygon]
        ignored = sum(b["ignore"] or b["uncertain"] or b["logo"] for b in boxes)
        assert str(made.train) == (
            f"3 images ({sum(dense.values())} dense), {len(boxes)} boxes "
            f"({ignored} ignored)"
        )
        assert ignored > 0

    def test_merged_class(self, tmp_path: Path) -> None:
        made = generate(tmp_path, merge_classes=True, **SMALL)
        coco = json.loads(made.train.annotation_file.read_text())
        assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "person")]
        assert {a["category_id"] for a in coco["annotations"]} == {1}


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"image_size": (63, 200)}, "image_size .*63"),
            ({"size_range": (20, 10)}, r"size_range .*\(20, 10\)"),
            ({"size_range": (2, 33)}, r"size_range .*\(2, 33\)"),
            ({"people_per_image": (5, 2)}, "people_per_image must be at least 5"),
            ({"distractors_per_image": (-1, 2)}, "distractors_per_image"),
            ({"dense_fraction": 1.5}, "dense_fraction .*1.5"),
            ({"ignore_fraction": 0.6, "uncertain_fraction": 0.6}, "at most 1"),
            ({"num_train": 0}, "num_train .*0"),
            ({"seed": -1}, "seed .*-1"),
            ({"workers": -1}, "workers .*-1"),
            ({"image_format": "gif"}, "image_format .*gif"),
        ],
    )
    def test_bad_arguments(self, tmp_path: Path, arguments: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            generate(tmp_path / "set", **(SMALL | arguments))
        assert not (tmp_path / "set").exists()

    def test_what_is_there_is_left_intact_unless_told(self, tmp_path: Path) -> None:
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="overwrite=True"):
            generate(tmp_path, **SMALL)
        assert tree(tmp_path) == {"train/mine.txt": b"mine"}
        with pytest.raises(NotADirectoryError):
            generate(tmp_path / "train" / "mine.txt", overwrite=True, **SMALL)
        for seed in (1, 2):
            generate(tmp_path, seed=seed, overwrite=True, **SMALL)
        generate(tmp_path.with_name("fresh"), seed=2, **SMALL)
        after = tree(tmp_path)
        assert after.pop("train/mine.txt") == b"mine"
        assert after == tree(tmp_path.with_name("fresh"))

    def test_an_interrupted_run_leaves_no_json(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generate(tmp_path, **SMALL)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(cv2, "imencode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            generate(tmp_path, overwrite=True, **SMALL)
        assert not list((tmp_path / "annotations").iterdir())
