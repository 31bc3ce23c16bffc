"""The study's recipe: which runs there are, and the config of each.

Fixed before the first run: every neck chooses its learning rate from `RATES` by one
short run of each on images of the training split that are set apart, then trains with
that rate and `SEEDS`. The budget of every run is the same. Nothing is chosen on the
images that the results are measured on.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEEDS = (0, 1, 2)
RATES = (2.5e-4, 5e-4, 1e-3)
STEPS = 1000
TRIAL_STEPS = 300
BATCH_SIZE = 4
CHANNELS = 64
TILE = (256, 256)  # of training: width, height
TILES = dict(size=(640, 512), overlap=(50, 50))  # of testing
BACKBONE_CHANNELS = (24, 40, 112, 320)

NECKS = {
    "fpn": "FPN",
    "pafpn": "PAFPN",
    "s-alpha-fpn": "S-α FPN, α by the released statistic",
    "cfg-fpn": "CFG-FPN, rank 32",
    "asff": "FPN + ASFF",
    "augfpn": "AugFPN with consistent supervision",
    "drfpn": "DRFPN",
}
ALPHAS = (0.0, 0.25, 0.5, 0.75)  # α = 1 is FPN
DATA = {"tinyperson": "TinyPerson", "bccd": "BCCD"}
METRIC = {"tinyperson": "tiny_person/AP50_tiny", "bccd": "coco/bbox_mAP_50"}


@dataclass(frozen=True)
class Run:
    """A training with its test.

    Args:
        data: a key of `DATA`.
        neck: a key of `NECKS`, or ``alpha-0.25`` for a fixed α.
        seed: of the initialisation and the order of images.
        rate: learning rate of a trial, tested on the images set apart; ``None``: the
            chosen one, tested on the images that results are measured on.
    """

    data: str
    neck: str
    seed: int = 0
    rate: float | None = None

    @property
    def name(self) -> str:
        """Name of its files."""
        end = f"seed{self.seed}" if self.rate is None else f"trial-{self.rate:g}"
        return f"{self.data}_{self.neck}_{end}"


def trials(run: Run) -> list[Run]:
    """Return the runs that choose the learning rate of a run.

    The α of a sweep share FPN's rate, so that α alone differs.
    """
    neck = "fpn" if run.neck.startswith("alpha-") else run.neck
    return [Run(run.data, neck, rate=rate) for rate in RATES]


def all_runs() -> list[Run]:
    """Return all runs with results, the most wanted first."""
    curve = ["fpn", *(f"alpha-{alpha:g}" for alpha in ALPHAS), "s-alpha-fpn"]
    necks = [neck for neck in NECKS if neck not in curve]
    groups = [("tinyperson", curve), ("tinyperson", necks), ("bccd", list(NECKS))]
    return [
        Run(data, neck, seed)
        for seed in SEEDS
        for data, group in groups
        for neck in group
    ]


def config(run: Run, rate: float, data_root: Path, work_dir: Path) -> dict[str, Any]:
    """Return a run's config for mmengine's ``Runner``.

    Args:
        run: the run.
        rate: the learning rate.
        data_root: folder of the prepared data, see ``study.prepare``.
        work_dir: where checkpoints and logs go.
    """
    steps = STEPS if run.rate is None else TRIAL_STEPS
    test_split = "test" if run.rate is None else "choose"
    model, hooks = _detector(run)
    load, test_settings = _DATASETS[run.data](f"{data_root}/", test_split)
    return dict(
        default_scope="mmdet",
        custom_imports=dict(imports=["fpn_necks", "lite0"]),
        model=model,
        custom_hooks=hooks,
        **load,
        **test_settings,
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=steps, val_interval=10**9),
        test_cfg=dict(type="TestLoop"),
        optim_wrapper=dict(
            type="OptimWrapper",
            optimizer=dict(type="AdamW", lr=rate, weight_decay=0.05),
            paramwise_cfg=dict(
                custom_keys=dict(backbone=dict(lr_mult=0.3)),
                norm_decay_mult=0.0,
                bias_decay_mult=0.0,
            ),
            clip_grad=dict(max_norm=10),
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
            dict(
                type="CosineAnnealingLR",
                begin=100,
                end=steps,
                eta_min_ratio=0.02,
                by_epoch=False,
            ),
        ],
        default_hooks=dict(
            timer=dict(type="IterTimerHook"),
            logger=dict(type="LoggerHook", interval=50),
            param_scheduler=dict(type="ParamSchedulerHook"),
            checkpoint=dict(
                type="CheckpointHook", by_epoch=False, interval=100, max_keep_ckpts=1
            ),
            sampler_seed=dict(type="DistSamplerSeedHook"),
        ),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=run.seed),
        resume=True,
        work_dir=str(work_dir),
        experiment_name=run.name,
    )


def recipe_hash(settings: dict[str, Any], data_root: Path) -> str:
    """Return a digest of all that a result depends on, wherever data and files lie."""
    kept = {
        key: value
        for key, value in settings.items()
        if key not in ("work_dir", "custom_imports", "default_hooks", "resume")
    }
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.replace(str(data_root), "DATA").encode()).hexdigest()


def _detector(run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    strides = [4, 8, 16, 32, 64]
    classes, scale = (1, 2) if run.data == "tinyperson" else (3, 4)
    neck: Any = dict(
        type="FPN",
        in_channels=list(BACKBONE_CHANNELS),
        out_channels=CHANNELS,
        num_outs=len(strides),
    )
    model: dict[str, Any] = dict(
        type="RetinaNet",
        data_preprocessor=dict(
            type="DetDataPreprocessor",
            mean=[127.0] * 3,
            std=[128.0] * 3,
            bgr_to_rgb=True,
            pad_size_divisor=32,
        ),
        backbone=dict(type="EfficientNetLite0"),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=classes,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=2,
            anchor_generator=dict(
                type="AnchorGenerator",
                octave_base_scale=scale,
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=strides,
                center_offset=0.5,
            ),
            bbox_coder=dict(
                type="DeltaXYWHBBoxCoder",
                target_means=[0.0] * 4,
                target_stds=[0.1, 0.1, 0.2, 0.2],
            ),
            loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25),
            loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=0.25),
        ),
        train_cfg=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=0.5,
            ),
            sampler=dict(type="PseudoSampler"),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=1000,
            min_bbox_size=0,
            score_thr=0.01,
            nms=dict(type="nms", iou_threshold=0.4),
            max_per_img=100,
        ),
    )
    hooks = []
    if run.neck == "s-alpha-fpn":
        neck.update(type="SAlphaFPN", fusion_factor=dict(type="StatisticFusionFactor"))
        hooks = [dict(type="FusionFactorHook")]
    elif run.neck.startswith("alpha-"):
        neck.update(type="SAlphaFPN", fusion_factor=float(run.neck[6:]))
    elif run.neck == "cfg-fpn":
        neck.update(type="CFGFPN", rank=32)
    elif run.neck == "asff":
        refinement = dict(
            type="ASFF",
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_fused=len(BACKBONE_CHANNELS),
            norm_cfg=dict(type="GN", num_groups=16),
            act_cfg=dict(type="ReLU"),
        )
        neck = [neck, refinement]
    elif run.neck == "augfpn":
        neck.update(type="AugFPN", residual_to_extra_level=True)
        model["type"] = "AuxiliaryRetinaNet"
        model["auxiliary"] = dict(
            type="RoIAuxiliary", bbox_head=dict(fc_out_channels=256)
        )
    else:
        neck["type"] = run.neck.upper()
    model["neck"] = neck
    return model, hooks


def _loaders(train: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    common = dict(num_workers=0)
    return dict(
        train_dataloader=dict(
            batch_size=BATCH_SIZE,
            sampler=dict(type="InfiniteSampler"),
            dataset=train,
            **common,
        ),
        test_dataloader=dict(
            batch_size=BATCH_SIZE,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=test,
            **common,
        ),
    )


_PACK = dict(
    type="PackDetInputs",
    meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
)
_READ: list[dict[str, Any]] = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
]
_FLIP_AND_PACK: list[dict[str, Any]] = [
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]


def _tiny_person(root: str, test_split: str) -> tuple[dict[str, Any], dict[str, Any]]:
    shared = dict(type="TinyPersonDataset", metainfo=dict(classes=("person",)))
    # Until the rates are chosen, the images that choose them are not trained on.
    train_split = "train" if test_split == "test" else "fit"
    crop = dict(
        type="RandomCrop", crop_size=(TILE[1], TILE[0]), allow_negative_crop=True
    )
    train = dict(
        shared,
        ann_file=f"{root}annotations/{train_split}.json",
        data_prefix=dict(img=f"{root}images/"),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[*_READ, crop, *_FLIP_AND_PACK],
    )
    test_pipeline = [_READ[0], dict(type="Resize", scale_factor=1.0), _READ[1], _PACK]
    test = dict(
        shared,
        ann_file=f"{root}annotations/{test_split}.json",
        data_prefix=dict(img=f"{root}images/"),
        tiles=TILES,
        test_mode=True,
        pipeline=test_pipeline,
    )
    evaluator = dict(type="TinyPersonMetric", ann_file=test["ann_file"], tiles=TILES)
    return _loaders(train, test), dict(test_evaluator=evaluator)


def _bccd(root: str, test_split: str) -> tuple[dict[str, Any], dict[str, Any]]:
    classes = ("RBC", "WBC", "Platelets")
    shared = dict(type="CocoDataset", metainfo=dict(classes=classes))
    resize = dict(type="Resize", scale=(320, 240), keep_ratio=True)
    train = dict(
        shared,
        ann_file=f"{root}annotations/train.json",
        data_prefix=dict(img=f"{root}train/"),
        pipeline=[*_READ, resize, *_FLIP_AND_PACK],
    )
    # BCCD's own validation images choose the rates, its test images give results.
    folder = {"test": "test", "choose": "val"}[test_split]
    test = dict(
        shared,
        ann_file=f"{root}annotations/{folder}.json",
        data_prefix=dict(img=f"{root}{folder}/"),
        test_mode=True,
        pipeline=[_READ[0], resize, _READ[1], _PACK],
    )
    evaluator = dict(type="CocoMetric", ann_file=test["ann_file"], metric="bbox")
    return _loaders(copy.deepcopy(train), test), dict(test_evaluator=evaluator)


_DATASETS = {"tinyperson": _tiny_person, "bccd": _bccd}
