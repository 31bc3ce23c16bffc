"""What the authors trained loads into the configs that come with the package."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from fpn_necks import released
from fpn_necks.shipped_configs import config_path

COMMON = dict(in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5)
RETINANET = dict(start_level=1, add_extra_convs=True)
FCOS = RETINANET | dict(extra_convs_on_inputs=False, relu_before_extra_convs=True)
AUXILIARY = dict(train_with_auxiliary=True)
# The neck of each released config: its method and arguments.
RELEASED = {
    "faster-rcnn_r50_augfpn_1x_coco": ("highfpn", {}),
    "mask-rcnn_r50_augfpn_1x_coco": ("highfpn", {}),
    "retinanet_r50_augfpn_1x_coco": ("highfpn-retinanet", RETINANET | AUXILIARY),
    "fcos_r50_augfpn_gn-head_4xb4-1x_coco": ("highfpn-retinanet", FCOS | AUXILIARY),
    "faster-rcnn_r50_drfpn_3xb8-1x_coco": ("drfpn", {}),
    "mask-rcnn_r50_drfpn_3xb8-1x_coco": ("drfpn", {}),
    "cascade-mask-rcnn_r50_drfpn_3xb8-1x_coco": ("drfpn", {}),
    "retinanet_r50_drfpn_3xb8-1x_coco": ("drfpn", RETINANET),
    "fcos_r50_drfpn_gn-head_3xb8-1x_coco": ("drfpn", FCOS),
}


@pytest.mark.parametrize("name", RELEASED)
def test_neck_is_the_released_one(name: str) -> None:
    method, arguments = RELEASED[name]
    config = Config.fromfile(config_path(name)).model
    with torch.device("meta"):
        ours = MODELS.build(config.neck)
        expected = released.build(method, **COMMON, **arguments)
    shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (ours, expected)]
    assert shapes[0] == shapes[1]
    assert type(ours) is type(expected)
    plain = (bool, int, float, str, tuple, list, type(None))
    for name, value in vars(expected).items():
        if isinstance(value, plain):
            assert getattr(ours, name) == value, name
    if method == "highfpn":
        assert config.roi_head.bbox_roi_extractor.type == "SoftRoIExtractor"
