_base_ = "../_base_/detectors/fcos_r50_fpn_gn-head_1x_coco.py"
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
