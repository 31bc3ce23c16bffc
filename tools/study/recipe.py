"""The study's recipe and budget, fixed before the first run.

Every neck chooses its learning rate from `RATES` by one short trial of each, tested on
training images that are set apart (``choose``); then it trains on the whole training
split with that rate and each of `SEEDS`. The curve over α has one rate, FPN's. Nothing
is chosen on the images that the results are measured on.

Budget: at most 57 runs and 28 trials. On one idle core a run on TinyPerson costs about
ten minutes, half of them its test, one on BCCD four, a trial three: nine hours in all.
The order is that of `entries`; what time does not suffice for is reported as not run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

SEEDS = (0, 1, 2)
RATES = (5e-4, 1e-3)
STEPS = {"tinyperson": 300, "bccd": 200}
TRIAL_STEPS = {"tinyperson": 120, "bccd": 80}
WARM_UP = 50
BATCH_SIZE = 4
CHANNELS = 64
TILE = (320, 256)  # of training on TinyPerson: width, height
TILES = dict(size=(640, 512), overlap=(50, 50))  # of testing on TinyPerson
BACKBONE_CHANNELS = (24, 40, 112, 320)
STRIDES = (4, 8, 16, 32, 64)
ROIS_PER_IMAGE = 64  # of AugFPN's auxiliary losses, which take 512 as released

# How the images are prepared: their size (width, height), how many boxes an image may
# have, which split gives results, and how many images at most choose the rates.
# `test_size` is what the detector sees at a time, for which multiply-adds are counted.
PREPARATION: dict[str, dict[str, Any]] = {
    "tinyperson": dict(
        size=(1280, 720), most_boxes=200, test="val", choose=30, test_size=(640, 512)
    ),
    "bccd": dict(
        size=(320, 240), most_boxes=None, test="test", choose=30, test_size=(320, 256)
    ),
}

NECKS = {
    "fpn": "FPN",
    "pafpn": "PAFPN",
    "s-alpha-fpn": "S-α FPN",
    "cfg-fpn": "CFG-FPN, rank 32",
    "asff": "FPN + ASFF",
    "augfpn": "AugFPN",
    "drfpn": "DRFPN",
}
# Fig. 1 of the S-α paper; α = 1 is FPN, bit for bit.
CURVE = {
    "alpha-0": 0.0,
    "alpha-0.25": 0.25,
    "alpha-0.5": 0.5,
    "alpha-0.75": 0.75,
    "fpn": 1.0,
    "s-alpha-fpn": None,  # the released statistic
}
METRICS = {"tinyperson": "tiny_person/AP50_tiny", "bccd": "coco/bbox_mAP_50"}


@dataclass(frozen=True)
class Run:
    """A training with its test.

    Args:
        data: a key of `PREPARATION`.
        neck: a key of `NECKS` or of `CURVE`.
        rate: the learning rate.
        seed: of the initialisation and the order of images.
        trial: train shortly and test on the images that choose the rate.
    """

    data: str
    neck: str
    rate: float
    seed: int = 0
    trial: bool = False

    @property
    def name(self) -> str:
        """Name of its files."""
        end = "trial" if self.trial else f"seed{self.seed}"
        return f"{self.data}_{self.neck}_{self.rate:g}_{end}"


@dataclass(frozen=True)
class Entry:
    """A run whose learning rate the trials of a neck, `chooser`, choose."""

    data: str
    neck: str
    seed: int
    chooser: str

    def trials(self) -> list[Run]:
        """Return the runs that choose the rate."""
        return [Run(self.data, self.chooser, rate, trial=True) for rate in RATES]

    def run(self, rate: float) -> Run:
        """Return the run with a rate."""
        return Run(self.data, self.neck, rate, self.seed)


def curve_entries(seed: int) -> list[Entry]:
    """Return the curve over α: one rate, so that α alone differs."""
    return [Entry("tinyperson", neck, seed, "fpn") for neck in CURVE]


def neck_entries(data: str, seed: int) -> list[Entry]:
    """Return the comparison of necks: each has its own rate."""
    return [Entry(data, neck, seed, neck) for neck in NECKS]


def entries() -> list[Entry]:
    """Return all that is to be run, in order. Two entries may be one run."""
    tiny = [[*curve_entries(k), *neck_entries("tinyperson", k)] for k in SEEDS]
    blood = [neck_entries("bccd", k) for k in SEEDS]
    return [entry for group in tiny + blood for entry in group]


def config(run: Run, data_root: Path, work_dir: Path) -> dict[str, Any]:
    """Return a run's config for mmengine's ``Runner``.

    Args:
        run: the run.
        data_root: folder of the prepared data, see ``data.prepare``.
        work_dir: where checkpoints and logs go.
    """
    steps = (TRIAL_STEPS if run.trial else STEPS)[run.data]
    model, hooks = _detector(run)
    return dict(
        default_scope="mmdet",
        custom_imports=dict(imports=["fpn_necks", "modules"]),
        model=model,
        custom_hooks=[dict(type="StopWhenDiverged"), *hooks],
        **_data(run, f"{data_root}/"),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=steps, val_interval=10**9),
        test_cfg=dict(type="TestLoop"),
        optim_wrapper=dict(
            type="OptimWrapper",
            optimizer=dict(type="AdamW", lr=run.rate, weight_decay=0.05),
            paramwise_cfg=dict(
                custom_keys=dict(backbone=dict(lr_mult=0.3)),
                norm_decay_mult=0.0,
                bias_decay_mult=0.0,
            ),
            clip_grad=dict(max_norm=10),
        ),
        param_scheduler=[
            dict(
                type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=WARM_UP
            ),
            dict(
                type="CosineAnnealingLR",
                begin=WARM_UP,
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


def recipe_hash(run: Run) -> str:
    """Return a digest of all that a result depends on, but for its rate and seed.

    It is the same wherever data and files lie, and for runs that only differ in those.
    """
    settings = config(replace(run, rate=1.0, seed=0), Path("data"), Path("work"))
    for key in ("custom_imports", "default_hooks"):
        del settings[key]
    text = json.dumps([settings, PREPARATION[run.data]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _detector(run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return RetinaNet with a neck, and the hooks that the neck needs."""
    is_tiny = run.data == "tinyperson"
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
            num_classes=1 if is_tiny else 3,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=2,
            anchor_generator=dict(
                type="RoundedAnchorGenerator",
                octave_base_scale=2 if is_tiny else 4,
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=list(STRIDES),
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
            nms=dict(type="nms", iou_threshold=0.4 if is_tiny else 0.5),
            max_per_img=100,
        ),
    )
    neck: dict[str, Any] = dict(
        type="FPN",
        in_channels=list(BACKBONE_CHANNELS),
        out_channels=CHANNELS,
        num_outs=len(STRIDES),
    )
    hooks = []
    if run.neck == "s-alpha-fpn":
        neck.update(type="SAlphaFPN", fusion_factor=dict(type="StatisticFusionFactor"))
        hooks.append(dict(type="FusionFactorHook"))
    elif run.neck.startswith("alpha-"):
        neck.update(type="SAlphaFPN", fusion_factor=CURVE[run.neck])
    elif run.neck == "cfg-fpn":
        neck.update(type="CFGFPN", rank=32)
    elif run.neck == "augfpn":
        neck.update(type="AugFPN", residual_to_extra_level=True)
        model["type"] = "AuxiliaryRetinaNet"
        model["auxiliary"] = dict(
            type="RoIAuxiliary",
            bbox_head=dict(fc_out_channels=256),
            sampler=dict(
                type="RandomSampler",
                num=ROIS_PER_IMAGE,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
        )
    elif run.neck in ("pafpn", "drfpn"):
        neck["type"] = run.neck.upper()
    model["neck"] = neck
    if run.neck == "asff":
        refinement = dict(
            type="ASFF",
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_fused=len(BACKBONE_CHANNELS),
            norm_cfg=dict(type="GN", num_groups=16),
            act_cfg=dict(type="ReLU"),
        )
        model["neck"] = [neck, refinement]
    return model, hooks


def _data(run: Run, root: str) -> dict[str, Any]:
    """Return loaders and evaluator; trials see nothing of the test images."""
    train_split, test_split = ("fit", "choose") if run.trial else ("train", "test")
    image = dict(type="LoadImageFromFile")
    boxes = dict(type="LoadAnnotations", with_bbox=True)
    scale = dict(type="Resize", scale_factor=1.0)  # for the metas that testing needs
    pack = dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    )
    flip = [dict(type="RandomFlip", prob=0.5), dict(type="PackDetInputs")]
    test_file = f"{root}annotations/{test_split}.json"
    if run.data == "tinyperson":
        shared = dict(type="TinyPersonDataset", metainfo=dict(classes=("person",)))
        crop = dict(type="RandomCrop", crop_size=TILE[::-1])
        learn, tiles = [image, boxes, crop, *flip], dict(tiles=TILES)
        evaluator = dict(type="TinyPersonMetric", ann_file=test_file, **tiles)
    else:
        classes = ("RBC", "WBC", "Platelets")
        shared = dict(type="CocoDataset", metainfo=dict(classes=classes))
        learn, tiles = [image, boxes, *flip], {}
        evaluator = dict(type="CocoMetric", ann_file=test_file, metric="bbox")
    shared["data_prefix"] = dict(img=f"{root}images/")
    train = dict(
        shared,
        ann_file=f"{root}annotations/{train_split}.json",
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=learn,
    )
    test = dict(
        shared,
        ann_file=test_file,
        test_mode=True,
        pipeline=[image, scale, boxes, pack],
        **tiles,
    )
    common = dict(batch_size=BATCH_SIZE, num_workers=0)
    return dict(
        train_dataloader=dict(
            dataset=train, sampler=dict(type="InfiniteSampler"), **common
        ),
        test_dataloader=dict(
            dataset=test, sampler=dict(type="DefaultSampler", shuffle=False), **common
        ),
        test_evaluator=evaluator,
    )
