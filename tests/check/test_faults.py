"""Each fault is found, named with its key, and told once."""

from typing import Any, NamedTuple

import pytest

from fpn_necks.check import Problem, check_config
from tests.tiny_detectors import load_config

RETINA = "retinanet_r50_s-alpha-fpn_1x_coco"
FASTER = "faster-rcnn_r50_s-alpha-fpn_1x_coco"
FCOS = "s_alpha_fpn/fcos_r50_s-alpha-fpn_gn-head_1x_coco.py"
CASCADE = "cascade-mask-rcnn_r50_augfpn_1x_coco"
TINY = "faster-rcnn_r50_s-alpha-fpn_1xb2-1x_tinyperson"
STAGES = "retinanet_r50_asff_1x_coco"
DRFPN = "faster-rcnn_r50_drfpn_3xb8-1x_coco"
AUGFPN = "faster-rcnn_r50_augfpn_1x_coco"


class Fault(NamedTuple):
    """A change that breaks a config, and what must be said of it.

    ``key`` is the end of the problem's key, by default that of the change; ``others``
    is the number of further problems that it causes.
    """

    config: str
    changes: dict[str, Any]
    said: str
    remedy: str = ""
    key: str = ""
    level: str = "error"
    others: int = 0


ANCHORS = "model.bbox_head.anchor_generator.strides"
# One per rule.
CORE = {
    "no-custom-imports": Fault(
        RETINA,
        {"custom_imports": None},
        "model.neck.type is SAlphaFPN",
        "custom_imports = dict(imports=['fpn_necks'], allow_failed_imports=False)",
    ),
    "out_indices": Fault(
        RETINA,
        {"model.backbone.out_indices": (1, 2, 3)},
        "the neck expects 4 backbone maps of [256, 512, 1024, 2048] channels; the "
        "backbone gives 3 of [512, 1024, 2048] (out_indices=(1, 2, 3))",
        "in_channels=[512, 1024, 2048]",
        key="model.neck.in_channels",
    ),
    "start_level-forgotten": Fault(
        RETINA,
        {"model.neck.start_level": 0},
        "RetinaHead expects strides [8, 16, 32, 64, 128]; it gets 5 maps of strides [4",
        f"set model.neck.start_level=1 and num_outs=5, or set {ANCHORS} to [4, 8, ",
        key=ANCHORS,
    ),
    "num_outs-too-small": Fault(
        FASTER, {"model.neck.num_outs": 3}, "num_outs must be at least 4", key="neck"
    ),
    "extractor-of-other-levels": Fault(
        FASTER,
        {"model.roi_head.bbox_roi_extractor.featmap_strides": [8, 16, 32, 64]},
        "SingleRoIExtractor expects strides [8, 16, 32, 64]",
        "featmap_strides to [4, 8, 16, 32]",
    ),
    "stage-of-another-width": Fault(
        STAGES, {"model.neck.1.in_channels": 128}, "must have 128 channels", key="1"
    ),
    "statistic-without-hook": Fault(
        RETINA,
        {"custom_hooks": []},
        "counted from the training set by FusionFactorHook",
        "dict(type='FusionFactorHook')",
    ),
    "misspelt-type": Fault(
        RETINA, {"model.neck.type": "SAlphaFpn"}, "mean 'SAlphaFPN'?", key="neck"
    ),
    "head-of-another-width": Fault(
        RETINA,
        {"model.bbox_head.in_channels": 128},
        "RetinaHead expects 128 channels; the maps have 256",
        "width of the maps",
    ),
    "num_classes": Fault(
        TINY,
        {"model.roi_head.bbox_head.num_classes": 80},
        "tells 80 classes apart; train_dataloader.dataset has 1 (person)",
        "set it to 1",
    ),
    "missing-weights": Fault(
        RETINA,
        {"model.backbone.init_cfg.checkpoint": "no/such/resnet.pth"},
        "there is no file no/such/resnet.pth",
        "correct the path",
    ),
    "one-image": Fault(
        DRFPN,
        {
            "train_dataloader.batch_size": 1,
            "train_dataloader.batch_sampler.drop_last": True,
        },
        "cannot be trained with one image",
        "two images",
    ),
    "last-batch-of-one-image": Fault(
        DRFPN,
        {"train_dataloader.batch_sampler.drop_last": False},
        "the last batch of an epoch can be one image",
        "set it to True",
        level="warning",
    ),
    "asff-as-only-neck": Fault(
        RETINA,
        {"model.neck.type": "ASFF"},
        "neck=[dict(type='FPN', ...), dict(type='ASFF', ...)]",
        key="neck",
    ),
}
LONG = {
    "classes-of-auxiliary-heads": Fault(
        AUGFPN,
        {"model.auxiliary.bbox_head": {"num_classes": 3}},
        "bbox_head tells 3 classes apart",
        "set it to 80",
        key="model.auxiliary.bbox_head.num_classes",
    ),
    "other-custom-imports": Fault(
        RETINA,
        {"custom_imports.imports": ["json"]},
        "unless json imports it",
        "imports=['fpn_necks', 'json']",
        key="custom_imports",
        level="warning",
    ),
    "in_channels-of-another-backbone": Fault(
        RETINA,
        {"model.neck.in_channels": [64, 128, 256, 512]},
        "backbone gives 4 of [256, 512, 1024, 2048]",
        "in_channels=[256, 512, 1024, 2048]",
    ),
    "a-level-too-few": Fault(
        FCOS,
        {"model.neck.num_outs": 4},
        "FCOSHead expects 5 maps of strides",
        "start_level=1 and num_outs=5",
        key="model.bbox_head.strides",
    ),
    "end_level": Fault(
        FASTER,
        {"model.neck.end_level": 2, "model.neck.num_outs": 3},
        "RPNHead expects 5 maps",
        key="model.rpn_head.anchor_generator.strides",
        others=1,  # the RoI extractor reads four
    ),
    "strides-no-neck-can-give": Fault(
        RETINA,
        {ANCHORS: [16, 32, 8, 64, 128]},
        "expects strides [16, 32, 8, 64, 128]",
        f"set {ANCHORS} to [8, 16, 32, 64, 128]",
    ),
    "ranges-of-fcos": Fault(
        FCOS,
        {"model.bbox_head.regress_ranges": ((-1, 64), (64, 128), (128, 100000000.0))},
        "3 ranges of regression for 5 maps",
    ),
    "more-fused-than-there-are": Fault(
        STAGES, {"model.neck.1.num_fused": 6}, "num_fused is 6, but", key="1"
    ),
    "num_classes-of-a-stage": Fault(
        CASCADE, {"model.roi_head.bbox_head.1.num_classes": 3}, "tells 3 classes apart"
    ),
    "classes-as-text": Fault(
        TINY,
        {"train_dataloader.dataset.metainfo.classes": "person"},
        "'person' is a text",
        "('person',)",
    ),
    "classes-of-testing": Fault(
        RETINA,
        {"test_dataloader.dataset.metainfo": {"classes": ("cat", "dog")}},
        "2 classes (cat, dog), where train_dataloader.dataset has 80",
        key="test_dataloader.dataset.metainfo.classes",
    ),
}
CASES = [
    *(pytest.param(fault, id=name) for name, fault in CORE.items()),
    *(
        pytest.param(fault, id=name, marks=pytest.mark.long)
        for name, fault in LONG.items()
    ),
]


def errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.level == "error"]


def problems_with(name: str, changes: dict[str, Any]) -> list[Problem]:
    config = load_config(name)
    config.merge_from_dict(changes)
    if config.custom_imports is None:
        config.pop("custom_imports")
    return check_config(config)


@pytest.mark.parametrize("fault", CASES)
def test_fault_is_named(fault: Fault) -> None:
    problems = problems_with(fault.config, fault.changes)
    serious = [p for p in problems if p.level != "note"]
    (found,) = (p for p in serious if fault.said in p.detail)
    assert found.level == fault.level and fault.remedy in found.remedy
    assert found.key.endswith(fault.key or next(iter(fault.changes)))
    assert len(serious) == 1 + fault.others, serious


def test_narrower_neck_names_everything_behind_it() -> None:
    changes = {"model.neck.out_channels": 128}
    found = errors(problems_with("mask-rcnn_r50_augfpn_1x_coco", changes))
    assert {problem.key for problem in found} == {
        "model.rpn_head.in_channels",
        "model.roi_head.bbox_roi_extractor.out_channels",
        "model.roi_head.mask_roi_extractor.out_channels",
        "model.roi_head.bbox_head.in_channels",
        "model.roi_head.mask_head.in_channels",
    }


@pytest.mark.parametrize(
    ("factor", "warned"),
    [(2, "α = 2"), (0.9, ""), ([0.5, 1.0], "α = 1.0"), ([1, 1], "")],
)
def test_factors_that_do_not_lower(factor: Any, warned: str) -> None:
    """1 everywhere is a plain FPN; the paper's own factors reach 1.06."""
    problems = problems_with(
        RETINA, {"model.neck.fusion_factor": factor, "custom_hooks": []}
    )
    found = [p for p in problems if p.key == "model.neck.fusion_factor"]
    assert [p.level for p in found] == ["note"] * bool(warned)
    assert all(p.detail.startswith(warned) for p in found)


def test_independent_faults_are_found_in_one_run() -> None:
    changes = {
        "model.roi_head.bbox_head.num_classes": 2,
        "model.rpn_head.anchor_generator.strides": [8, 16, 32, 64, 128],
        "load_from": "no/such/file.pth",
    }
    assert [problem.key for problem in errors(problems_with(TINY, changes))] == [
        "model.rpn_head.anchor_generator.strides",
        "model.roi_head.bbox_head.num_classes",
        "load_from",
    ]


def test_failed_import_is_an_error_and_its_consequence_a_note() -> None:
    problems = problems_with(
        RETINA,
        {
            "custom_imports.imports": ["fpn_necks", "no_such_module"],
            "model.neck.type": "NeckOfThatModule",
        },
    )
    (error,) = errors(problems)
    assert error.key == "custom_imports.imports"
    assert "no_such_module cannot be imported: ModuleNotFoundError" in error.detail
    (note,) = (p for p in problems if "no type 'NeckOfThatModule'" in p.detail)
    assert note.level == "note" and "consequence" in note.remedy


def test_notes_of_a_config_without_fault() -> None:
    """The learning rate with the number of processes, and what would be loaded."""
    url = "https://no.such.host/resnet.pth"
    problems = problems_with(RETINA, {"model.backbone.init_cfg.checkpoint": url})
    weights, rate = sorted(problems, key=lambda problem: problem.remedy)
    assert {weights.level, rate.level} == {"note"}
    assert weights.detail == f"needs download (or a cached copy): {url}"
    assert "is for 16 images per step; one process has 2" in rate.detail
    assert "8 processes" in rate.remedy


def test_other_authors_detectors_may_have_an_auxiliary_part() -> None:
    from mmdet.models.detectors import RetinaNet
    from mmdet.registry import MODELS
    from torch import nn

    class DetectorWithAuxiliary(RetinaNet):
        def __init__(self, auxiliary: Any, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.auxiliary = nn.ModuleDict(
                {"bbox_head": MODELS.build(arguments["bbox_head"])}
            )

    MODELS.register_module(module=DetectorWithAuxiliary)
    changes = {"model.type": "DetectorWithAuxiliary", "model.auxiliary.num_classes": 7}
    try:
        assert not errors(problems_with(RETINA, changes))
        changes["model.neck.start_level"] = 0
        assert len(errors(problems_with(RETINA, changes))) == 1
    finally:
        MODELS.module_dict.pop("DetectorWithAuxiliary")
