# ASFF behind another neck of this package.
_base_ = "../s_alpha_fpn/retinanet_r50_s-alpha-fpn_1x_coco.py"

model = dict(
    neck=[
        _base_.model.neck,
        dict(
            type="ASFF",
            in_channels=256,
            out_channels=256,
            norm_cfg=dict(type="GN", num_groups=16),
            act_cfg=dict(type="ReLU"),
        ),
    ]
)
