# "YOLOv3 @608 + ASFF" of the ASFF paper's Table 3. Its other rows are --cfg-options:
# model.neck.1.fusion=sum and model.neck.1.fusion=concat.
#
# mmdet's YOLOv3 lacks parts of the paper's baseline (38.8 AP): guided anchors, the IoU
# loss, the anchor-free branch, the SPP layer, mixup (also in pre-training), and the
# released label smoothing to 1 - 1/80 and 1/80.
# The schedule is the paper's (Sec. 3.4). The released code warms up for 5 epochs with
# the 4th power, starts the cosine at epoch 20 and stays at 1e-5 from epoch 270 on; it
# trains in half precision (--amp), with 608 px alone in the last 10 epochs.
_base_ = "mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

base_sizes = _base_.model.bbox_head.anchor_generator.base_sizes
base_sizes[0][2], base_sizes[1][2] = (121, 240), (42, 119)  # of the released code
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    data_preprocessor=dict(  # squares of one size, a multiple of 32
        batch_augments=[
            dict(type="BatchSyncRandomResize", random_size_range=(320, 608))
        ]
    ),
    backbone=dict(norm_eval=False, norm_cfg=norm_cfg),
    neck=[
        dict(
            type="YOLOV3Neck",
            norm_cfg=norm_cfg,
            num_scales=3,
            in_channels=[1024, 512, 256],
            out_channels=[512, 256, 128],
        ),
        dict(
            type="ASFF",
            norm_cfg=norm_cfg,
            order="coarse_to_fine",
            in_channels=[512, 256, 128],
            lead_channels=[None, None, 256],
            out_channels=[1024, 512, 256],
        ),
    ],
    # ASFF ends in the convs that mmdet's head begins with.
    bbox_head=dict(
        type="BridgelessYOLOV3Head",
        in_channels=[1024, 512, 256],
        anchor_generator=dict(base_sizes=base_sizes),
        # The released sums are divided by the images of the GPU, mmdet's are not.
        loss_cls=dict(loss_weight=1 / 16),
        loss_conf=dict(loss_weight=1 / 16),
        loss_xy=dict(loss_weight=2 / 16),
        loss_wh=dict(loss_weight=2 / 16),
    ),
    test_cfg=dict(
        conf_thr=0.001,
        score_thr=0.001,
        nms_pre=10000,
        nms=dict(iou_threshold=0.65),  # of the released code; the paper says 0.6
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PhotoMetricDistortion"),
    dict(
        type="Expand",
        mean=[123.675, 116.28, 103.53],
        to_rgb=True,
        ratio_range=(1, 4),
        prob=0.5,
    ),
    dict(
        type="MinIoURandomCrop", min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomApply",
        prob=0.5,
        transforms=[
            dict(
                type="RandomAffine",
                scaling_ratio_range=(0.9, 1.1),
                border_val=(104, 116, 124),
            )
        ],
    ),
    dict(type="Resize", scale=(608, 608), keep_ratio=False),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(6, 6), keep_empty=False),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(
    batch_size=16, batch_sampler=None, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = _base_.val_dataloader
val_dataloader.dataset.pipeline[1].keep_ratio = False
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=300)
optim_wrapper = dict(clip_grad=None)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, end=4, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=4, end=300, T_max=296, eta_min=1e-5),
]
auto_scale_lr = dict(base_batch_size=64)
