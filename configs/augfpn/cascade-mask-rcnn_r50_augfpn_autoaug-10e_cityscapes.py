# The example of mmdet's guide "Train with customized models and standard datasets"
# (docs/en/user_guides/new_model.md), with the neck that the guide leaves empty.
# docs/methods/augfpn.md says what it takes to make the guide's config run.
_base_ = [
    "mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/cityscapes_instance.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

bbox_heads = _base_.model.roi_head.bbox_head
for bbox_head in bbox_heads:
    bbox_head.num_classes = 8
del bbox_head

model = dict(
    neck=dict(type="AugFPN"),
    roi_head=dict(bbox_head=bbox_heads, mask_head=dict(num_classes=8)),
)

border = (124, 116, 104)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="AutoAugment",
        policies=[
            [dict(type="Rotate", level=5, img_border_value=border, prob=0.5)],
            [
                dict(type="Rotate", level=7, img_border_value=border),
                dict(type="TranslateX", level=5, prob=0.5, img_border_value=border),
            ],
        ],
    ),
    dict(type="RandomResize", scale=[(2048, 800), (2048, 1024)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(
    batch_size=1, num_workers=3, dataset=dict(dataset=dict(pipeline=train_pipeline))
)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0001),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=10, by_epoch=True, milestones=[8], gamma=0.1),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=10, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=8)
