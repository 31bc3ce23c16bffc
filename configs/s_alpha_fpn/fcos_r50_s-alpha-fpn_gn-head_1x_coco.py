_base_ = "../_base_/detectors/fcos_r50_fpn_gn-head_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    neck=dict(type="SAlphaFPN", fusion_factor=dict(type="StatisticFusionFactor"))
)
custom_hooks = [dict(type="FusionFactorHook")]
