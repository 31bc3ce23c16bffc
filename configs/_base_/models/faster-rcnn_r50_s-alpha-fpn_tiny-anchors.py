# Faster R-CNN of the released benchmark, and the published factors. The backbone is
# torchvision's, its norms frozen as there.
_base_ = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"

model = dict(
    backbone=dict(norm_cfg=dict(requires_grad=False)),
    neck=dict(
        type="SAlphaFPN",
        fusion_factor=[0.48, 0.66, 1.06],
        init_cfg=dict(type="Caffe2Xavier", layer="Conv2d"),
    ),
    rpn_head=dict(
        anchor_generator=dict(
            type="RoundedAnchorGenerator",
            scales=[1],
            base_sizes=[8.31, 12.5, 18.55, 30.23, 60.41],
            ratios=[0.5, 1.3, 2.0],
        ),
        loss_bbox=dict(type="SmoothL1Loss", beta=1 / 9),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            type="InclusiveRoIExtractor",
            roi_layer=dict(sampling_ratio=2, aligned=False),
        ),
        bbox_head=dict(
            num_classes=1,
            loss_bbox=dict(type="SmoothL1Loss", beta=1.0),
            init_cfg=[
                dict(type="Normal", std=0.01, override=dict(name="fc_cls")),
                dict(type="Normal", std=0.001, override=dict(name="fc_reg")),
                dict(type="Caffe2Xavier", override=dict(name="shared_fcs")),
            ],
        ),
    ),
    train_cfg=dict(
        # The best anchors of every box are positive. Not 0: a sliver at a tile's border
        # that no anchor inside the tile meets would make all of them positive.
        rpn=dict(assigner=dict(min_pos_iou=1e-6), allowed_border=0),
        rpn_proposal=dict(max_per_img=2000),
    ),
    test_cfg=dict(rcnn=dict(max_per_img=200)),
)
