"""TileSampler: every tile once, each image decoded once, in several processes."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from mmdet.registry import DATA_SAMPLERS
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from fpn_necks.datasets import SyntheticTinyPerson
from fpn_necks.datasets.tiny_person import TileSampler, sampler

from .test_dataset import TILES, build


class Tiles:
    """Images of 5, 6, 7, ... tiles by their paths alone."""

    def __init__(self, images: int) -> None:
        self.paths = [f"{k}.jpg" for k in range(images) for _ in range(5 + k)]

    def __len__(self) -> int:
        return len(self.paths)

    def get_data_info(self, index: int) -> dict:
        return dict(img_path=self.paths[index])


def of_rank(monkeypatch, rank: int, world_size: int, dataset) -> TileSampler:
    monkeypatch.setattr(sampler, "get_dist_info", lambda: (rank, world_size))
    return TileSampler(dataset, seed=3)


@pytest.mark.parametrize("open_images", [1, 3, 40])
def test_every_tile_once_and_other_orders(open_images: int) -> None:
    dataset = Tiles(6)
    made = DATA_SAMPLERS.build(
        dict(type="TileSampler", open_images=open_images, seed=0),
        default_args=dict(dataset=dataset),
    )
    first, again = list(made), list(made)
    assert sorted(first) == list(range(len(dataset))) and len(made) == len(first)
    assert first == again != sorted(first)
    made.set_epoch(1)
    assert sorted(second := list(made)) == sorted(first) and second != first
    # A resumed training: a new sampler, the same epoch.
    resumed = TileSampler(dataset, open_images, seed=0)
    resumed.set_epoch(1)
    assert list(resumed) == second


def test_images_stay_together() -> None:
    dataset = Tiles(6)
    paths = [dataset.paths[i] for i in TileSampler(dataset, 1, seed=1)]
    assert len(list(groupby(paths))) == 6
    # Four at once: each image has a place of its own in batches of two.
    turns = [dataset.paths[i] for i in TileSampler(dataset, 4, seed=1)][:20]
    assert all(len(set(turns[k::4])) == 1 for k in range(4))
    assert len(set(turns)) == 4


def test_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Tiles(7)
    samplers = [of_rank(monkeypatch, rank, 3, dataset) for rank in range(3)]
    parts = [list(made) for made in samplers]
    assert [len(made) for made in samplers] == list(map(len, parts))
    seen = Counter(index for part in parts for index in part)
    assert set(seen) == set(range(len(dataset)))
    assert sum(seen.values()) == 57 and len(dataset) == 56
    images = [{dataset.paths[i] for i in part} for part in parts]
    assert sum(map(len, images)) <= 7 + 3  # at most those on a border twice


def test_each_image_is_decoded_once(
    drawn: SyntheticTinyPerson, decoded: list[None]
) -> None:
    dataset = build(drawn, tiles=TILES, drop_dense=False)
    dataset.pipeline.transforms[0].cache_size = 2
    order = TileSampler(dataset, open_images=2, seed=0)
    options = dict(batch_size=2, sampler=order, collate_fn=pseudo_collate)
    assert len(list(DataLoader(dataset, **options))) == 32
    assert len(dataset) == 63 and len(decoded) == 7


def test_open_images() -> None:
    with pytest.raises(ValueError, match="open_images must be at least 1, got 0"):
        TileSampler(Tiles(1), 0)
