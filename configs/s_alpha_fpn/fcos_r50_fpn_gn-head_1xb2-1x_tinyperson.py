# FCOS of the S-alpha paper's Tables 3 and 4: P3-P7, mmdet's ranges, plain fusion.
_base_ = [
    "../_base_/models/fcos_r50_fpn.py",
    "../_base_/datasets/tiny_person.py",
    "../_base_/schedules/tiny_person_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    backbone=dict(norm_cfg=dict(requires_grad=False)),
    neck=dict(
        type="SAlphaFPN",
        fusion_factor=1.0,
        init_cfg=dict(type="Caffe2Xavier", layer="Conv2d"),
    ),
    bbox_head=dict(num_classes=1, conv_bias=True),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
param_scheduler = _base_.param_scheduler
param_scheduler[0] = dict(
    type="ConstantLR", factor=1 / 3, by_epoch=False, begin=0, end=500
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
