"""The estimate of whole configs, and fpn-necks alpha."""

import json
from pathlib import Path

import mmdet
import pytest
from mmdet.registry import MODELS
from mmengine.config import Config

from fpn_necks.cli import main
from fpn_necks.shipped_configs import config_path
from fpn_necks.statistics import build_dataset, estimate, estimate_from_config
from tests.tiny_sets import CLASSES

MMDET_CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"
NEW_SIDE = 256


def boxes_of_sides(folder: Path, sides: list[int]) -> Path:
    """Write a set of images without pixels, one square of each side per image."""
    images = [
        dict(id=i, file_name=f"{i}.png", width=NEW_SIDE, height=NEW_SIDE)
        for i in range(1, len(sides) + 1)
    ]
    annotations = [
        dict(
            id=i, image_id=i, category_id=1, bbox=[10, 10, s, s], area=s * s, iscrowd=0
        )
        for i, s in enumerate(sides, 1)
    ]
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    path = folder / "annotations.json"
    path.write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories))
    )
    return path


def options(annotations: Path, scale: int = NEW_SIDE) -> dict:
    dataset = "train_dataloader.dataset"
    return {
        f"{dataset}.data_root": f"{annotations.parent}/",
        f"{dataset}.ann_file": annotations.name,
        f"{dataset}.metainfo.classes": CLASSES,
        f"{dataset}.pipeline.2.scale": (scale, scale),
    }


def load(path: Path, annotations: Path, scale: int = NEW_SIDE) -> Config:
    config = Config.fromfile(path)
    config.merge_from_dict(options(annotations, scale))
    return config


# RetinaNet's square anchors: 32, 40.3, 50.8 on P3, 64 ... on P4, 128 ... on P5.
SIDES = [32, 33, 40, 50, 64, 70, 128]


def test_retinanet(tmp_path: Path) -> None:
    annotations = boxes_of_sides(tmp_path, SIDES)
    config = load(config_path("retinanet_r50_s-alpha-fpn_1x_coco"), annotations)
    report = estimate_from_config(config)
    assert report.level_names == ["P3", "P4", "P5", "P6", "P7"]
    assert report.counts == [4, 2, 1, 0, 0]
    assert report.factors == pytest.approx([0.5, 0.5])
    assert (report.num_images, report.num_boxes, report.warnings) == (7, 7, [])


def test_the_resize_of_the_config_counts(tmp_path: Path) -> None:
    annotations = boxes_of_sides(tmp_path, SIDES)
    path = config_path("retinanet_r50_s-alpha-fpn_1x_coco")
    report = estimate_from_config(load(path, annotations, scale=2 * NEW_SIDE))
    assert report.counts == [0, 4, 2, 1, 0]
    assert report.factors == [1.0, 0.75]
    assert any("P3 has no object" in x and "1 is used" in x for x in report.warnings)
    assert "warning: the training set gives the fusion factors 1, 0.75" in (
        report.table()
    )


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("atss/atss_r50_fpn_1x_coco.py", [6, 1, 0, 0, 0]),
        ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", [7, 0, 0, 0, 0]),
        ("pafpn/faster-rcnn_r50_pafpn_1x_coco.py", [3, 3, 1, 0, 0]),
    ],
)
def test_mmdet_configs(name: str, counts: list[int], tmp_path: Path) -> None:
    annotations = boxes_of_sides(tmp_path, SIDES)
    report = estimate_from_config(load(MMDET_CONFIGS / name, annotations))
    assert report.counts == counts
    if "fcos" in name:
        assert report.factors == [0.2, 1.0]


def test_a_box_in_no_range_of_fcos_is_said_once(tmp_path: Path) -> None:
    config = load(
        MMDET_CONFIGS / "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
        boxes_of_sides(tmp_path, SIDES),
    )
    config.model.bbox_head.regress_ranges = tuple((i, i + 8) for i in range(0, 40, 8))
    report = estimate_from_config(config)
    assert report.counts == [0, 1, 2, 2, 1]
    (said,) = (x for x in report.warnings if "no regress range" in x)
    assert said.startswith("1 of 7 boxes")


def test_two_stage_detectors_use_the_anchors_of_the_rpn(tmp_path: Path) -> None:
    # One square anchor per level: 32 px on P2, 64 on P3, 128 on P4.
    annotations = boxes_of_sides(tmp_path, [30, 34, 60, 64, 70, 120])
    path = config_path("faster-rcnn_r50_s-alpha-fpn_1x_coco")
    report = estimate_from_config(load(path, annotations))
    assert report.level_names[0] == "P2" and len(report.factors) == 3
    assert report.counts == [2, 3, 1, 0, 0]
    assert report.factors == pytest.approx([1.5, 1 / 3, 0.2])
    report = estimate_from_config(load(path, annotations), "best_anchor")
    assert report.factors == pytest.approx([1.5, 1 / 3, 0.0])


def test_unknown_count() -> None:
    config = Config.fromfile(config_path("retinanet_r50_s-alpha-fpn_1x_coco"))
    with pytest.raises(ValueError, match="count must be one of.*got 'boxes'"):
        estimate_from_config(config, count="boxes")


def test_positives_of_assigners_that_need_the_network(tmp_path: Path) -> None:
    annotations = boxes_of_sides(tmp_path, SIDES)
    path = MMDET_CONFIGS / "atss/atss_r50_fpn_1x_coco.py"
    assert sum(estimate_from_config(load(path, annotations), "positives").counts) > 7
    for name, kind in (
        ("fsaf/fsaf_r50_fpn_1x_coco.py", "got CenterRegionAssigner"),
        ("yolof/yolof_r50-c5_8xb8-1x_coco.py", "got UniformAssigner"),
        ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", "FCOSHead has no anchors"),
    ):
        with pytest.raises(ValueError, match=f"count='positives'.*{kind}"):
            config = load(MMDET_CONFIGS / name, annotations)
            estimate(MODELS.build(config.model), build_dataset(config), 1, "positives")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("detr/detr_r50_8xb2-150e_coco.py", "DETR has no feature pyramid"),
        (
            "reppoints/reppoints-moment_r50_fpn_1x_coco.py",
            "neither an anchor generator nor FCOS regress ranges",
        ),
    ],
)
def test_detectors_without_levels(name: str, message: str, tmp_path: Path) -> None:
    config = Config.fromfile(MMDET_CONFIGS / name)
    config.train_dataloader.dataset.data_root = str(tmp_path)
    with pytest.raises(ValueError, match=message):
        estimate_from_config(config)


def test_command(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "retinanet_r50_s-alpha-fpn_1x_coco"
    annotations = boxes_of_sides(tmp_path, SIDES)
    words = [
        f"{key}={value if isinstance(value, str) else repr(value).replace(' ', '')}"
        for key, value in options(annotations).items()
    ]
    assert main(["alpha", name, "--cfg-options", *words]) == 0
    said = capsys.readouterr()
    assert "0.5000  (P4 into P3)" in said.out and "100%" in said.err
    neck = Config.fromfile(
        f"work_dirs/fusion_factors/{name}/fusion_factor.py"
    ).model.neck
    assert (neck.type, neck.fusion_factor) == ("SAlphaFPN", [0.5, 0.5])
    picture = tmp_path / f"work_dirs/fusion_factors/{name}/objects_per_level.png"
    assert picture.stat().st_size > 10_000
