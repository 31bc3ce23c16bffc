# COCO100 of the S-alpha paper's Table 7: shorter sides of 100 px, anchors of 4-64 px,
# 1/8 of RetinaNet's. The paper gives no recipe for it; the TinyPerson one is used.
_base_ = [
    "../_base_/models/retinanet_r50_s-alpha-fpn_p2-p6.py",
    "mmdet::_base_/datasets/coco_detection.py",
    "../_base_/schedules/tiny_person_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    neck=dict(fusion_factor=dict(_delete_=True, type="StatisticFusionFactor")),
    bbox_head=dict(num_classes=80, anchor_generator=dict(octave_base_scale=1)),
    test_cfg=dict(nms=dict(iou_threshold=0.5)),
)
custom_hooks = [dict(type="FusionFactorHook")]

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(167, 100), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(167, 100), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
