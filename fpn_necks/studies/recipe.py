"""The recipe of the study: what every run has in common, stated before any was made.

A number here decides every result. Changing one changes the hash of all recipes, so
that old results are refused rather than mixed with new ones (``results.py``).

It was tuned with FPN alone, with `TUNING_SEED`, on BCCD's validation images;
docs/small_data.md says how.
"""

from __future__ import annotations

from typing import Any

STUDY_SEEDS = (0, 1, 2)
TUNING_SEED = 100  # of the trials; no seed of the study

# The budget: as many images for every run, whatever the data set. 12 passes through
# BCCD's 205 training images.
BATCH_SIZE = 4
ITERATIONS = 615
IMAGES_SEEN = BATCH_SIZE * ITERATIONS

# A quarter of the usual 256 channels, with all that follows from them.
CHANNELS = 64
FULLY_CONNECTED = 256
STACKED_CONVS = 2
# Half of ResNet-18's widths. Trained from scratch, with batch normalisation.
BACKBONE_WIDTHS = (32, 64, 128, 256)
ROIS_PER_IMAGE = 128  # of second stages and auxiliary losses; the images are small

LEARNING_RATE = 2e-3
WARM_UP = 50  # iterations


def backbone() -> dict[str, Any]:
    """Return the config of the backbone."""
    return dict(
        type="ResNet",
        depth=18,
        base_channels=BACKBONE_WIDTHS[0],
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        style="pytorch",
        init_cfg=None,
    )


def training() -> dict[str, Any]:
    """Return the part of a config that says how a detector is trained and tested."""
    return dict(
        train_cfg=dict(
            type="IterBasedTrainLoop",
            max_iters=ITERATIONS,
            val_interval=ITERATIONS + 1,
        ),
        test_cfg=dict(type="TestLoop"),
        optim_wrapper=dict(
            type="OptimWrapper",
            optimizer=dict(type="AdamW", lr=LEARNING_RATE, weight_decay=0.05),
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
            clip_grad=dict(max_norm=35, norm_type=2),
        ),
        param_scheduler=[
            dict(
                type="LinearLR",
                start_factor=0.05,
                by_epoch=False,
                begin=0,
                end=WARM_UP,
            ),
            dict(
                type="CosineAnnealingLR",
                by_epoch=False,
                begin=0,
                end=ITERATIONS,
                T_max=ITERATIONS,
                eta_min_ratio=0.02,
            ),
        ],
    )


def runtime() -> dict[str, Any]:
    """Return what a config needs beside model, data and training."""
    return dict(
        default_scope="mmdet",
        custom_imports=dict(imports=["fpn_necks"], allow_failed_imports=False),
        # Adds what the training cost to the result of the test.
        custom_hooks=[dict(type="fpn_necks.studies.training_time.TrainingTime")],
        default_hooks=dict(
            timer=dict(type="IterTimerHook"),
            logger=dict(type="LoggerHook", interval=20),
            param_scheduler=dict(type="ParamSchedulerHook"),
            checkpoint=dict(
                type="CheckpointHook", by_epoch=False, interval=100, max_keep_ckpts=1
            ),
            sampler_seed=dict(type="DistSamplerSeedHook"),
        ),
        env_cfg=dict(
            cudnn_benchmark=False,
            mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
            dist_cfg=dict(backend="nccl"),
        ),
        vis_backends=[dict(type="LocalVisBackend")],
        visualizer=dict(
            type="DetLocalVisualizer",
            vis_backends=[dict(type="LocalVisBackend")],
        ),
        log_processor=dict(type="LogProcessor", window_size=20, by_epoch=False),
        log_level="INFO",
        load_from=None,
        resume=False,
    )
