# "YOLOv3 @608 + ASFF" of the ASFF paper's Table 3. Its other rows are --cfg-options:
# model.neck.1.fusion=sum and model.neck.1.fusion=concat.
#
# mmdet's YOLOv3 lacks parts of the paper's baseline (38.8 AP): guided anchors, the IoU
# loss, the anchor-free branch, the SPP layer, and of the bag of freebies mixup (also in
# pre-training), label smoothing and synchronised BN.
# The schedule is the paper's (Sec. 3.4). The released code warms up for 5 epochs with
# the 4th power, starts the cosine at epoch 20 and stays at 1e-5 from epoch 270 on.
_base_ = "mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(  # squares of one size, a multiple of 32
        batch_augments=[
            dict(type="BatchSyncRandomResize", random_size_range=(320, 608))
        ]
    ),
    neck=[
        dict(
            type="YOLOV3Neck",
            num_scales=3,
            in_channels=[1024, 512, 256],
            out_channels=[512, 256, 128],
        ),
        dict(
            type="ASFF",
            order="coarse_to_fine",
            in_channels=[512, 256, 128],
            lead_channels=[None, None, 256],
            out_channels=[1024, 512, 256],
        ),
    ],
    # ASFF ends in the convs that mmdet's head begins with.
    bbox_head=dict(type="BridgelessYOLOV3Head", in_channels=[1024, 512, 256]),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Expand", mean=[0, 0, 0], to_rgb=True, ratio_range=(1, 2)),
    dict(
        type="MinIoURandomCrop",
        min_ious=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        min_crop_size=0.3,
    ),
    dict(type="Resize", scale=(608, 608), keep_ratio=False),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(608, 608), keep_ratio=False),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    batch_size=16, batch_sampler=None, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, end=4, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=4, end=300, T_max=296, eta_min=1e-5),
]
auto_scale_lr = dict(base_batch_size=64)
