"""The configs for tiny people: from a drawn set to the benchmark's numbers."""

import json
import math
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from fpn_necks.config_tools import value_at
from fpn_necks.datasets import SyntheticTinyPerson, generate
from fpn_necks.datasets.tiny_person import TileSettings
from fpn_necks.evaluation import evaluate_tiny_person
from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.shipped_configs import list_configs
from tests.tiny_detectors import load_config, shrink

register_all_modules()
RELEASED_TILES = TileSettings((640, 512), (50, 50), keep=0.7, cut_boxes="drop")
TINY_PERSON = [
    Path(name).stem for name in list_configs() if name.endswith("_tinyperson.py")
]
# Of one stage, of two, and on whole images; tests/test_configs.py trains the others.
FAMILIES = [
    "retinanet_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson",
    "faster-rcnn_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson",
    "retinanet_r50_s-alpha-fpn_1xb2-1x_tinycitypersons",
]
PRE_TRAINED = [name for name in TINY_PERSON if "sm-1x" in name]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> SyntheticTinyPerson:
    return generate(
        tmp_path_factory.mktemp("drawn") / "set",
        num_train=4,
        num_val=2,
        image_size=(160, 128),
        size_range=(4, 20),
        people_per_image=(4, 8),
        dense_fraction=0.25,
        ignore_fraction=0.2,
        seed=1,
        progress=False,
    )


def small_run(name: str, drawn: SyntheticTinyPerson, folder: Path) -> Config:
    """Return a config that trains one epoch of a narrow detector on the drawn set."""
    config = shrink(load_config(name), num_classes=1)
    for split, part in zip(
        ("train", "val", "test"), (drawn.train, drawn.val, drawn.val), strict=True
    ):
        loader = config[f"{split}_dataloader"]
        loader.num_workers, loader.persistent_workers = 0, False
        loader.dataset.data_root = None
        loader.dataset.ann_file = str(part.annotation_file)
        loader.dataset.data_prefix = dict(img=str(part.image_dir))
        if loader.dataset.tiles is not None:
            loader.dataset.tiles |= dict(size=(96, 96), overlap=(24, 24))
        if split != "train":
            evaluator = config[f"{split}_evaluator"]
            evaluator.ann_file = str(part.annotation_file)
            evaluator.tiles = loader.dataset.tiles
            evaluator.outfile_prefix = str(folder / "found")
    config.train_cfg.max_epochs = 1
    config.work_dir = str(folder / "run")
    config.visualizer.vis_backends = []
    config.randomness = dict(seed=0)
    test = config.model.test_cfg
    # An untrained network is never sure.
    test.get("rcnn", test).update(score_thr=0.0, max_per_img=20)
    return config


@pytest.mark.parametrize("name", FAMILIES)
def test_an_epoch_ends_in_the_benchmarks_numbers(
    name: str, drawn: SyntheticTinyPerson, tmp_path: Path
) -> None:
    config = small_run(name, drawn, tmp_path)
    runner = Runner.from_cfg(config)
    runner.train()
    dataset = runner.train_dataloader.dataset
    assert runner.iter == math.ceil(len(dataset) / 2) > 0
    whole = json.loads(drawn.train.annotation_file.read_text())["images"]
    names = {
        Path(dataset.get_data_info(i)["img_path"]).name for i in range(len(dataset))
    }
    assert names == {i["file_name"] for i in whole if not i["in_dense_image"]}
    assert drawn.train.dense_images > 0
    for factor in runner.model.modules():
        assert not isinstance(factor, StatisticFusionFactor) or factor.is_set

    found = runner.test()
    assert all(0 <= found[f"tiny_person/{m}50_tiny"] <= 1 for m in ("AP", "MR"))
    assert all(math.isfinite(value) for value in found.values())
    written = tmp_path / "found.bbox.json"
    assert len(json.loads(written.read_text())) > 0
    tiles = None
    if config.test_dataloader.dataset.tiles:
        tiles = tmp_path / "tiles.json"
        tested = runner.test_dataloader.dataset
        tested.save_tiles(tiles)
        assert len(tested) == 4 * drawn.val.images
    truth = drawn.val.annotation_file  # with sea_person and earth_person
    expected = evaluate_tiny_person(truth, written, tiles, merge_categories=True)
    assert found == {f"tiny_person/{key}": value for key, value in expected.items()}


@pytest.mark.parametrize("name", TINY_PERSON)
def test_tiles_are_the_released_ones_everywhere(name: str) -> None:
    config = load_config(name)
    train, test = (config[f"{s}_dataloader"].dataset for s in ("train", "test"))
    for part in (train, test, config.val_evaluator, config.test_evaluator):
        assert TileSettings.from_config(part.tiles) == RELEASED_TILES
    assert [d.type for d in (train, test)] == ["TinyPersonDataset"] * 2
    assert "erase" in train.ann_file and "erase" in train.data_prefix.img


def test_no_tile_without_people_is_trained_on(
    drawn: SyntheticTinyPerson, tmp_path: Path
) -> None:
    config = small_run("retinanet_r50_fpn_1xb2-1x_tinyperson", drawn, tmp_path)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    for k in range(len(dataset)):
        instances = dataset.get_data_info(k)["instances"]
        assert any(not instance["ignore_flag"] for instance in instances)


def test_ignored_people_of_tiny_city_persons_are_no_background(
    drawn: SyntheticTinyPerson, tmp_path: Path
) -> None:
    """Their images are not erased: anchors in ignored boxes must not be trained."""
    name = "retinanet_r50_s-alpha-fpn_1xb2-1x_tinycitypersons"
    config = small_run(name, drawn, tmp_path)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    samples = [dataset[k]["data_samples"] for k in range(len(dataset))]
    sample = next(sample for sample in samples if len(sample.ignored_instances))
    for part in (sample.gt_instances, sample.ignored_instances):
        part.bboxes = part.bboxes.tensor
    head = MODELS.build(config.model).bbox_head
    sizes = [(128 // stride, 160 // stride) for stride in (4, 8, 16, 32, 64)]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu"))
    assigned = head.assigner.assign(
        InstanceData(priors=priors), sample.gt_instances, sample.ignored_instances
    )
    overlaps = bbox_overlaps(priors, sample.ignored_instances.bboxes, mode="iof")
    inside = (overlaps > 0.5).any(1)
    assert inside.any() and (assigned.gt_inds[inside] == -1).all()


@pytest.mark.parametrize("name", PRE_TRAINED)
def test_fine_tuning_starts_from_what_pre_training_leaves(name: str) -> None:
    folder, first, file = Path(load_config(name).load_from).parts
    before = load_config(first)
    assert (folder, file) == ("work_dirs", f"iter_{before.train_cfg.max_iters}.pth")
    assert before.get("work_dir") is None  # mmdet's tools then take work_dirs/NAME
    kind = "MonotonicScaleMatch" if "-msm-" in name else "ScaleMatch"
    datasets = before.train_dataloader.dataset.datasets
    assert {dataset.pipeline[2].type for dataset in datasets} == {kind}
    assert name.replace("1xb2", "8xb4").startswith(first.removesuffix("45k_coco"))


# ------------------------------------------------------ baselines of Tables 3 and 4


ROI_PARTS = ("train_cfg.rpn.sampler", "train_cfg.rcnn.sampler")
# What Libra and Grid R-CNN and FreeAnchor are, in mmdet's files of the same name.
BASELINES = {
    "libra-faster-rcnn_r50_fpn_1xb2-1x_tinyperson": (
        "libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco",
        (*ROI_PARTS, "neck.1", "roi_head.bbox_head.loss_bbox"),
    ),
    "grid-rcnn_r50_fpn_gn-head_1xb2-1x_tinyperson": (
        "grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco",
        (
            *ROI_PARTS,
            "type",
            "roi_head.type",
            "roi_head.grid_roi_extractor",
            "roi_head.grid_head",
            "roi_head.bbox_head.with_reg",
            "train_cfg.rcnn.pos_radius",
            "train_cfg.rcnn.max_num_grid",
            "test_cfg.rcnn.score_thr",
            "test_cfg.rcnn.nms",
        ),
    ),
    "freeanchor_r50_fpn_1xb2-1x_tinyperson": (
        "free_anchor/freeanchor_r50_fpn_1x_coco",
        ("bbox_head.type", "bbox_head.bbox_coder", "bbox_head.loss_bbox"),
    ),
}


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_has_mmdets_parts(name: str, tmp_path: Path) -> None:
    base, parts = BASELINES[name]
    path = tmp_path / "theirs.py"
    path.write_text(f'_base_ = "mmdet::{base}.py"\n')
    ours, theirs = load_config(name).model, Config.fromfile(path).model
    for part in parts:
        wanted = value_at(theirs, part)
        assert wanted is not None and value_at(ours, part) == wanted, part
