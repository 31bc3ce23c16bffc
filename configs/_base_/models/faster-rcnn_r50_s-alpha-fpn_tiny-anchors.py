# Faster R-CNN of the released benchmark, and the published factors.
_base_ = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"

model = dict(
    neck=dict(type="SAlphaFPN", fusion_factor=[0.48, 0.66, 1.06]),
    rpn_head=dict(
        anchor_generator=dict(
            scales=[1],
            base_sizes=[8.31, 12.5, 18.55, 30.23, 60.41],
            ratios=[0.5, 1.3, 2.0],
        )
    ),
    roi_head=dict(bbox_head=dict(num_classes=1)),
    test_cfg=dict(rcnn=dict(max_per_img=200)),
)
