"""The command line: pictures and files, going on, bad images, exit status."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.apis import init_detector
from pycocotools.coco import COCO

from fpn_necks.inference import detect_sliced
from fpn_necks.visualization import load_samples
from tests.inference.small_detectors import NAMES, noise, write_detector
from tests.tiny_sets import CLASSES

TOOL = Path(__file__).parents[2] / "tools" / "infer_sliced.py"
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
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    detector: tuple[Path, Path],
) -> Run:
    """Run the command in this process; return status, output and error output."""
    spec = importlib.util.spec_from_file_location("infer_sliced_tool", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def run(
        *arguments: object, files: tuple[Path, Path] = detector
    ) -> tuple[int, str, str]:
        command = [str(TOOL), *map(str, files), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        status = tool.main()
        return status, *capsys.readouterr()

    return run


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def changes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in written(folder)}


def test_end_to_end(detector: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    command = [sys.executable, TOOL, *detector, images, out, *TILES]
    result = subprocess.run(
        [*map(str, command), "--score-thr", "0.1"],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert set(written(out)) == {
        "settings.json",
        "images.json",
        "detections.json",
        "detections/b.png.json",
        "detections/sub/a.jpg.json",
        "drawn/b.png",
        "drawn/sub/a.jpg",
    }
    assert "2/2" in result.stderr
    truth = COCO(str(out / "images.json"))
    assert [category["name"] for category in truth.cats.values()] == list(CLASSES)
    names = {image["file_name"]: image for image in truth.imgs.values()}
    assert list(names) == ["b.png", "sub/a.jpg"]
    found = truth.loadRes(str(out / "detections.json"))
    assert str(len(found.anns)) == result.stdout.splitlines()[-1].split()[0]
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
    # What draws detections of other tools draws these as well.
    samples = load_samples(
        out / "images.json", out / "detections.json", images, 2, score_threshold=0
    )
    assert sum(len(sample.detections) for sample in samples) == len(found.anns)


def test_goes_on_where_it_stopped(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(images, out, *TILES)[0] == 0
    complete = written(out)
    before = changes(out)
    (out / "drawn" / "b.png").unlink()
    (out / "drawn" / "sub" / "a.jpg").unlink()
    (out / "detections" / "sub" / "a.jpg.json").unlink()
    (out / "detections.json").unlink()
    assert run(images, out, *TILES)[0] == 0
    assert written(out) == complete
    kept = "detections/b.png.json"
    assert changes(out)[kept] == before[kept]
    before = changes(out)
    assert run(images, out, *TILES)[0] == 0
    for name in ("drawn/b.png", "drawn/sub/a.jpg", kept):
        assert changes(out)[name] == before[name]


def test_never_overwrites_without_force(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(images, out, *TILES)[0] == 0
    before = changes(out)
    status, _, error = run(images, out, *TILES, "--score-thr", 0.7)
    assert status == 2
    assert "score_threshold: 0.3, now 0.7" in error and error.count("\n") == 1
    assert changes(out) == before
    many = json.loads((out / "detections.json").read_text())
    assert run(images, out, *TILES, "--score-thr", 0.7, "--force")[0] == 0
    few = json.loads((out / "detections.json").read_text())
    assert few == [found for found in many if found["score"] >= 0.7] != many
    assert changes(out)["drawn/b.png"] != before["drawn/b.png"]


def test_retrained_checkpoint_is_another_one(
    run: Run, detector: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.pth"
    copy.write_bytes(detector[1].read_bytes())
    files = detector[0], copy
    assert run(images, tmp_path / "out", *TILES, files=files)[0] == 0
    copy.write_bytes(detector[1].read_bytes())
    status, _, error = run(images, tmp_path / "out", *TILES, files=files)
    assert status == 2 and "checkpoint_changed" in error


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
    options += ("--keep-cut-boxes", "--max-detections", 3, "--score-thr", 0)
    assert run(images / "b.png", out, *TILES, *options, "--json-only")[0] == 0
    assert not (out / "drawn").exists()
    assert len(json.loads((out / "detections.json").read_text())) == 3
    # Pictures can be had later, from the detections that are there.
    assert run(images / "b.png", out, *TILES, *options)[0] == 0
    assert (out / "drawn" / "b.png").exists()


def test_output_inside_the_input(run: Run, images: Path) -> None:
    out = images / "out"
    for _ in range(2):
        status, output, _ = run(images, out, *TILES)
        assert status == 0 and "on 2 images" in output
    assert run(images, images, *TILES)[0] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--overlap", 64, 6), "overlap_wh must be smaller"),
        (("--batch-size", 0), "batch_size"),
        (("--score-thr", 30), "score_threshold"),
        (("--nms-thr", 0), "nms_threshold"),
        (("--border-margin", -1), "border_margin"),
        (("--device", "cuda:77"), ""),
    ],
)
def test_wrong_options(
    run: Run, images: Path, tmp_path: Path, options: tuple, message: str
) -> None:
    status, output, error = run(images, tmp_path / "out", *TILES, *options)
    assert (status, output) == (2, "") or message == ""
    assert status == 2
    assert error.splitlines()[-1].startswith("error: ") and message in error


def test_missing_files(
    run: Run, detector: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    missing = tmp_path / "missing"
    for files, source in (
        ((missing, detector[1]), images),
        ((detector[0], missing), images),
        (detector, missing),
    ):
        status, _, error = run(source, out, *TILES, files=files)
        assert status == 2
        assert error.startswith(f"error: {missing} is")
    assert not out.exists()


@pytest.mark.parametrize("content", ["model = (", "answer = 42"])
def test_broken_configs_are_told_in_a_line(
    run: Run, detector: tuple[Path, Path], images: Path, tmp_path: Path, content: str
) -> None:
    config = tmp_path / "broken.py"
    config.write_text(content)
    files = (config, detector[1])
    status, _, error = run(images, tmp_path / "out", *TILES, files=files)
    assert status == 2 and "Traceback" not in error
    assert error.splitlines()[-1].startswith("error: ")


def test_broken_checkpoint_is_told_in_a_line(
    run: Run, detector: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "broken.pth"
    checkpoint.write_bytes(b"not a checkpoint")
    files = (detector[0], checkpoint)
    status, _, error = run(images, tmp_path / "out", *TILES, files=files)
    assert status == 2 and "Traceback" not in error
    assert error.splitlines()[-1].startswith("error: ")
