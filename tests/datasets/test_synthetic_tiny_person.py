"""The synthetic set: reproducible, tight boxes, TinyPerson's fields, careful writes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpn_necks.cli import main
from fpn_necks.datasets import SceneSettings, draw_scene, generate

FIELDS = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore"}
FIELDS |= {"uncertain", "logo", "in_dense_image", "segmentation"}
SMALL = dict(
    num_train=3,
    num_val=2,
    image_size=(128, 96),
    size_range=(4, 20),
    people_per_image=(2, 6),
    progress=False,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def annotations(folder: Path, split: str) -> dict:
    return json.loads((folder / "annotations" / f"{split}.json").read_text())


def changed_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    return cv2.boundingRect(mask.astype(np.uint8))


class TestScene:
    @pytest.mark.parametrize("seed", range(3))
    def test_boxes_are_tight_on_the_changed_pixels(self, seed: int) -> None:
        settings = SceneSettings(image_size=(320, 256), dense_fraction=0)
        scene = draw_scene(settings, seed)
        changed = (scene.image != scene.background).any(-1)
        assert scene.people
        for person in scene.people:
            x, y, width, height = person.bbox
            # Boxes of usual images keep apart, so each holds one person's pixels.
            inside = changed[y : y + height, x : x + width]
            assert changed_box(inside) == (0, 0, width, height)
            changed[y : y + height, x : x + width] = False
        assert not changed.any(), "pixels changed outside all boxes"

    def test_dense_boxes_cover_all_changes_and_stay_visible(self) -> None:
        settings = SceneSettings(
            image_size=(320, 256), size_range=(6, 32), dense_fraction=1
        )
        scene = draw_scene(settings, 0)
        assert scene.dense
        changed = (scene.image != scene.background).any(-1)
        owners = np.zeros(changed.shape, int)
        for person in scene.people:
            x, y, width, height = person.bbox
            owners[y : y + height, x : x + width] += 1
        assert not changed[owners == 0].any()
        for person in scene.people:
            x, y, width, height = person.bbox
            alone = (owners[y : y + height, x : x + width] == 1).mean()
            assert alone > 0.6

    @pytest.mark.parametrize("size_range", [(2, 3), (2, 32), (6.5, 7.5), (10, 40)])
    def test_sizes_in_range_and_boxes_inside(
        self, size_range: tuple[float, float]
    ) -> None:
        settings = SceneSettings(
            image_size=(256, 160),
            size_range=size_range,
            people_per_image=(20, 20),
            dense_fraction=0.5,
        )
        people = [p for seed in range(4) for p in draw_scene(settings, seed).people]
        assert len(people) > 40
        for person in people:
            x, y, width, height = person.bbox
            assert x >= 0 and y >= 0 and x + width <= 256 and y + height <= 160
            if not person.ignore:
                assert size_range[0] <= person.size <= size_range[1]

    def test_people_fill_the_size_range(self) -> None:
        settings = SceneSettings(ignore_fraction=0, people_per_image=(30, 30))
        sizes = [p.size for seed in range(3) for p in draw_scene(settings, seed).people]
        assert min(sizes) < 3 and max(sizes) > 26

    def test_categories_lie_on_their_side_of_the_shore(self) -> None:
        scene = draw_scene(SceneSettings(dense_fraction=1), 3)
        assert {p.category for p in scene.people} == {"sea_person", "earth_person"}

    def test_kinds_appear(self) -> None:
        settings = SceneSettings(
            ignore_fraction=0.3, uncertain_fraction=0.3, logo_fraction=0.3
        )
        people = [p for seed in range(4) for p in draw_scene(settings, seed).people]
        for kind in ("ignore", "uncertain", "logo"):
            share = np.mean([getattr(person, kind) for person in people])
            assert 0.1 < share < 0.5, kind

    def test_no_people_is_allowed(self) -> None:
        scene = draw_scene(SceneSettings(people_per_image=(0, 0)), 0)
        assert scene.people == ()
        assert np.array_equal(scene.image, scene.background)


class TestWrittenSet:
    def test_same_bytes_for_any_number_of_workers(self, tmp_path: Path) -> None:
        for workers in (0, 2):
            generate(tmp_path / str(workers), seed=4, workers=workers, **SMALL)
        one = contents(tmp_path / "0")
        assert one == contents(tmp_path / "2")
        assert len(one) == 3 + 2 + 2

    def test_seeds_and_splits_differ(self, tmp_path: Path) -> None:
        for seed in (0, 1):
            generate(tmp_path / str(seed), seed=seed, **SMALL)
        zero, one = contents(tmp_path / "0"), contents(tmp_path / "1")
        assert zero["train/train_00001.jpg"] != one["train/train_00001.jpg"]
        assert zero["train/train_00001.jpg"] != zero["val/val_00001.jpg"]

    def test_fields_are_tinypersons(self, tmp_path: Path) -> None:
        settings = {"people_per_image": (6, 12), "ignore_fraction": 0.3}
        made = generate(tmp_path, dense_fraction=0.5, **(SMALL | settings))
        coco = annotations(tmp_path, "train")
        assert coco["categories"] == [
            {"id": 1, "name": "sea_person", "supercategory": "person"},
            {"id": 2, "name": "earth_person", "supercategory": "person"},
        ]
        dense = {}
        for image in coco["images"]:
            assert image.keys() == set(
                "id file_name width height in_dense_image".split()
            )
            dense[image["id"]] = image["in_dense_image"]
            pixels = cv2.imread(str(made.train.image_dir / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3) == (96, 128, 3)
        identifiers = [a["id"] for a in coco["annotations"]]
        # From 1: COCO's evaluation takes a match with box 0 for no match.
        assert identifiers == list(range(1, len(identifiers) + 1))
        for annotation in coco["annotations"]:
            assert annotation.keys() == FIELDS
            for flag in ("ignore", "uncertain", "logo", "in_dense_image"):
                assert isinstance(annotation[flag], bool)
            x, y, width, height = annotation["bbox"]
            assert annotation["area"] == width * height
            assert annotation["iscrowd"] == 0
            assert annotation["in_dense_image"] == dense[annotation["image_id"]]
            (polygon,) = annotation["segmentation"]
            assert [min(polygon[::2]), min(polygon[1::2])] == [x, y]
            assert [max(polygon[::2]), max(polygon[1::2])] == [x + width, y + height]

    def test_summary_counts(self, tmp_path: Path) -> None:
        made = generate(
            tmp_path, dense_fraction=0.5, ignore_fraction=0.3, seed=1, **SMALL
        )
        coco = annotations(tmp_path, "train")
        boxes = coco["annotations"]
        assert made.train.images == 3 and made.val.images == 2
        assert (
            made.train.boxes
            == len(boxes)
            == sum(made.train.boxes_per_category.values())
        )
        assert made.train.ignored == sum(b["ignore"] for b in boxes)
        assert made.train.dense_images == sum(
            image["in_dense_image"] for image in coco["images"]
        )
        assert made.train.size_quantiles[0] >= 4
        assert made.train.size_quantiles[-1] <= 20
        assert "3 images" in str(made.train)

    def test_merged_class_and_crowds(self, tmp_path: Path) -> None:
        generate(
            tmp_path,
            merge_classes=True,
            ignored_as_crowd=True,
            ignore_fraction=0.5,
            **SMALL,
        )
        coco = annotations(tmp_path, "train")
        assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "person")]
        assert {a["category_id"] for a in coco["annotations"]} == {1}
        assert not any(a["ignore"] for a in coco["annotations"])
        assert {a["iscrowd"] for a in coco["annotations"]} == {0, 1}

    def test_png_keeps_the_scene(self, tmp_path: Path) -> None:
        generate(tmp_path, image_format="png", seed=9, **SMALL)
        settings = SceneSettings(
            image_size=(128, 96), size_range=(4, 20), people_per_image=(2, 6)
        )
        written = cv2.imread(str(tmp_path / "val" / "val_00002.png"))
        assert np.array_equal(written, draw_scene(settings, (9, 1, 1)).image)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"image_size": (63, 200)}, r"image_size .*\(63, 200\)"),
            ({"size_range": (1, 20)}, r"size_range .*\(1, 20\)"),
            ({"size_range": (20, 10)}, r"size_range .*\(20, 10\)"),
            ({"size_range": (2, 33)}, r"size_range .*\(2, 33\)"),
            ({"people_per_image": (5, 2)}, r"people_per_image .*\(5, 2\)"),
            ({"distractors_per_image": (-1, 2)}, "distractors_per_image"),
            ({"dense_fraction": 1.5}, "dense_fraction .*1.5"),
            ({"ignore_fraction": -0.1}, "ignore_fraction .*-0.1"),
            ({"ignore_fraction": 0.6, "uncertain_fraction": 0.6}, "at most 1"),
            ({"ignore_fraction": float("nan")}, "ignore_fraction .*nan"),
            ({"num_train": 0}, "num_train .*0"),
            ({"num_val": -1}, "num_val .*-1"),
            ({"seed": -1}, "seed .*-1"),
            ({"workers": -1}, "workers .*-1"),
            ({"image_format": "gif"}, "image_format .*gif"),
            ({"jpeg_quality": 0}, "jpeg_quality .*0"),
        ],
    )
    def test_bad_arguments(self, tmp_path: Path, arguments: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            generate(tmp_path / "set", **(SMALL | arguments))
        assert not (tmp_path / "set").exists()

    def test_a_folder_with_files_is_left_intact(self, tmp_path: Path) -> None:
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "mine.txt").write_text("mine")
        before = contents(tmp_path)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            generate(tmp_path, **SMALL)
        assert contents(tmp_path) == before
        assert sorted(p.name for p in tmp_path.iterdir()) == ["train"]

    def test_overwriting_keeps_foreign_files(self, tmp_path: Path) -> None:
        generate(tmp_path, seed=1, **SMALL)
        (tmp_path / "train" / "mine.txt").write_text("mine")
        generate(tmp_path, seed=2, overwrite=True, **SMALL)
        generate(tmp_path.with_name("fresh"), seed=2, **SMALL)
        after = contents(tmp_path)
        assert after.pop("train/mine.txt") == b"mine"
        assert after == contents(tmp_path.with_name("fresh"))

    def test_a_file_as_target(self, tmp_path: Path) -> None:
        target = tmp_path / "file"
        target.write_text("mine")
        with pytest.raises(ValueError, match="out_dir must be a folder"):
            generate(target, overwrite=True, **SMALL)
        assert target.read_text() == "mine"

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


def test_the_command_writes_what_generate_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tiny-person", "synthesize", str(tmp_path / "tool")]
    options = "--num-train 3 --num-val 2 --image-size 128 96 --size-range 4 20 "
    options += "--people-per-image 2 6 --seed 7 --no-progress"
    assert main([*command, *options.split()]) == 0
    assert "3 images" in capsys.readouterr().out
    generate(tmp_path / "function", seed=7, **SMALL)
    assert contents(tmp_path / "tool") == contents(tmp_path / "function")
    assert main([*command, "--overwrite", "--size-range", "9", "3"]) == 2
    assert "size_range must be" in capsys.readouterr().err
