_base_ = "./retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson.py"

model = dict(neck=dict(fusion_factor=dict(_delete_=True, type="StatisticFusionFactor")))
custom_hooks = [dict(type="FusionFactorHook")]
