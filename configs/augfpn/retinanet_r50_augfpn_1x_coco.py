_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryRetinaNet",
    neck=dict(type="AugFPN", residual_to_extra_level=True),
    auxiliary=dict(type="RoIAuxiliary"),  # consistent supervision
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
