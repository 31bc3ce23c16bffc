_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    neck=dict(type="SAlphaFPN", fusion_factor=dict(type="StatisticFusionFactor"))
)
custom_hooks = [dict(type="FusionFactorHook")]
