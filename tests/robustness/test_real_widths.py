"""A step of training and of testing with the widths that users train.

Only the backbone is small, and the RoIs are few. The other tests of every config are
narrow throughout, or compute nothing.
"""

from pathlib import Path

import pytest
from mmdet.utils import register_all_modules

from fpn_necks.shipped_configs import list_configs
from tests.tiny_detectors import (
    load_config,
    make_tiny,
    shrink_backbone,
    train_and_test_a_step,
    use_few_rois,
)
from tests.tiny_sets import write_coco_set

register_all_modules()


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, size=(192, 128), ignored_last=True)
    return folder


TRAINED: set[str] = set()  # schedules and losses do not change what is wide
WITHOUT_WIDTH = (
    *("backbone", "data_preprocessor", "init_cfg", "train_cfg", "test_cfg"),
    *("anchor_generator", "bbox_coder", "loss_cls", "loss_bbox", "loss_iou"),
)


@pytest.mark.long
@pytest.mark.parametrize("name", list_configs())
def test_steps(name: str, tiny_set: Path) -> None:
    config = load_config(name)
    if (kinds := _types(config.model)) in TRAINED:
        pytest.skip("a config of the same parts is trained")
    TRAINED.add(kinds)
    widths = _neck_widths(config.model)
    config = make_tiny(config, tiny_set, shrink_backbone)
    assert _neck_widths(config.model) == widths
    use_few_rois(config, proposals=50, sampled=16)
    train_and_test_a_step(config)


def _types(node: object, key: str = "model") -> str:
    """Return the types of a detector's parts, those without a width left out."""
    if isinstance(node, list):
        return " ".join(_types(entry, key) for entry in node)
    if not isinstance(node, dict) or key in WITHOUT_WIDTH:
        return ""
    parts = (_types(value, name) for name, value in node.items())
    return f"{node.get('type')}({' '.join(filter(None, parts))})"


def _neck_widths(model: dict) -> list:
    """Return what a neck gives out; C5's width where there is no neck is small."""
    neck = model.get("neck") or []
    stages = neck if isinstance(neck, list) else [neck]
    return [stage.get("out_channels") for stage in stages]
