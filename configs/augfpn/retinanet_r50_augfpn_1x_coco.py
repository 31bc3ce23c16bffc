_base_ = [
    "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    "../_base_/models/augfpn_one_stage.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryRetinaNet",
    neck=dict(type="AugFPN", residual_to_extra_level=True),
    bbox_head=dict(
        anchor_generator=dict(center_offset=0.5),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11),
    ),
    auxiliary=_base_.supervision,
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1 / 3
