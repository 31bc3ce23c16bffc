"""Loading the tile of an image without decoding the image for every tile."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine.fileio import BaseStorageBackend, register_backend

from fpn_necks.layers.arguments import check_int


@TRANSFORMS.register_module()
class LoadImageTile(LoadImageFromFile):
    """Load the part of an image that ``corner`` names, or the image without one.

    The last images that tiles were cut from stay in memory, decoded. Where tiles of an
    image follow each other, as in testing and with `TileSampler`, each image is decoded
    once per worker; each worker has a memory of its own. `TinyPersonDataset` puts this
    around every ``LoadImageFromFile`` and subclass of it; write it into a pipeline to
    set `cache_size`.

    Required keys: img_path, corner (optional). Modified keys: img, img_shape and
    ori_shape, both (height, width) of the tile.

    Args:
        *args: Those of mmcv's ``LoadImageFromFile``.
        cache_size: Number of decoded images to remember, at least 0. One of 1920x1080
            takes 6 MB. A batch whose tiles are of different images needs as many.
        loader: Loads whole images; None: ``LoadImageFromFile`` with the arguments.
        **kwargs: Those of mmcv's ``LoadImageFromFile``.

    Raises:
        ValueError: `cache_size` is negative.
    """

    def __init__(
        self,
        *args: Any,
        cache_size: int = 8,
        loader: LoadImageFromFile | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.cache_size = check_int("cache_size", cache_size, minimum=0)
        self.loader = loader or LoadImageFromFile(*args, **kwargs)
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Load the tile.

        Raises:
            FileNotFoundError: The image is not there, and `ignore_empty` is false.
            ValueError: The image does not contain the tile.
        """
        if results.get("corner") is None:
            return self.loader.transform(results)
        image = self._whole_image(results)
        if image is None:
            return None
        x1, y1, x2, y2 = results["corner"]
        height, width = image.shape[:2]
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise ValueError(
                f"{results['img_path']} is {width}x{height} and does not contain the "
                f"tile {[x1, y1, x2, y2]}: it is not the image that was annotated"
            )
        # A copy: later transforms may write into it, and the memory stays clean.
        results["img"] = image[y1:y2, x1:x2].copy()
        results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
        return results

    def _whole_image(self, results: dict[str, Any]) -> np.ndarray | None:
        path = results["img_path"]
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        loaded = self.loader.transform(dict(results))
        if loaded is None:
            return None
        self._cache[path] = loaded["img"]
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        return loaded["img"]

    def __getstate__(self) -> dict[str, Any]:
        # Copies and spawned workers start with an empty memory.
        return self.__dict__ | {"_cache": OrderedDict()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loader}, cache_size={self.cache_size})"


def use_tile_loaders(pipeline: Any) -> None:
    """Puts `LoadImageTile` around the loaders of a pipeline, however deep they are."""
    if isinstance(pipeline, dict | list):
        places = pipeline.items() if isinstance(pipeline, dict) else enumerate(pipeline)
        for place, transform in list(places):
            if not isinstance(transform, LoadImageFromFile):
                use_tile_loaders(transform)
            elif not isinstance(transform, LoadImageTile):
                pipeline[place] = LoadImageTile(loader=transform)
        return
    # Compose, RandomChoice, TestTimeAug, ... and mmdet's MultiBranch.
    for name in ("transforms", "branch_pipelines"):
        inner = getattr(pipeline, name, None)
        if inner is not None:
            use_tile_loaders(inner)


def tile_address(path: str, corner: Sequence[int]) -> str:
    """Returns an address of a tile that mmengine's ``get`` and mmcv's ``imread`` read.

    Its last part is the tile's own name, under which mmdet's hook and browse_dataset
    write their pictures.
    """
    if "://" in path:
        return path
    name = PurePosixPath(path)
    numbers = "_".join(map(str, corner))
    return f"tile://{name.with_name(f'{name.stem}_{numbers}{name.suffix}')}"


class TileBackend(BaseStorageBackend):
    """Reads tiles by their `tile_address`, as PNG."""

    _NAME = re.compile(r"tile://(.*)_(\d+)_(\d+)_(\d+)_(\d+)(\.[^./]*)?", re.DOTALL)

    def get(self, filepath: str) -> bytes:
        """Return the encoded tile."""
        stem, *corner, suffix = self._NAME.fullmatch(str(filepath)).groups("")
        x1, y1, x2, y2 = map(int, corner)
        content = np.frombuffer(Path(f"{stem}{suffix}").read_bytes(), np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
        return cv2.imencode(".png", image[y1:y2, x1:x2])[1].tobytes()

    def get_text(self, filepath: str, encoding: str = "utf-8") -> str:
        """Refuse: a tile is no text."""
        raise NotImplementedError(f"{filepath} is an image")


register_backend("tile", TileBackend, force=True, prefixes="tile")
