# Grid R-CNN of the S-alpha paper's Tables 3 and 4: mmdet's parts of it in the released
# Faster R-CNN; the paper does not give its settings.
_base_ = "./faster-rcnn_r50_fpn_1xb2-1x_tinyperson.py"

model = dict(
    type="GridRCNN",
    roi_head=dict(
        type="GridRoIHead",
        bbox_head=dict(with_reg=False, init_cfg=None),
        grid_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        grid_head=dict(
            type="GridHead",
            grid_points=9,
            num_convs=8,
            in_channels=256,
            point_feat_channels=64,
            norm_cfg=dict(type="GN", num_groups=36),
            loss_grid=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=15),
        ),
    ),
    train_cfg=dict(
        rcnn=dict(
            assigner=dict(match_low_quality=True), pos_radius=1, max_num_grid=192
        ),
    ),
    test_cfg=dict(
        rcnn=dict(score_thr=0.03, nms=dict(type="nms", iou_threshold=0.3)),
    ),
)
