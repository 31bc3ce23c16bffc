_base_ = "mmdet::retinanet/retinanet_r101_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryRetinaNet",
    backbone=dict(frozen_stages=0),  # C2 is supervised: its stage learns
    auxiliary=dict(type="DenseAuxiliary"),
)

# The paper's steps, where mmdet has 8 and 11.
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [9, 11]
