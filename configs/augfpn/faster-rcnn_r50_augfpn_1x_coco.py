_base_ = [
    "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "../_base_/models/augfpn_two_stage.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(_base_.two_stage, type="AuxiliaryFasterRCNN")
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1 / 3
