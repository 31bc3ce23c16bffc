# RetinaNet of the S-alpha paper ("adaptive", RetinaNet†): P2-P6 with anchors of
# 8-128 px and the published factors. Anchors, box coder, losses and initialisation are
# the released benchmark's; the backbone is torchvision's, its norms frozen as there.
_base_ = "mmdet::_base_/models/retinanet_r50_fpn.py"

model = dict(
    backbone=dict(norm_cfg=dict(requires_grad=False)),
    neck=dict(
        type="SAlphaFPN",
        start_level=0,
        add_extra_convs=False,
        fusion_factor=[0.368, 0.387, 0.367],
        init_cfg=dict(type="Caffe2Xavier", layer="Conv2d"),
    ),
    bbox_head=dict(
        num_classes=1,
        anchor_generator=dict(
            type="RoundedAnchorGenerator",
            octave_base_scale=2,
            strides=[4, 8, 16, 32, 64],
        ),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        # The released sum is divided by four times the positive anchors.
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=0.25),
    ),
    test_cfg=dict(nms=dict(type="nms", iou_threshold=0.4), max_per_img=100),
)
