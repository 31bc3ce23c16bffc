# All levels that the RoIs are taken from are fused; P6 passes through.
_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    neck=[
        _base_.model.neck,
        dict(
            type="ASFF",
            in_channels=256,
            out_channels=256,
            num_fused=4,
            norm_cfg=dict(type="GN", num_groups=16),
            act_cfg=dict(type="ReLU"),
        ),
    ]
)
