"""The study's configs: one detector, one schedule, in which only the neck differs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from recipe import (
    BACKBONE_CHANNELS,
    BATCH_SIZE,
    CHANNELS,
    CURVE,
    PREPARATION,
    ROIS_PER_IMAGE,
    STEPS,
    STRIDES,
    TILE,
    TILES,
    TRIAL_STEPS,
    WARM_UP,
    Run,
)

GROUP_NORM = dict(type="GN", num_groups=16)


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
    elif run.neck == "fpn-gn":
        neck["norm_cfg"] = GROUP_NORM
    model["neck"] = neck
    if run.neck in ("asff", "asff-no-norm"):
        refinement = dict(
            type="ASFF",
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_fused=len(BACKBONE_CHANNELS),
            norm_cfg=GROUP_NORM if run.neck == "asff" else None,
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
