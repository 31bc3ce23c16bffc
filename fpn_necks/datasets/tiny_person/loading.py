"""Loading the tile of an image without decoding the image for every tile."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageTile(LoadImageFromFile):
    """Load the part of an image that ``corner`` names, or the image without one.

    The last images that tiles were cut from stay in memory, decoded. Where tiles of an
    image follow each other, as in testing, each image is decoded once per worker; each
    worker has a memory of its own. `TinyPersonDataset` puts this in the place of
    ``LoadImageFromFile``; write it into a pipeline to set `cache_size`.

    Required keys: img_path, corner (optional). Modified keys: img, img_shape and
    ori_shape, both (height, width) of the tile.

    Args:
        *args: Those of mmcv's ``LoadImageFromFile``.
        cache_size: Number of decoded images to remember, at least 0. One of 1920x1080
            takes 6 MB.
        **kwargs: Those of mmcv's ``LoadImageFromFile``.

    Raises:
        ValueError: `cache_size` is negative.
    """

    def __init__(self, *args: Any, cache_size: int = 2, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if cache_size < 0:
            raise ValueError(f"cache_size must be at least 0, got {cache_size}")
        self.cache_size = cache_size
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()

    @classmethod
    def like(cls, loader: LoadImageFromFile) -> LoadImageTile:
        """Make a tile loader that reads images as `loader` does."""
        return cls(
            to_float32=loader.to_float32,
            color_type=loader.color_type,
            imdecode_backend=loader.imdecode_backend,
            file_client_args=loader.file_client_args,
            ignore_empty=loader.ignore_empty,
            backend_args=loader.backend_args,
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Load the tile.

        Raises:
            FileNotFoundError: The image is not there, and `ignore_empty` is false.
            ValueError: The image does not contain the tile.
        """
        if results.get("corner") is None:
            return super().transform(results)
        image = self._whole_image(results["img_path"])
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

    def _whole_image(self, path: str) -> np.ndarray | None:
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        loaded = super().transform({"img_path": path})
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
        return f"{super().__repr__()[:-1]}, cache_size={self.cache_size})"
