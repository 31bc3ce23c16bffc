# The demo of tools/demo.sh: RetinaNet with S-α FPN, from scratch and small enough for
# two CPU cores, trained and tested on the tiles of larger images. For mmdet's own
# tools/train.py make the set first:
#   fpn-necks tiny-person synthesize data/synthetic_tiny_person \
#     --num-train 80 --num-val 24 --image-size 592 464 --size-range 5 32 \
#     --people-per-image 17 51 --distractors-per-image 10 34 --merge-classes
# A set elsewhere (ROOT with a slash at its end) is given with
#   --cfg-options train_dataloader.dataset.data_root=ROOT \
#     val_dataloader.dataset.data_root=ROOT \
#     val_evaluator.ann_file=ROOTannotations/val.json
# and for tools/test.py the same with test_ in place of val_.
_base_ = [
    "mmdet::_base_/models/retinanet_r50_fpn.py",
    "../_base_/datasets/tiny_person.py",
    "mmdet::_base_/schedules/schedule_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)
# Fills α from the training boxes before the first step.
custom_hooks = [dict(type="FusionFactorHook")]

data_root = "data/synthetic_tiny_person/"
# Two by two tiles of an image. Nearly everybody fits into the overlap.
tiles = dict(size=(320, 256), overlap=(48, 48), cut_boxes="ignore")
strides = [4, 8, 16, 32, 64]  # P2 to P6
channels = 64
max_epochs = 4

model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(
        type="SAlphaFPN",
        in_channels=[32, 64, 128, 256],
        out_channels=channels,
        start_level=0,
        num_outs=len(strides),
        add_extra_convs=False,
        fusion_factor=dict(type="StatisticFusionFactor"),
    ),
    bbox_head=dict(
        num_classes=1,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=1,
        # Smallest anchor of each level: twice its stride, 8 to 128 px.
        anchor_generator=dict(octave_base_scale=2, strides=strides),
    ),
    # Ignored people are in the images, unlike in TinyPerson's erased ones.
    train_cfg=dict(assigner=dict(ignore_iof_thr=0.5)),
    # The score is low enough that the untrained network, at about 0.01, detects too.
    test_cfg=dict(score_thr=0.001, nms=dict(type="nms", iou_threshold=0.4)),
)

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    # As the README's numbers were made; these images are decoded in no time.
    sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True),
    dataset=dict(
        data_root=data_root,
        ann_file="annotations/train.json",
        data_prefix=dict(img="train/"),
        tiles=tiles,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        data_root=data_root,
        ann_file="annotations/val.json",
        data_prefix=dict(img="val/"),
        tiles=tiles,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + "annotations/val.json",
    tiles=tiles,
    # TinyPerson's files for testing hold no dense images; the drawn set does.
    leave_out_dense=True,
)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(
        type="CosineAnnealingLR",
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=max_epochs))
