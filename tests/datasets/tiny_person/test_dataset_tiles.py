"""TinyPersonDataset in tiles: pixels, boxes, metainfo, and the json of the tiles."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.visualization import DetLocalVisualizer
from mmengine.dataset import Compose
from mmengine.structures import InstanceData

from fpn_necks.datasets import SyntheticTinyPerson
from fpn_necks.datasets.tiny_person import TileSettings, read_coco, tile_coco

from .conftest import write
from .test_dataset import TESTING, TILES, TRAINING, build


class RenamedLoader(LoadImageFromFile):
    """A subclass, as users write them."""


class WholeImage(BaseTransform):
    """Knows neither tiles nor LoadImageFromFile."""

    def transform(self, results: dict) -> dict:
        results["img"] = cv2.imread(results["img_path"])
        results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
        return results


class TestTiles:
    def test_equal_those_of_a_file(
        self, drawn: SyntheticTinyPerson, tmp_path: Path
    ) -> None:
        on_the_fly = build(drawn, tiles=TILES)
        written = tmp_path / "tiles.json"
        tiled, _ = tile_coco(
            read_coco(drawn.train.annotation_file), TileSettings(**TILES)
        )
        write(written, tiled)
        of_file = build(drawn, ann_file=str(written))
        assert len(on_the_fly) == len(of_file) > 9
        for k in range(len(of_file)):
            assert on_the_fly.get_data_info(k) == of_file.get_data_info(k)

    def test_pixels_and_metainfo(self, drawn: SyntheticTinyPerson) -> None:
        pipeline = [step for step in TRAINING if step["type"] != "RandomFlip"]
        dataset = build(drawn, "val", tiles=TILES, pipeline=pipeline)
        for k in range(len(dataset)):
            data, info = dataset[k], dataset.get_data_info(k)
            x1, y1, x2, y2 = info["corner"]
            whole = cv2.imread(info["img_path"])
            assert whole.shape == (240, 320, 3)
            tile = data["inputs"].permute(1, 2, 0).numpy()
            assert np.array_equal(tile, whole[y1:y2, x1:x2])
            sample = data["data_samples"]
            assert sample.corner == [x1, y1, x2, y2]
            assert sample.ori_shape == (y2 - y1, x2 - x1) == (128, 160)
            assert sample.img_id == info["img_id"]

    def test_resized_and_whatever_the_meta_keys(
        self, drawn: SyntheticTinyPerson
    ) -> None:
        sample = build(drawn, "val", tiles=TILES)[1]["data_samples"]
        assert sample.scale_factor == (2.0, 2.0)
        assert sample.ori_shape == (128, 160)
        assert sample.corner == [140, 0, 300, 128]
        assert "corner" not in build(drawn)[0]["data_samples"]  # a whole image

    def test_a_loader_of_the_users_stays(self, drawn: SyntheticTinyPerson) -> None:
        own = dict(type="LoadImageTile", cache_size=7, to_float32=True)
        dataset = build(drawn, pipeline=[own, *TRAINING[1:]], tiles=TILES)
        assert dataset.pipeline.transforms[0].cache_size == 7
        assert dataset[0]["inputs"].is_floating_point()

    @pytest.mark.parametrize(
        "kind", ["subclass", "nested", "branches", "augmented", "exchanged"]
    )
    def test_every_loader_cuts(self, drawn: SyntheticTinyPerson, kind: str) -> None:
        flips = [dict(type="RandomFlip", prob=p) for p in (0.0, 1.0)]
        nested = [dict(type="RandomChoice", transforms=[TRAINING[:1]]), *TRAINING[1:]]
        pipeline = dict(
            subclass=[dict(type=RenamedLoader), *TRAINING[1:]],
            nested=nested,
            branches=[dict(type="MultiBranch", branch_field=["a", "b"], a=TRAINING)],
            augmented=[
                TRAINING[0],
                dict(
                    type="TestTimeAug", transforms=[flips, TRAINING[1:2], TESTING[-1:]]
                ),
            ],
            exchanged=TRAINING,
        )[kind]
        dataset = build(drawn, tiles=TILES, pipeline=pipeline)
        if kind == "exchanged":
            dataset.pipeline = Compose(TRAINING)  # as PipelineSwitchHook does
        data, info = dataset[1], dataset.get_data_info(1)
        inputs, sample = data["inputs"], data["data_samples"]
        if kind == "branches":
            assert inputs["b"] is None and sample["b"] is None
            inputs, sample = inputs["a"], sample["a"]
        if kind == "augmented":
            assert len(sample) == 2 and sample[0].corner == info["corner"]
            inputs, sample = inputs[1], sample[1]
        assert inputs.shape == (3, 128, 160) == (3, *sample.ori_shape)
        assert sample.corner == info["corner"]

    def test_loaders_that_do_not_cut_are_refused(
        self, drawn: SyntheticTinyPerson
    ) -> None:
        own = [dict(type=WholeImage), *TRAINING[1:]]
        with pytest.raises(ValueError, match="320x240 pixels .* does not cut tiles"):
            build(drawn, tiles=TILES, pipeline=own)[0]
        with pytest.raises(ValueError, match="does not cut tiles"):
            build(drawn, tiles=TILES, pipeline=own[:2])[0]

    def test_drawn_as_tiles_under_own_names(
        self, drawn: SyntheticTinyPerson, tmp_path: Path
    ) -> None:
        """What ``test.py --show-dir`` does, on tiles of two images."""
        meta = ("img_id", "img_path", "ori_shape", "scale_factor")
        pack = dict(type="PackDetInputs", meta_keys=meta)
        dataset = build(drawn, "val", tiles=TILES, pipeline=[*TESTING[:2], pack])
        visualizer = DetLocalVisualizer.get_instance("tiles")
        visualizer.dataset_meta = dataset.metainfo
        hook = DetVisualizationHook(draw=True, test_out_dir="shown")
        runner = SimpleNamespace(work_dir=str(tmp_path), timestamp="now", iter=0)
        names = set()
        for k in (0, 1, 9):
            sample, info = dataset[k]["data_samples"], dataset.get_data_info(k)
            x1, y1, x2, y2 = info["corner"]
            tile = cv2.imread(info["img_path"])[y1:y2, x1:x2]
            assert np.array_equal(mmcv.imread(sample.img_path), tile)
            nothing = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
            sample.pred_instances = InstanceData(**nothing, scores=torch.zeros(0))
            hook.test_out_dir = "shown"
            hook.after_test_iter(runner, k, None, [sample])
            names.add(Path(sample.img_path).name)
        drawn_files = {path.name: path for path in tmp_path.rglob("*.png")}
        assert set(drawn_files) == names and len(names) == 3
        assert cv2.imread(str(drawn_files[names.pop()])).shape[1] < 640


class TestSaveTiles:
    def test_has_the_ids_of_the_set(
        self, drawn: SyntheticTinyPerson, tmp_path: Path
    ) -> None:
        dataset = build(
            drawn, tiles=TILES, filter_cfg=dict(filter_empty_gt=True), indices=9
        )
        path = tmp_path / "new" / "tiles.json"
        dataset.save_tiles(path)
        written = {image["id"]: image for image in read_coco(path)["images"]}
        infos = [dataset.get_data_info(k) for k in range(9)]
        assert list(written) == [info["img_id"] for info in infos]
        for info in infos:
            tile = written[info["img_id"]]
            assert tile["corner"] == info["corner"]
            assert info["img_path"].endswith(tile["file_name"])
        boxes = Counter(a["image_id"] for a in read_coco(path)["annotations"])
        assert boxes == {i["img_id"]: len(i["instances"]) for i in infos}
        with pytest.raises(FileExistsError):
            dataset.save_tiles(path)
        dataset.save_tiles(path, overwrite=True)
        with pytest.raises(ValueError, match="tiles.json with tiles=.*cut already"):
            build(drawn, ann_file=str(path), tiles=TILES)
        with pytest.raises(ValueError, match="holds whole images"):
            build(drawn).save_tiles(tmp_path / "a.json")
