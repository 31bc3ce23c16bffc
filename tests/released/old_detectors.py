"""Tiny detectors, and their weights as the authors' code bases would have stored them.

The names here are written anew from the authors' modules, not derived from the
conversion: the two must agree.
"""

import re
from pathlib import Path
from typing import Any

import mmdet
import mmdet.models
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from fpn_necks.released.detectors import Conversion
from tests.golden import golden

MODEL_CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs" / "_base_" / "models"
IN_CHANNELS, WIDTH, CLASSES = [4, 8, 16, 32], 8, 3
P2_P6 = dict(num_outs=5)
P3_P7 = dict(num_outs=5, start_level=1, add_extra_convs="on_input")
SIZE = (64, 96)
TWO_STAGE = ("faster-rcnn", "mask-rcnn", "cascade-mask-rcnn")
DETECTORS = (*TWO_STAGE, "retinanet", "fcos")


def tiny(kind: str, neck: dict[str, Any], soft_roi: bool = False) -> ConfigDict:
    """Return mmdet's config of a detector, a few channels wide."""
    if kind == "fcos":
        # mmdet has no base for FCOS; the released configs have GN in the head.
        model = Config.fromfile(MODEL_CONFIGS / "retinanet_r50_fpn.py").model
        model.type = "FCOS"
        model.bbox_head = dict(
            type="FCOSHead",
            stacked_convs=2,
            strides=[8, 16, 32, 64, 128],
            norm_cfg=dict(type="GN", num_groups=2),
        )
    else:
        model = Config.fromfile(MODEL_CONFIGS / f"{kind}_r50_fpn.py").model
    model.backbone.update(depth=18, base_channels=4, init_cfg=None)
    model.neck = dict(in_channels=IN_CHANNELS, out_channels=WIDTH, **neck)
    narrow = dict(in_channels=WIDTH, feat_channels=WIDTH)
    if "roi_head" in model:
        model.rpn_head.update(narrow)
        head = model.roi_head
        for extractor in ("bbox_roi_extractor", "mask_roi_extractor"):
            if extractor in head:
                head[extractor].update(out_channels=WIDTH)
                if soft_roi:
                    head[extractor].pop("finest_scale", None)
                    head[extractor].type = "SoftRoIExtractor"
        boxes = head.bbox_head if isinstance(head.bbox_head, list) else [head.bbox_head]
        for box_head in boxes:
            box_head.update(in_channels=WIDTH, fc_out_channels=16, num_classes=CLASSES)
        if "mask_head" in head:
            head.mask_head.update(
                in_channels=WIDTH, conv_out_channels=WIDTH, num_classes=CLASSES
            )
        model.test_cfg.rcnn.score_thr = 0.0
        model.test_cfg.rpn.max_per_img = 50
    else:
        model.bbox_head.update(narrow, num_classes=CLASSES)
        model.test_cfg.score_thr = 0.0
    return model


def build(config: ConfigDict, seed: int) -> nn.Module:
    """Build a detector in testing mode, every weight and statistic of it random."""
    # mmengine builds the data preprocessor, and knows mmdet's by its scope only.
    with DefaultScope.overwrite_default_scope("mmdet"):
        detector = MODELS.build(config).eval()
    randomise(detector, seed)
    return detector


def randomise(module: nn.Module, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            tensor.fill_(seed)
            continue
        fan_in = tensor[0].numel() if tensor.dim() > 1 else 1
        tensor.copy_(torch.randn(tensor.shape, generator=random) / fan_in**0.5)
        if name.endswith("running_var"):
            tensor.abs_().add_(0.5)


def predict(detector: nn.Module) -> dict[str, Tensor]:
    """Return the detections on a random image."""
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    sample = DetDataSample(
        metainfo=dict(
            img_shape=SIZE,
            ori_shape=SIZE,
            pad_shape=SIZE,
            batch_input_shape=SIZE,
            scale_factor=(1.0, 1.0),
        )
    )
    with torch.no_grad():
        found = detector(image, [sample], mode="predict")[0].pred_instances
    return {name: torch.as_tensor(x) for name, x in found.to_dict().items()}


def assert_same_results(first: nn.Module, second: nn.Module) -> None:
    """Both detect the same, bit for bit, and something at all."""
    found, expected = predict(first), predict(second)
    assert len(expected["scores"]) > 5 and expected["scores"].std() > 0
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def check_counts(conversion: Conversion, state: dict[str, Tensor]) -> None:
    """Every entry is accounted for, once."""
    names = [*conversion.converted, *conversion.kept, *conversion.dropped]
    assert sorted(names) == sorted(state)
    kept_or_converted = len(conversion.converted) + len(conversion.kept)
    assert len(conversion.state_dict) == kept_or_converted


AUGFPN_NAMES = [
    (r"residual_features\.convs\.", "high_lateral_conv."),
    (r"residual_features\.fusion\.reduce\.", "high_lateral_conv_attention.0."),
    (r"residual_features\.fusion\.weigh\.", "high_lateral_conv_attention.2."),
    (r"(_roi_extractor\.(?:\d\.)?)fusion\.reduce\.", r"\1spatial_attention_conv.0."),
    (r"(_roi_extractor\.(?:\d\.)?)fusion\.weigh\.", r"\1spatial_attention_conv.2."),
]
DETECTOR_NAMES = [
    (r"^bbox_head\.conv_(cls|reg|centerness)\.", r"bbox_head.fcos_\1."),
]


def renamed(name: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def to_mmdet_1(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name and order the weights of a detector as the code of AugFPN does."""
    random = torch.Generator().manual_seed(5)
    retina = "bbox_head.retina_cls.weight" in state
    released = {}
    for name, tensor in state.items():
        name = renamed(name.removeprefix("roi_head."), [*AUGFPN_NAMES, *DETECTOR_NAMES])
        if retina:
            name = re.sub(r"(bbox_head\.\w+_convs\.\d)\.conv\.", r"\1.", name)
        if ".fc_cls." in name:
            tensor = torch.cat([tensor[-1:], tensor[:-1]])
        lost = 4 if ".fc_reg." in name and len(tensor) > 4 else 0
        lost = 1 if ".conv_logits." in name else lost
        nothing = torch.randn(lost, *tensor.shape[1:], generator=random)
        if lost:
            tensor = torch.cat([nothing, tensor])
        if ".scales." in name:
            tensor = tensor.reshape(1)
        released[name] = tensor.clone()
    for part in ("auxiliary_bbox_head.shared_fcs.0", "auxiliary_bbox_head.fc_cls"):
        released[f"{part}.weight"] = torch.randn(4, 6, generator=random)
        released[f"{part}.bias"] = torch.randn(4, generator=random)
    return released


def conv_block(
    name: str, c_out: int, c_in: int, kernel: int, random: torch.Generator
) -> dict[str, Tensor]:
    shape = (c_out, c_in, kernel, kernel)
    norm = {
        part: torch.rand(c_out, generator=random) + 0.5
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    norm["num_batches_tracked"] = torch.tensor(7)
    return {
        f"{name}.conv.weight": torch.randn(shape, generator=random),
        **{f"{name}.batch_norm.{part}": tensor for part, tensor in norm.items()},
    }


def released_yolov3() -> dict[str, Tensor]:
    """Return what a released YOLOv3 with ASFF holds, its backbone mostly left out."""
    random = torch.Generator().manual_seed(9)
    state = conv_block("module_list.0", 4, 3, 3, random)
    state |= conv_block("module_list.32", 8, 4, 3, random)
    fusions = [golden("asff_level0_train").state, golden("asff_level1_eval").state]
    # The finest has no strided block, and half as wide a result as the middle one.
    finest = {k: v for k, v in fusions[1].items() if "stride" not in k}
    fusions.append(
        {k: v[:8] if "expand" in k and v.dim() else v for k, v in finest.items()}
    )
    for level, fusion in enumerate(fusions):
        state |= {f"level_{level}_fusion.{k}": v for k, v in fusion.items()}
        state[f"level_{level}_header.guide_wh.weight"] = torch.randn(8, 32, 1, 1)
    return state
