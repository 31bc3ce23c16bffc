# The paper has no number for S-alpha with FCOS: strides and ranges are ours.
_base_ = "./fcos_r50_fpn_gn-head_1xb2-1x_tinyperson.py"

model = dict(
    neck=dict(
        start_level=0,
        add_extra_convs=False,
        fusion_factor=dict(_delete_=True, type="StatisticFusionFactor"),
    ),
    bbox_head=dict(
        strides=[4, 8, 16, 32, 64],
        regress_ranges=((-1, 16), (16, 32), (32, 64), (64, 128), (128, 1e8)),
    ),
)
custom_hooks = [dict(type="FusionFactorHook")]
