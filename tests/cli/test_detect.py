"""The command line: pictures and files, going on, bad images, exit status."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import init_detector
from pycocotools.coco import COCO

from fpn_necks.cli import main
from fpn_necks.detectors import load_detector
from fpn_necks.inference import detect_sliced
from tests.full_disk import tree
from tests.inference.small_detectors import NAMES, noise, write_detector
from tests.tiny_sets import CLASSES

TILES = ("--tile", 64, 48, "--overlap", 10, 6, "--device", "cpu")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_detector(tmp_path_factory.mktemp("detector"), NAMES[0])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    cv2.imwrite(str(folder / "b.png"), noise(150, 101, seed=1))
    cv2.imwrite(str(folder / "sub" / "a.jpg"), noise(60, 40, seed=2))
    return folder


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture,
    detector: tuple[Path, Path],
) -> Run:
    """Run the command in this process; return status, output and error output."""

    def run(
        *arguments: object, files: tuple[Path, Path] = detector
    ) -> tuple[int, str, str]:
        status = main(["detect", *map(str, files), *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def changes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in tree(folder)}


def test_end_to_end(
    run: Run, detector: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    status, output, error = run(images, out, *TILES, "--score-thr", 0.1)
    assert status == 0 and "2/2" in error
    assert set(tree(out)) == {
        "settings.json",
        "images.json",
        "detections.json",
        "detections/b.png.json",
        "detections/sub/a.jpg.json",
        "drawn/b.png",
        "drawn/sub/a.jpg",
    }
    truth = COCO(str(out / "images.json"))
    assert [category["name"] for category in truth.cats.values()] == list(CLASSES)
    names = {image["file_name"]: image for image in truth.imgs.values()}
    assert list(names) == ["b.png", "sub/a.jpg"]
    found = truth.loadRes(str(out / "detections.json"))
    assert str(len(found.anns)) == output.splitlines()[-1].split()[0]
    model = init_detector(*map(str, detector), device="cpu")
    for name, image in names.items():
        expected = detect_sliced(
            model, images / name, (64, 48), (10, 6), score_threshold=0.1
        )
        boxes = expected.pred_instances.bboxes.numpy()
        assert len(boxes) > 5
        assert (image["height"], image["width"]) == expected.ori_shape
        annotations = found.imgToAnns[image["id"]]
        actual = np.array([annotation["bbox"] for annotation in annotations])
        actual[:, 2:] += actual[:, :2]
        np.testing.assert_allclose(actual, boxes, atol=1e-4)
        labels = expected.pred_instances.labels.tolist()
        assert [a["category_id"] - 1 for a in annotations] == labels
        drawn = cv2.imread(str(out / "drawn" / name))
        original = cv2.imread(str(images / name))
        assert drawn.shape == original.shape
        assert (drawn != original).any()


def test_goes_on_where_it_stopped(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(images, out, *TILES)[0] == 0
    complete = tree(out)
    before = changes(out)
    (out / "drawn" / "sub" / "a.jpg").unlink()
    (out / "detections" / "sub" / "a.jpg.json").unlink()
    (out / "detections.json").unlink()
    assert run(images, out, *TILES)[0] == 0
    assert tree(out) == complete
    kept = "detections/b.png.json"
    assert changes(out)[kept] == before[kept]
    before = changes(out)
    assert run(images, out, *TILES)[0] == 0
    for name in ("drawn/b.png", "drawn/sub/a.jpg", kept):
        assert changes(out)[name] == before[name]


def test_what_decides_the_result_is_looked_at(
    run: Run, detector: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    """An edited config, another checkpoint of the same name, a replaced image."""
    config, weights, out = tmp_path / "c.py", tmp_path / "w.pth", tmp_path / "out"
    text = detector[0].read_text()
    config.write_text(text)
    weights.write_bytes(detector[1].read_bytes())
    files = config, weights
    assert run(images, out, *TILES, files=files)[0] == 0
    first = changes(out)
    # What decides nothing, and the same content again, change nothing.
    config.write_text(text + "\nlr = 7\n")
    weights.write_bytes(detector[1].read_bytes())
    cv2.imwrite(str(images / "b.png"), noise(150, 101, seed=4))
    assert run(images, out, *TILES, files=files)[0] == 0
    kept, redone = "detections/sub/a.jpg.json", "detections/b.png.json"
    assert changes(out)[kept] == first[kept]
    for name in (redone, "drawn/b.png"):
        assert changes(out)[name] > first[name]
    nms = ("--cfg-options", "model.test_cfg.nms_pre=7")
    status, _, error = run(images, out, *TILES, *nms, files=files)
    assert status == 2 and "other settings (config: " in error
    content = torch.load(weights, weights_only=True)
    content["state_dict"]["bbox_head.retina_reg.bias"] += 1
    torch.save(content, weights)
    status, _, error = run(images, out, *TILES, files=files)
    assert status == 2 and "other settings (checkpoint: " in error
    before = changes(out)
    assert run(images, out, *TILES, "--force", files=files)[0] == 0
    assert all(time > before[name] for name, time in changes(out).items())


@pytest.mark.parametrize(
    ("metainfo", "meta", "names"),
    [
        (dict(classes=("x", "y")), dict(dataset_meta=dict(classes=("a", "b"))), "a b"),
        (dict(classes=("x", "y")), dict(CLASSES=("a", "b")), "a b"),
        (dict(classes=("x", "y")), {}, "x y"),
        (None, {}, "class 0 class 1"),  # the data set's own are COCO's 80
    ],
)
def test_classes_are_never_guessed(
    detector: tuple[Path, Path],
    tmp_path: Path,
    metainfo: dict | None,
    meta: dict,
    names: str,
) -> None:
    extra = f"\ntest_dataloader['dataset']['metainfo'] = {metainfo!r}\n"
    (tmp_path / "c.py").write_text(detector[0].read_text() + extra)
    content = torch.load(detector[1], weights_only=True)
    content = dict(state_dict=content["state_dict"], meta=meta)
    torch.save(content, tmp_path / "w.pth")
    model = load_detector(tmp_path / "c.py", tmp_path / "w.pth", "cpu")
    assert " ".join(model.dataset_meta["classes"]) == names


def test_bad_images_do_not_stop_it(run: Run, images: Path, tmp_path: Path) -> None:
    (images / "a bad one.png").write_bytes(b"no image")
    (images / "empty.jpg").write_bytes(b"")
    out = tmp_path / "out"
    status, output, error = run(images, out, *TILES)
    assert status == 1
    assert "on 2 images" in output
    messages = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(messages) == 3
    assert messages[0].startswith("error: a bad one.png: cannot read the image")
    assert messages[1].startswith("error: empty.jpg: cannot read the image")
    assert messages[2] == "error: 2 of 4 images failed"
    assert error.splitlines()[-3:] == messages
    known = json.loads((out / "images.json").read_text())["images"]
    assert [image["file_name"] for image in known] == ["b.png", "sub/a.jpg"]
    # A mended image is done in the next run; ids count all images of the folder.
    cv2.imwrite(str(images / "a bad one.png"), noise(20, 20))
    (images / "empty.jpg").unlink()
    assert run(images, out, *TILES)[0] == 0
    known = json.loads((out / "images.json").read_text())["images"]
    assert [image["id"] for image in known] == [1, 2, 3]


def test_one_image_without_picture(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--whole-image", "--no-resize", "--class-agnostic", "--nms-thr", 0.4)
    options += ("--keep-cut-boxes", "--score-thr", 0)
    assert run(images / "b.png", out, *TILES, *options, "--json-only")[0] == 0
    assert not (out / "drawn").exists()
    assert len(json.loads((out / "detections.json").read_text())) > 3
    # Pictures can be had later.
    assert run(images / "b.png", out, *TILES, *options)[0] == 0
    assert (out / "drawn" / "b.png").exists()


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_file_names_that_are_not_utf_8(run: Run, images: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    shutil.copy(images / "b.png", images / name)
    out = tmp_path / "out"
    assert run(images, out, *TILES)[0] == 0
    assert (out / "drawn" / name).exists()
    known = json.loads((out / "images.json").read_text())["images"]
    assert [image["file_name"] for image in known] == ["b.png", name, "sub/a.jpg"]
    (images / name).write_bytes(b"no image")
    status, _, error = run(images, out, *TILES)
    assert status == 1 and "\nerror: caf\\udce9.png: cannot read" in f"\n{error}"
