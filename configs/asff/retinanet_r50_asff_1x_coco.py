# The paper's Table 5: ASFF behind P3, P4 and P5.
_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

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
