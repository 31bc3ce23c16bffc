# What AugFPN's released two-stage detectors have and mmdet 3's do not.
roi_layer = dict(type="RoIAlign", output_size=7, sampling_ratio=2, aligned=False)
two_stage = dict(
    neck=dict(type="AugFPN"),
    rpn_head=dict(
        anchor_generator=dict(center_offset=0.5),
        loss_bbox=dict(type="SmoothL1Loss", beta=1 / 9),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(type="SoftRoIExtractor", roi_layer=roi_layer),
        bbox_head=dict(loss_bbox=dict(type="SmoothL1Loss", beta=1.0)),
    ),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(max_per_img=2000),
        rcnn=dict(assigner=dict(match_low_quality=True)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=2000, max_per_img=2000)),
    # Consistent supervision, whose released head has PyTorch's initialisation.
    auxiliary=dict(
        type="RoIAuxiliary", roi_layer=roi_layer, bbox_head=dict(init_cfg=[])
    ),
)
