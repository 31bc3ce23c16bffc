"""Training on the tiles of an image together, so that it is decoded once."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sized

import torch
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from fpn_necks.layers.arguments import check_int


@DATA_SAMPLERS.register_module()
class TileSampler(Sampler):
    """Draw images in random order and, of each, its tiles in random order.

    Some images are open at once and give their tiles in turn, so that a batch holds
    tiles of different images. With `open_images` = batch size x workers each image is
    decoded once an epoch; ``DefaultSampler`` decodes it for every tile.

    Each process gets a part of the images; one on the border of two parts is decoded
    by both. The order follows from seed and epoch alone, so that a resumed training
    sees the same. It also serves ``IterBasedTrainLoop``.

    Args:
        dataset: `TinyPersonDataset` or another whose ``get_data_info`` has
            ``img_path``; an image without tiles counts as one tile.
        open_images: Images whose tiles alternate in a process, at least 1: batch size
            x ``num_workers`` of the data loader (the batch size without workers).
        seed: The same on all processes; None: drawn and exchanged.

    Raises:
        ValueError: `open_images` is below 1.
    """

    def __init__(
        self,
        dataset: Sized,
        open_images: int = 4,
        seed: int | None = None,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.open_images = check_int("open_images", open_images)
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        images: dict[str, list[int]] = defaultdict(list)
        for index in range(len(dataset)):
            images[dataset.get_data_info(index)["img_path"]].append(index)
        self.images = list(images.values())
        self.num_samples = math.ceil(len(dataset) / self.world_size)

    def __iter__(self) -> Iterator[int]:
        draws = torch.Generator()
        draws.manual_seed(self.seed + self.epoch)
        images = [
            [image[i] for i in torch.randperm(len(image), generator=draws).tolist()]
            for image in self.images
        ]
        order = torch.randperm(len(images), generator=draws).tolist()
        # With the number of the image, so that the parts of one do not run together.
        flat = [(k, index) for k in order for index in images[k]]
        start = self.rank * self.num_samples
        own = flat[start : start + self.num_samples]
        # The first indices are repeated, so that every process gets the same number.
        own += itertools.islice(itertools.cycle(flat), self.num_samples - len(own))
        groups = itertools.groupby(own, key=lambda entry: entry[0])
        parts = ([index for _, index in group] for _, group in groups)
        turns = [part[::-1] for part in itertools.islice(parts, self.open_images)]
        while turns:
            for turn in turns:
                yield turn.pop()
                if not turn:
                    turn += next(parts, [])[::-1]
            turns = [turn for turn in turns if turn]

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Change the order with the epoch."""
        self.epoch = epoch
