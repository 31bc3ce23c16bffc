"""What docs/model_zoo.md counts."""

import copy

import pytest
from detector_costs import count_costs
from mmengine.config import Config

from fpn_necks.config_tools import find_config
from tests.tiny_detectors import load_config


def theirs(name: str) -> Config:
    return Config.fromfile(find_config(f"mmdet::{name}"))


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        # What mmdet's get_flops prints at 800x1280 and papers quote: without frozen
        # parameters, with normalisation and activations, which are below 1 %.
        ("retinanet/retinanet_r50_fpn_1x_coco", 37.74, 239.32),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", 41.53, 207.07),
        ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco", 44.17, 260.14),
        ("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco", 69.17, 234.71),
    ],
)
def test_costs_of_known_detectors(
    name: str, parameters: float, multiply_adds: float
) -> None:
    tested, training_only, counts = count_costs(theirs(name), [(800, 1280)])
    stem_and_first_stage = 0.225344
    expected = pytest.approx(parameters + stem_and_first_stage, abs=0.006)
    assert (tested / 1e6, training_only) == (expected, 0)
    counted = counts[800, 1280] / 1e9
    assert 0.99 * multiply_adds < counted < multiply_adds


def test_sparse_rcnn_counts_its_stages() -> None:
    config = theirs("sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco")
    fewer = copy.deepcopy(config)
    head = fewer.model.roi_head
    head.num_stages, head.stage_loss_weights = 2, [1, 1]
    head.bbox_head = head.bbox_head[:2]
    six, two = (count_costs(c, [(64, 64)])[2][64, 64] for c in (config, fewer))
    # Per stage and proposal: the dynamic convs' parameters, the two products with 49
    # positions, their way out; attention over 100 proposals, the feed-forward network.
    dynamic = 256 * 2 * 256 * 64 + 2 * 49 * 256 * 64 + 49 * 256 * 256
    attention = 4 * 256 * 256 + 2 * 100 * 256
    network, towers = 2 * 256 * 2048, (1 + 3) * 256 * 256 + 256 * (80 + 4)
    assert six - two == 4 * 100 * (dynamic + attention + network + towers)


def test_auxiliary_losses_cost_parameters_in_training_alone() -> None:
    config = load_config("auxiliary/retinanet_r101_fpn_auxiliary_1x_coco.py")
    tested, training_only, counts = count_costs(config, [(64, 64)])
    assert training_only > 0
    config.model.auxiliary = None
    assert count_costs(config, [(64, 64)]) == (tested, 0, counts)


def test_soft_roi_selection_counts_its_convs() -> None:
    config = load_config("augfpn/faster-rcnn_r50_augfpn_1x_coco.py")
    soft = count_costs(config, [(64, 64)])[2][64, 64]
    config.model.roi_head.bbox_roi_extractor.type = "SingleRoIExtractor"
    single = count_costs(config, [(64, 64)])[2][64, 64]
    squeeze, weigh = 4 * 256 * 256, 256 * 4 * 9  # of 4 levels, for 4 weights
    rois = config.model.test_cfg.rpn.max_per_img
    assert soft - single == rois * 49 * (squeeze + weigh)


def test_unknown_extractor_is_an_error_and_not_free() -> None:
    config = theirs("faster_rcnn/faster-rcnn_r50_fpn_1x_coco")
    config.model.roi_head.bbox_roi_extractor.type = "GenericRoIExtractor"
    with pytest.raises(TypeError, match="GenericRoIExtractor"):
        count_costs(config, [(64, 64)])
