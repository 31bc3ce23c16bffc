# FreeAnchor† of the S-alpha paper's Tables 3 and 4: mmdet's head on P2-P6 with anchors
# of 8-128 px.
_base_ = "./retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson.py"

model = dict(
    neck=dict(
        _delete_=True,
        type="FPN",
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=5,
    ),
    bbox_head=dict(
        _delete_=True,
        type="FreeAnchorRetinaHead",
        num_classes=1,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=2,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=0.75),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
