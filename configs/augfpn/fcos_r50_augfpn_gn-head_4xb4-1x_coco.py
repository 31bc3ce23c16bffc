# 4 GPUs with 4 images each and no clipping, as the authors trained FCOS.
_base_ = "../_base_/detectors/fcos_r50_fpn_gn-head_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryFCOS",
    neck=dict(type="AugFPN", residual_to_extra_level=True),
    auxiliary=dict(type="RoIAuxiliary"),  # consistent supervision
)
train_dataloader = dict(batch_size=4, num_workers=4)
optim_wrapper = dict(clip_grad=None)
