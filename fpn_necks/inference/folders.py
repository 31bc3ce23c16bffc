"""Detection on folders of images; a run that was interrupted can go on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torchvision.ops import box_convert
from tqdm import tqdm

from fpn_necks.detectors import find_checkpoint, load_detector, read_image
from fpn_necks.io import is_same_file, write_image, write_json
from fpn_necks.messages import one_line
from fpn_necks.visualization.boxes import draw_detections

from .sliced import check_settings, detect_sliced

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class FolderResult(NamedTuple):
    """What became of the images of a folder.

    Attributes:
        images: how many have detections, of this run and earlier ones.
        detections: how many there are.
        failures: name of an image, as it can be printed -> why it failed.
    """

    images: int
    detections: int
    failures: dict[str, str]


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
    progress: bool = False,
    config_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> FolderResult:
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
        progress: show bars on the standard error output.
        config_options: overrides of config values.
        **options: of `detect_sliced`, but for those above.

    Raises:
        OSError: a file is not there, or the output cannot be written.
        ValueError: an option is out of range, or see `load_detector`, `find_images` and
            `ResultFolder`.
    """
    check_settings(batch_size=batch_size, **options)
    root = Path(output).expanduser()
    found = find_images(images, root)
    refuse_overwriting(found, root)
    weights = find_checkpoint(checkpoint)
    model = load_detector(config, weights, device, config_options)
    detector = dict(model=model.cfg.model, pipeline=get_test_pipeline_cfg(model.cfg))
    settings = dict(
        config=_digest(str(detector).encode()),
        checkpoint=_digest(weights.read_bytes()),
        **options,
    )
    results = ResultFolder(root, settings, force)
    options = dict(options, batch_size=batch_size)
    failures = {}
    # Where the output is a file every refresh is a line: make them few.
    is_terminal = sys.stderr.isatty()
    pause = 0.1 if is_terminal else 15
    bar = tqdm(found.items(), unit="image", mininterval=pause, disable=not progress)
    for name, path in bar:
        try:
            record = None if force else results.load(name, path)
            picture = _picture_file(root, name)
            if record is not None and (picture.exists() or not draw):
                continue
            image = read_image(path, model)
            if record is None:
                sample = detect_sliced(
                    model, image, progress=progress and is_terminal, **options
                )
                record = results.save(name, path, sample)
            if draw:
                sample = to_sample(record)
                write_image(picture, draw_detections(image, sample, model.dataset_meta))
        except Exception as error:  # loaders and models raise what they like
            failures[_printable(name)] = _printable(one_line(error))
    counts = results.write_coco(found, model.dataset_meta["classes"])
    return FolderResult(*counts, failures)


def find_images(
    source: str | os.PathLike[str], output: str | os.PathLike[str]
) -> dict[str, Path]:
    """Find the images of a folder and its subfolders, or take the one file.

    Links are followed, but not to a folder that they lie in. Hidden files and folders,
    such as the ``._x.jpg`` that macOS leaves, are left out; a warning names them.

    Args:
        source: an image, whatever its suffix, or a folder of files with `SUFFIXES`.
        output: a folder whose files are no input.

    Returns:
        Path by name, sorted; names are relative to the folder, with slashes.

    Raises:
        FileNotFoundError: `source` is not there, or a folder without images.
        ValueError: `source` is `output`.
    """
    source, output = Path(source).expanduser(), Path(output).expanduser().resolve()
    if source.is_file():
        return {source.name: source}
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is no image and no folder")
    if source.resolve() == output:
        raise ValueError(
            f"the output must go to another folder than the images: {source}"
        )
    found = {
        path.relative_to(source).as_posix(): path
        for path in _files_in(source, (output,))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    }
    hidden = sorted(name for name in found if name[0] == "." or "/." in name)
    if hidden:
        names = ", ".join(hidden[:3]) + (", ..." if len(hidden) > 3 else "")
        text = f"{len(hidden)} hidden files in {source} are left out: {names}"
        print_log(_printable(text), "current", logging.WARNING)
    found = {name: found[name] for name in sorted(found) if name not in hidden}
    if not found:
        raise FileNotFoundError(f"no images ({', '.join(SUFFIXES)}) in {source}")
    return found


def _files_in(folder: Path, closed: tuple[Path, ...]) -> Iterator[Path]:
    """Walk a folder, by links too, but into none of the real folders `closed`."""
    real = folder.resolve()
    if real not in closed:
        for path in folder.iterdir():
            if path.is_dir():
                yield from _files_in(path, (*closed, real))
            else:
                yield path


def refuse_overwriting(images: Mapping[str, Path], root: Path) -> None:
    """Raise a ValueError if a result of an image would be written over it."""
    for name, path in images.items():
        results = _record_file(root, name), _picture_file(root, name)
        if any(is_same_file(written, path) for written in results):
            raise ValueError(
                f"the results of {path} would overwrite it: give another output "
                f"folder than {root}"
            )


class ResultFolder:
    """Detections of images, one file each, their pictures, and COCO files of all.

    ``detections/NAME.json`` and ``drawn/NAME`` belong to the image NAME,
    ``images.json`` and ``detections.json`` to all. What is there is whole, and done.

    Args:
        root: the folder; it is made if needed.
        settings: JSON values that the detections depend on, in ``settings.json``.
        force: take any folder.

    Raises:
        ValueError: it is a file; or without `force`: it holds other files than ours, or
            results of other settings.
        OSError: the folder cannot be written.
    """

    def __init__(
        self, root: Path, settings: Mapping[str, Any], force: bool = False
    ) -> None:
        if root.exists() and not root.is_dir():
            raise ValueError(f"{root} is a file, not a folder")
        self.root = root
        self.settings = json.loads(json.dumps(settings))
        file = root / "settings.json"
        others = {*root.iterdir()} - {file} if root.is_dir() and not force else ()
        known = _read_object(file)
        changed = [k for k, v in self.settings.items() if known.get(k) != v]
        fault = None
        if others and not file.exists():
            fault = "files of something else"
        elif others and changed:
            key, what = changed[0], "it has changed"
            if key not in ("config", "checkpoint"):
                what = f"{known.get(key)}, now {self.settings[key]}"
            fault = f"results of other settings ({key}: {what})"
        if fault:
            raise ValueError(
                f"{root} holds {fault}; give a new folder, or --force to detect anew"
            )
        write_json(file, self.settings)

    def load(self, name: str, path: Path) -> dict[str, Any] | None:
        """Return what `save` returned in this or an earlier run, or None.

        A damaged record counts as none, as do those of other settings and of a file
        that has changed.
        """
        record = _read_object(_record_file(self.root, name))
        return record if record.get("key") == self._key(path) else None

    def save(self, name: str, path: Path, sample: DetDataSample) -> dict[str, Any]:
        """Write the detections on an image; return what was written.

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
        _picture_file(self.root, name).unlink(missing_ok=True)
        write_json(_record_file(self.root, name), record)
        return record

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

    def _key(self, path: Path) -> str:
        status = path.stat()
        file = [status.st_size, status.st_mtime_ns]
        return _digest(json.dumps([self.settings, file], sort_keys=True).encode())


def to_sample(record: Mapping[str, Any]) -> DetDataSample:
    """Turn what `ResultFolder` saved into a sample again."""
    boxes, scores, labels = (
        torch.tensor([found[key] for found in record["detections"]])
        for key in ("bbox", "score", "label")
    )
    boxes = box_convert(boxes.reshape(-1, 4), "xywh", "xyxy")
    found = InstanceData(bboxes=boxes, scores=scores, labels=labels.long())
    return DetDataSample(pred_instances=found)


def _record_file(root: Path, name: str) -> Path:
    return root / "detections" / f"{name}.json"


def _picture_file(root: Path, name: str) -> Path:
    path = root / "drawn" / name
    return path if path.suffix.lower() in SUFFIXES else Path(f"{path}.png")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    # A disk may lose what was written.
    except (FileNotFoundError, RecursionError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _printable(text: str) -> str:
    # Names of files may be bytes that are no UTF-8.
    return text.encode(errors="backslashreplace").decode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
