"""Detection on folders of images; a run that was interrupted can go on."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg
from torchvision.ops import box_convert
from tqdm import tqdm

from fpn_necks.detectors import find_checkpoint, load_detector, read_image
from fpn_necks.io import write_image, write_json
from fpn_necks.messages import one_line
from fpn_necks.visualization.boxes import draw_detections

from .sliced import check_settings, detect_sliced

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def detect_folder(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    draw: bool = True,
    force: bool = False,
    device: str | None = None,
    batch_size: int = 4,
    config_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[int, int, dict[str, str]]:
    """Detect on the tiles of all images of a folder; write detections and pictures.

    Images with detections of the same model, checkpoint, options and file are not
    detected on again. An image that fails does not end the run.

    Args:
        config: see `load_detector`, like `checkpoint`, `device` and `config_options`.
        checkpoint: the detector's weights.
        images: an image, or a folder with subfolders.
        output: folder to write to, see `ResultFolder`.
        draw: write pictures.
        force: detect anew, and take a folder with other files.
        device: where the detector runs.
        batch_size: tiles at a time.
        config_options: overrides of config values.
        **options: of `detect_sliced`, but for those above.

    Returns:
        The number of images with detections, of this run and earlier ones; the number
        of these detections; and why images failed, by name.

    Raises:
        OSError: a file is not there, or the output cannot be written.
        ValueError: an option is out of range, or see `load_detector`, `find_images` and
            `ResultFolder`.
    """
    check_settings(batch_size=batch_size, **options)
    found, weights = find_images(images, output), find_checkpoint(checkpoint)
    model = load_detector(config, weights, device, config_options)
    detector = dict(model=model.cfg.model, pipeline=get_test_pipeline_cfg(model.cfg))
    settings = dict(
        config=_digest(str(detector).encode()),
        checkpoint=_digest(weights.read_bytes()),
        **options,
    )
    results = ResultFolder(Path(output), settings, force)
    options = dict(options, batch_size=batch_size)
    failures = {}
    # Where the output is a file every refresh is a line: make them few.
    pause = 0.1 if sys.stderr.isatty() else 15
    for name, path in tqdm(found.items(), unit="image", mininterval=pause):
        try:
            picture = results.picture(name)
            done = not force and results.load(name, path) is not None
            if done and (picture.exists() or not draw):
                continue
            image = read_image(path, model)
            sample = detect_sliced(model, image, **options)
            results.save(name, path, sample)
            if draw:
                write_image(picture, draw_detections(image, sample, model.dataset_meta))
        except Exception as error:  # loaders and models raise what they like
            failures[name] = one_line(error)
    return *results.write_coco(found, model.dataset_meta["classes"]), failures


def find_images(
    source: str | os.PathLike[str], output: str | os.PathLike[str]
) -> dict[str, Path]:
    """Find the images of a folder and its subfolders, or take the one file.

    Links are followed. Hidden files and folders, such as the ``._x.jpg`` that macOS
    leaves, are left out.

    Args:
        source: an image, whatever its suffix, or a folder of files with `SUFFIXES`.
        output: a folder whose files are no input.

    Returns:
        Path by name, sorted; names are relative to the folder, with slashes.

    Raises:
        FileNotFoundError: `source` is not there, or a folder without images.
        ValueError: `source` lies in `output`, whose files would replace it.
    """
    source, output = Path(source), Path(output).resolve()
    if not source.exists():
        raise FileNotFoundError(f"{source} is no image and no folder")
    if source.is_file():
        return {source.name: source}
    if source.resolve().is_relative_to(output):
        raise ValueError(
            f"the output must go to another folder than the images: {source}"
        )
    found = {}
    for folder, folders, files in os.walk(source, followlinks=True):
        inner = [name for name in folders if name[0] != "."]
        folders[:] = [name for name in inner if Path(folder, name).resolve() != output]
        for path in (Path(folder, name) for name in files if name[0] != "."):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                found[path.relative_to(source).as_posix()] = path
    if not found:
        raise FileNotFoundError(f"no images ({', '.join(SUFFIXES)}) in {source}")
    return dict(sorted(found.items()))


class ResultFolder:
    """Detections of images, one file each, their pictures, and COCO files of all.

    ``detections/NAME.json`` and ``drawn/NAME`` belong to the image NAME,
    ``images.json`` and ``detections.json`` to all. What is there is whole, and done.

    Args:
        root: the folder; it is made if needed.
        settings: JSON values that the detections depend on, in ``settings.json``.
        force: take any folder.

    Raises:
        ValueError: without `force`: it holds other files than ours, or results of other
            settings.
        OSError: the folder cannot be written.
    """

    def __init__(
        self, root: Path, settings: Mapping[str, Any], force: bool = False
    ) -> None:
        self.root = root
        self.settings = json.loads(json.dumps(settings))
        file = root / "settings.json"
        if not force and root.is_dir() and any(path != file for path in root.iterdir()):
            known = _read_object(file)
            for key, value in self.settings.items():
                if known.get(key) != value:
                    old, new = str(known.get(key))[:20], str(value)[:20]
                    raise ValueError(
                        f"{root} holds other files, or results of other settings "
                        f"({key}: {old}, now {new}); give a new folder, or --force to "
                        "detect anew"
                    )
        write_json(file, self.settings)

    def picture(self, name: str) -> Path:
        """Return the picture of an image."""
        path = self.root / "drawn" / name
        return path if path.suffix.lower() in SUFFIXES else Path(f"{path}.png")

    def load(self, name: str, path: Path) -> dict[str, Any] | None:
        """Return what `save` wrote in this or an earlier run, or None.

        A damaged record counts as none, as do those of other settings and of a file
        that has changed.
        """
        record = _read_object(self._record(name))
        return record if record.get("key") == self._key(path) else None

    def save(self, name: str, path: Path, sample: DetDataSample) -> None:
        """Write the detections on an image.

        That is the image's ``file_name``, ``width`` and ``height``, a ``key`` for
        `load`, and a list ``detections`` of ``bbox`` (x, y, width, height), ``score``
        and ``label``, the class's index.
        """
        height, width = sample.ori_shape
        found = sample.pred_instances
        boxes = box_convert(found.bboxes, "xyxy", "xywh")
        columns = boxes.tolist(), found.scores.tolist(), found.labels.tolist()
        record = dict(
            key=self._key(path),
            file_name=name,
            width=width,
            height=height,
            detections=[
                dict(bbox=box, score=score, label=label)
                for box, score, label in zip(*columns, strict=True)
            ],
        )
        # One of other detections must not stay.
        self.picture(name).unlink(missing_ok=True)
        write_json(self._record(name), record)

    def write_coco(
        self, paths: Mapping[str, Path], classes: Sequence[str]
    ) -> tuple[int, int]:
        """Write ``images.json`` and ``detections.json`` of the images that are done.

        The first is a COCO annotation file without annotations, the second COCO results
        for it. Image ids count `paths` from 1, category ids the classes. Returns the
        numbers of images and of detections.
        """
        images, results = [], []
        for image_id, (name, path) in enumerate(paths.items(), 1):
            if record := self.load(name, path):
                image = {k: record[k] for k in ("file_name", "width", "height")}
                images.append(dict(id=image_id, **image))
                for found in record["detections"]:
                    category = dict(category_id=found.pop("label") + 1)
                    results.append(dict(image_id=image_id, **category, **found))
        categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
        truth = dict(images=images, annotations=[], categories=categories)
        write_json(self.root / "images.json", truth)
        write_json(self.root / "detections.json", results)
        return len(images), len(results)

    def _record(self, name: str) -> Path:
        return self.root / "detections" / f"{name}.json"

    def _key(self, path: Path) -> str:
        status = path.stat()
        file = [status.st_size, status.st_mtime_ns]
        return _digest(json.dumps([self.settings, file], sort_keys=True).encode())


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    # A disk may lose what was written.
    except (FileNotFoundError, RecursionError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
