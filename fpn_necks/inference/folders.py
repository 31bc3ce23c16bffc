"""A folder of results that is filled image by image and can be filled further."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from fpn_necks.whole_files import is_same_file, write_bytes

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FIELDS = {"file_name", "width", "height", "detections"}


def find_images(source: Path, output: Path) -> dict[str, Path]:
    """Find the images of a folder and its subfolders, or take the one file.

    Args:
        source: an image, whatever its suffix, or a folder of files with `SUFFIXES`.
        output: a folder whose files are no input.

    Returns:
        Path by name, sorted; names are relative to the folder, with slashes.

    Raises:
        FileNotFoundError: `source` is not there, or a folder without images.
        ValueError: `source` is `output`.
    """
    if source.is_file():
        return {source.name: source}
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is no image and no folder")
    output = output.resolve()
    if source.resolve() == output:
        raise ValueError(
            f"the output must go to another folder than the images: {source}"
        )
    found = {
        path.relative_to(source).as_posix(): path
        for path in source.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and output not in path.resolve().parents
    }
    if not found:
        raise FileNotFoundError(f"no images ({', '.join(SUFFIXES)}) in {source}")
    return dict(sorted(found.items()))


def refuse_overwriting(images: Mapping[str, Path], output: Path) -> None:
    """See to it that no image would be overwritten by its own results.

    Args:
        images: path by name, from `find_images`.
        output: root of the `ResultFolder` for them.

    Raises:
        ValueError: a result of an image would be written over an image.
    """
    for name, path in images.items():
        for written in (_record_file(output, name), _picture_file(output, name)):
            if is_same_file(written, path):
                raise ValueError(
                    f"the results of {path} would overwrite it: give another output "
                    f"folder than {output}"
                )


class ResultFolder:
    """Detections of images, one file each, their pictures, and COCO files of all.

    ``detections/NAME.json`` and ``drawn/NAME`` belong to the image NAME,
    ``images.json`` and ``detections.json`` to all. Files appear whole or not at all, so
    that what is there after an interruption is done.

    Args:
        root: the folder; it is made if needed.
        names: of the images that are to be detected on.
        settings: JSON values that the detections depend on, in ``settings.json``.
        force: forget the detections on `names` that are there, and take any folder.

    Raises:
        ValueError: without `force`: the folder holds other files than ours, or results
            of other settings.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        settings: Mapping[str, Any],
        force: bool = False,
    ) -> None:
        self.root = root
        self.names = tuple(names)
        file = root / "settings.json"
        if not force:
            _require_same_settings(root, file, settings)
        for name in self.names if force else ():
            for path in (self._record(name), self._picture(name)):
                path.unlink(missing_ok=True)
        write_bytes(file, _to_json(settings))

    def load(self, name: str) -> dict[str, Any] | None:
        """Return what `save` returned in this or an earlier run, or None.

        A damaged record counts as none.
        """
        try:
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (RecursionError, ValueError):  # a disk may lose what was written
            return None
        whole = isinstance(record, dict) and _FIELDS <= record.keys()
        return record if whole else None

    def save(self, name: str, sample: DetDataSample) -> dict[str, Any]:
        """Write the detections on an image; return what was written.

        That is the image's ``file_name``, ``width`` and ``height`` and a list
        ``detections`` of ``bbox`` (x, y, width, height), ``score`` and ``label``, the
        class's index.
        """
        height, width = sample.ori_shape
        found = sample.pred_instances
        rows = zip(
            found.bboxes.tolist(),
            found.scores.tolist(),
            found.labels.tolist(),
            strict=True,
        )
        detections = [
            dict(bbox=[x1, y1, x2 - x1, y2 - y1], score=score, label=label)
            for (x1, y1, x2, y2), score, label in rows
        ]
        record = dict(file_name=name, width=width, height=height, detections=detections)
        write_bytes(self._record(name), _to_json(record))
        return record

    def has_picture(self, name: str) -> bool:
        """Tell whether `save_picture` has done its work."""
        return self._picture(name).exists()

    def save_picture(self, name: str, picture: np.ndarray) -> None:
        """Write a picture, `(height, width, 3)` uint8 in BGR, in its image's format.

        Raises:
            ValueError: the format cannot hold it.
        """
        path = self._picture(name)
        done, content = cv2.imencode(path.suffix, picture)
        if not done:
            raise ValueError(f"{path.suffix} cannot hold {picture.shape[:2]} pixels")
        write_bytes(path, content.tobytes())

    def write_coco(self, classes: Sequence[str]) -> tuple[int, int]:
        """Write ``images.json`` and ``detections.json`` of the images that are done.

        The first is a COCO annotation file without annotations, the second COCO results
        for it. Image ids count `names` from 1, category ids the classes.

        Returns:
            Numbers of images and of detections.
        """
        images, results = [], []
        for image_id, record in self._numbered_records():
            detections = record.pop("detections")
            images.append(dict(id=image_id, **record))
            for found in detections:
                category = found.pop("label") + 1
                results.append(dict(image_id=image_id, category_id=category, **found))
        categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
        annotations = dict(images=images, annotations=[], categories=categories)
        write_bytes(self.root / "images.json", _to_json(annotations))
        write_bytes(self.root / "detections.json", _to_json(results))
        return len(images), len(results)

    def _numbered_records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for image_id, name in enumerate(self.names, 1):
            record = self.load(name)
            if record is not None:
                yield image_id, record

    def _record(self, name: str) -> Path:
        return _record_file(self.root, name)

    def _picture(self, name: str) -> Path:
        return _picture_file(self.root, name)


def to_sample(record: Mapping[str, Any]) -> DetDataSample:
    """Turn what `ResultFolder` saved into a sample again."""
    detections = record["detections"]
    boxes = torch.tensor([found["bbox"] for found in detections]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    shape = (record["height"], record["width"])
    return DetDataSample(
        metainfo=dict(ori_shape=shape, img_shape=shape),
        pred_instances=InstanceData(
            bboxes=boxes,
            scores=torch.tensor([found["score"] for found in detections]),
            labels=torch.tensor(
                [found["label"] for found in detections], dtype=torch.long
            ),
        ),
    )


def _record_file(root: Path, name: str) -> Path:
    return root / "detections" / f"{name}.json"


def _picture_file(root: Path, name: str) -> Path:
    path = root / "drawn" / name
    return path if path.suffix.lower() in SUFFIXES else Path(f"{path}.png")


def _require_same_settings(root: Path, file: Path, settings: Mapping[str, Any]) -> None:
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file, not a folder")
    if not file.exists():
        if root.is_dir() and any(root.iterdir()):
            raise ValueError(
                f"{root} holds files of something else; give a new folder, or --force "
                "to write there all the same"
            )
        return
    try:
        known = json.loads(file.read_text())
    except (RecursionError, ValueError):
        known = {}
    wanted = json.loads(_to_json(settings))
    known = known if isinstance(known, dict) else {}
    if known.keys() == wanted.keys() and list(root.iterdir()) == [file]:
        return  # of a run that failed before it detected anything
    different = [key for key in wanted if known.get(key) != wanted[key]]
    if different:
        key = different[0]
        raise ValueError(
            f"{root} holds results of other settings ({key}: {known.get(key)}, now "
            f"{wanted[key]}); give another folder, or --force to detect anew"
        )


def _to_json(content: Any) -> bytes:
    return (json.dumps(content) + "\n").encode()
