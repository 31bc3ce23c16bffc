"""Each fault is found and named, and the change that is proposed mends it."""

from typing import Any, NamedTuple

import pytest
from mmengine.config import Config

from fpn_necks.check import Problem, check_config
from tests.tiny_detectors import load_config

RETINA = "retinanet_r50_s-alpha-fpn_1x_coco"
FASTER = "faster-rcnn_r50_s-alpha-fpn_1x_coco"
FCOS = "s_alpha_fpn/fcos_r50_s-alpha-fpn_gn-head_1x_coco.py"
CASCADE = "cascade-mask-rcnn_r50_augfpn_1x_coco"
TINY = "faster-rcnn_r50_s-alpha-fpn_1xb2-1x_tinyperson"
STAGES = "retinanet_r50_asff_1x_coco"
YOLO = "yolov3_d53_asff_4xb16-300e_coco"
DRFPN = "faster-rcnn_r50_drfpn_3xb8-1x_coco"
AUGFPN = "faster-rcnn_r50_augfpn_1x_coco"


class Fault(NamedTuple):
    """A change that breaks a config, and what must be said of it.

    ``proposed`` is a value for ``key``, which is that of the change if not given, or a
    dict of changes.
    """

    config: str
    changes: dict[str, Any]
    said: str
    proposed: Any = None
    key: str = ""
    level: str = "error"


FAULTS = {
    "classes-of-auxiliary-heads": Fault(
        AUGFPN,
        {"model.auxiliary.bbox_head": {"num_classes": 3}},
        "auxiliary heads tell 3 classes apart",
        80,
        key="model.auxiliary.bbox_head.num_classes",
    ),
    "no-custom-imports": Fault(
        RETINA, {"custom_imports": None}, "model.neck.type is SAlphaFPN"
    ),
    "other-custom-imports": Fault(
        RETINA,
        {"custom_imports.imports": ["json"]},
        "unless json imports it",
        key="custom_imports",
        level="warning",
    ),
    "in_channels-of-another-backbone": Fault(
        RETINA,
        {"model.neck.in_channels": [64, 128, 256, 512]},
        "backbone gives 4 of [256, 512, 1024, 2048]",
        [256, 512, 1024, 2048],
    ),
    "out_indices-and-start_level": Fault(
        RETINA,
        {"model.backbone.out_indices": (1, 2, 3)},
        "backbone gives 3 of [512, 1024, 2048] (out_indices=(1, 2, 3))",
        {"model.neck.in_channels": [512, 1024, 2048], "model.neck.start_level": 0},
        key="model.neck.in_channels",
    ),
    "in_channels-without-the-first": Fault(
        RETINA,
        {"model.neck.in_channels": [512, 1024, 2048], "model.neck.start_level": 0},
        "expects 3 backbone maps",
        {"model.neck.in_channels": [256, 512, 1024, 2048], "model.neck.start_level": 1},
    ),
    "start_level-forgotten": Fault(
        RETINA,
        {"model.neck.start_level": 0},
        "RetinaHead expects strides [8, 16, 32, 64, 128]; it gets 5 maps of strides [4",
        {"model.neck.start_level": 1},
        key="model.bbox_head.anchor_generator.strides",
    ),
    "start_level-too-high": Fault(
        RETINA, {"model.neck.start_level": 4}, "start_level must lie in [0, 3]", 1
    ),
    "num_outs-too-small": Fault(
        FASTER, {"model.neck.num_outs": 3}, "num_outs must be at least 4", 5
    ),
    "a-level-too-few": Fault(
        FCOS,
        {"model.neck.num_outs": 4},
        "FCOSHead expects 5 maps",
        {"model.neck.num_outs": 5},
        key="model.bbox_head.strides",
    ),
    "end_level": Fault(
        FASTER,
        {"model.neck.end_level": 2, "model.neck.num_outs": 3},
        "RPNHead expects 5 maps",
        {"model.neck.end_level": -1, "model.neck.num_outs": 5},
        key="model.rpn_head.anchor_generator.strides",
    ),
    "strides-no-neck-can-give": Fault(
        RETINA,
        {"model.bbox_head.anchor_generator.strides": [16, 32, 8, 64, 128]},
        "expects strides [16, 32, 8, 64, 128]",
        [8, 16, 32, 64, 128],
    ),
    "extractor-of-other-levels": Fault(
        FASTER,
        {"model.roi_head.bbox_roi_extractor.featmap_strides": [8, 16, 32, 64]},
        "SingleRoIExtractor expects strides [8, 16, 32, 64]",
        [4, 8, 16, 32],
    ),
    "ranges-of-fcos": Fault(
        FCOS,
        {"model.bbox_head.regress_ranges": ((-1, 64), (64, 128), (128, 100000000.0))},
        "3 ranges of regression for 5 maps",
        [(-1, 64), (64, 128), (128, 256), (256, 512), (512, 100000000)],
    ),
    "stages-with-a-wrong-level": Fault(
        STAGES,
        {"model.neck.0.start_level": 0},
        "it gets 5 maps of strides [4, 8, 16, 32, 64]",
        {"model.neck.0.start_level": 1},
        key="model.bbox_head.anchor_generator.strides",
    ),
    "stage-of-another-width": Fault(
        STAGES,
        {"model.neck.1.in_channels": 128},
        "ASFF expects 128 channels; the stage before it gives [256, 256, 256]",
        256,
    ),
    "stage-of-other-widths": Fault(
        YOLO,
        {"model.neck.1.in_channels": [128, 256, 512]},
        "the stage before it gives [512, 256, 128]",
        [512, 256, 128],
    ),
    "more-fused-than-there-are": Fault(
        STAGES,
        {"model.neck.1.num_fused": 6},
        "ASFF fuses 6 levels; the stage before it gives 5",
        5,
    ),
    "too-few-factors": Fault(
        FASTER,
        {"model.neck.fusion_factor": [0.5, 0.4]},
        "2 factors for 3 top-down connections",
        [0.5, 0.4, 0.4],
    ),
    "too-few-initial-factors": Fault(
        FASTER,
        {"model.neck.fusion_factor": {"type": "LearnableFusionFactor", "init": [0.5]}},
        "1 factors for 3 top-down connections",
        [0.5, 0.5, 0.5],
        key="model.neck.fusion_factor.init",
    ),
    "factors-of-a-later-stage": Fault(
        STAGES,
        {"model.neck.0.type": "SAlphaFPN", "model.neck.0.fusion_factor": [0.1]},
        "1 factors for 2 top-down connections",
        key="model.neck.0.fusion_factor",
    ),
    "factors-right-and-levels-wrong": Fault(
        RETINA,
        {"model.neck.fusion_factor": [0.5, 0.4], "model.neck.start_level": 0},
        "fusion_factor",
        {"model.neck.start_level": 1},
        key="model.neck",
    ),
    "statistic-without-hook": Fault(
        RETINA,
        {"custom_hooks": []},
        "counted from the training set by FusionFactorHook",
        [{"type": "FusionFactorHook"}],
    ),
    "misspelt-type": Fault(
        RETINA,
        {"model.neck.type": "SAlphaFpn"},
        "SAlphaFpn is not in the mmdet::model registry",
        "SAlphaFPN",
    ),
    "head-of-another-width": Fault(
        RETINA,
        {"model.bbox_head.in_channels": 128},
        "RetinaHead expects 128 channels; the maps have 256",
        256,
    ),
    "extractor-of-another-width": Fault(
        FASTER,
        {"model.roi_head.bbox_roi_extractor.out_channels": 128},
        "SingleRoIExtractor expects 128 channels; the maps have [256]",
        256,
    ),
    "num_classes": Fault(
        TINY,
        {"model.roi_head.bbox_head.num_classes": 80},
        "tells 80 classes apart; train_dataloader.dataset has 1 (person)",
        1,
    ),
    "num_classes-of-a-stage": Fault(
        CASCADE,
        {"model.roi_head.bbox_head.1.num_classes": 3},
        "tells 3 classes apart",
        80,
    ),
    "classes-as-text": Fault(
        TINY,
        {"train_dataloader.dataset.metainfo.classes": "person"},
        "'person' is a text",
        ("person",),
    ),
    "classes-of-testing": Fault(
        RETINA,
        {"test_dataloader.dataset.metainfo": {"classes": ("cat", "dog")}},
        "2 classes (cat, dog), where train_dataloader.dataset has 80",
        key="test_dataloader.dataset.metainfo.classes",
    ),
    "missing-weights": Fault(
        RETINA,
        {
            "model.backbone.init_cfg": {
                "type": "Pretrained",
                "checkpoint": "no/such/resnet.pth",
            }
        },
        "there is no file no/such/resnet.pth",
        {"model.backbone.init_cfg": None},
        key="model.backbone.init_cfg.checkpoint",
    ),
    "missing-checkpoint": Fault(
        RETINA,
        {"load_from": "no/such/detector.pth"},
        "there is no file no/such/detector.pth",
        {"load_from": None},
    ),
    "last-batch-of-one-image": Fault(
        DRFPN,
        {"train_dataloader.batch_sampler.drop_last": False},
        "the last batch of an epoch can be one image",
        True,
        level="warning",
    ),
    "asff-as-only-neck": Fault(
        RETINA,
        {"model.neck.type": "ASFF", "model.neck.fusion_factor": 0.5},
        "neck=[dict(type='FPN', ...), dict(type='ASFF', ...)]",
        key="model.neck",
    ),
    "one-image": Fault(
        DRFPN,
        {
            "train_dataloader.batch_size": 1,
            "train_dataloader.batch_sampler.drop_last": True,
        },
        "cannot be trained with one image",
        2,
    ),
}


def broken(fault: Fault) -> Config:
    config = load_config(fault.config)
    config.merge_from_dict(fault.changes)
    if config.custom_imports is None:
        config.pop("custom_imports")
    return config


def errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.level == "error"]


# One per rule; the others take a minute together on a busy machine.
CORE = (
    "no-custom-imports",
    "out_indices-and-start_level",
    "start_level-forgotten",
    "num_outs-too-small",
    "extractor-of-other-levels",
    "stage-of-another-width",
    "too-few-factors",
    "statistic-without-hook",
    "misspelt-type",
    "head-of-another-width",
    "num_classes",
    "missing-weights",
    "one-image",
    "last-batch-of-one-image",
    "asff-as-only-neck",
)


LONG = [pytest.param(x, marks=pytest.mark.long) for x in FAULTS if x not in CORE]


@pytest.mark.parametrize("name", [*CORE, *LONG])
def test_fault_is_named_and_mended(name: str) -> None:
    fault = FAULTS[name]
    config = broken(fault)
    problems = check_config(config)
    serious = [f for f in problems if f.level in ("error", "warning")]
    key, proposed = fault.key or next(iter(fault.changes)), fault.proposed
    found = [f for f in serious if f.key == key and fault.said in f.detail]
    assert len(found) == 1, problems
    assert found[0].level == fault.level
    assert found[0].remedy
    if proposed is not None:
        proposed = proposed if isinstance(proposed, dict) else {key: proposed}
        assert found[0].changes == proposed
    # One fault, one advice: no second one that leads elsewhere.
    assert all(other.changes == found[0].changes for other in serious), serious

    assert found[0].changes
    config.merge_from_dict(dict(found[0].changes))
    left = [f for f in check_config(config) if f.level in ("error", "warning")]
    assert not left


def test_narrower_neck_names_everything_behind_it() -> None:
    config = load_config("mask-rcnn_r50_augfpn_1x_coco")
    config.merge_from_dict({"model.neck.out_channels": 128})
    found = errors(check_config(config))
    assert {problem.key for problem in found} == {
        "model.rpn_head.in_channels",
        "model.roi_head.bbox_roi_extractor.out_channels",
        "model.roi_head.mask_roi_extractor.out_channels",
        "model.roi_head.bbox_head.in_channels",
        "model.roi_head.mask_head.in_channels",
    }
    for problem in found:
        config.merge_from_dict(dict(problem.changes))
    assert not errors(check_config(config))


@pytest.mark.parametrize(
    ("factor", "warned"),
    [(2, "α = 2"), (0.9, ""), ([0.5, 1.0], "α = 1.0"), (1.0, ""), ([1, 1], "")],
)
def test_factors_that_do_not_lower(factor: Any, warned: str) -> None:
    """1 everywhere is a plain FPN; the paper's own factors reach 1.06."""
    config = load_config(RETINA)
    config.merge_from_dict({"model.neck.fusion_factor": factor, "custom_hooks": []})
    found = [p for p in check_config(config) if p.key == "model.neck.fusion_factor"]
    assert [p.level for p in found] == ["note"] * bool(warned)
    assert all(p.detail.startswith(warned) for p in found)


def test_independent_faults_are_found_in_one_run() -> None:
    config = load_config(TINY)
    config.merge_from_dict(
        {
            "model.roi_head.bbox_head.num_classes": 2,
            "model.rpn_head.anchor_generator.strides": [8, 16, 32, 64, 128],
            "load_from": "no/such/file.pth",
        }
    )
    found = errors(check_config(config))
    assert [problem.key for problem in found] == [
        "model.rpn_head.anchor_generator.strides",
        "model.roi_head.bbox_head.num_classes",
        "load_from",
    ]
    for problem in found:
        config.merge_from_dict(dict(problem.changes))
    assert not errors(check_config(config))


def test_failed_import_is_an_error_and_its_consequence_a_note() -> None:
    config = load_config(RETINA)
    config.custom_imports.imports = ["fpn_necks", "no_such_module"]
    config.model.neck.type = "NeckOfThatModule"
    problems = check_config(config)
    (error,) = errors(problems)
    assert error.key == "custom_imports.imports"
    assert "no_such_module cannot be imported: ModuleNotFoundError" in error.detail
    notes = [f for f in problems if "NeckOfThatModule is not in" in f.detail]
    assert [note.level for note in notes] == ["note"]
    assert "consequence" in notes[0].remedy


def test_unknown_fault_is_told_in_the_models_own_words() -> None:
    config = load_config(RETINA)
    config.model.bbox_head.no_such_argument = 1
    (error,) = errors(check_config(config))
    assert error.key == "model"
    assert "no_such_argument" in error.detail


def test_learning_rate_is_a_hint_with_the_number_of_processes() -> None:
    config = load_config(RETINA)
    (hint,) = (f for f in check_config(config) if f.key.startswith("auto_scale_lr"))
    assert hint.level == "note"
    assert "is for 16 images per step; one process has 2" in hint.detail
    assert "8 processes" in hint.remedy
    config.merge_from_dict(dict(hint.changes))
    assert not [f for f in check_config(config) if f.key.startswith("auto_scale_lr")]


def test_weights_of_the_network_are_only_mentioned() -> None:
    config = load_config(RETINA)
    config.model.backbone.init_cfg.checkpoint = "https://no.such.host/resnet.pth"
    notes = [f for f in check_config(config) if "checkpoint" in f.key]
    assert [note.level for note in notes] == ["note"]
    assert notes[0].detail.startswith("needs download")


def test_unknown_parts_of_a_model_are_tolerated() -> None:
    """A detector type of another author may have further parts, named auxiliary."""
    from mmdet.models.detectors import RetinaNet
    from mmdet.registry import MODELS
    from torch import nn

    class DetectorWithAuxiliary(RetinaNet):
        def __init__(self, auxiliary: Any, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.auxiliary = nn.ModuleDict(
                {"bbox_head": MODELS.build(arguments["bbox_head"])}
            )
            self.auxiliary["bbox_head"].num_classes = auxiliary["num_classes"]

    MODELS.register_module(module=DetectorWithAuxiliary)
    try:
        config = load_config(RETINA)
        config.model.type = "DetectorWithAuxiliary"
        config.model.auxiliary = dict(num_classes=7)
        assert not errors(check_config(config))
        config.model.neck.start_level = 0
        assert len(errors(check_config(config))) == 1
    finally:
        MODELS.module_dict.pop("DetectorWithAuxiliary")
