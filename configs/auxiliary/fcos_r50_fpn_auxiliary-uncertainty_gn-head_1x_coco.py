_base_ = "../_base_/detectors/fcos_r50_fpn_gn-head_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryFCOS",
    backbone=dict(frozen_stages=0),  # C2 is supervised: its stage learns
    auxiliary=dict(type="DenseAuxiliary", uncertainty_weight=0.5),
)
# Decay would pull the uncertainty to 0 whatever the losses are.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"uncertainty": dict(decay_mult=0.0)})
)

# The paper's steps, where mmdet has 8 and 11.
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [9, 11]
