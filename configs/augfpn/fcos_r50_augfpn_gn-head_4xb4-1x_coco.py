# 4 GPUs with 4 images each and no clipping, as the authors trained FCOS. Their losses
# cannot be run in any of their commits: these are mmdet's.
_base_ = [
    "../_base_/detectors/fcos_r50_fpn_gn-head_1x_coco.py",
    "../_base_/models/augfpn_one_stage.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryFCOS",
    neck=dict(type="AugFPN", residual_to_extra_level=True),
    auxiliary=_base_.supervision,
)
train_dataloader = dict(batch_size=4, num_workers=4)
optim_wrapper = dict(clip_grad=None)
