# RetinaNet of the S-alpha paper ("adaptive", RetinaNet†): P2-P6 with anchors of
# 8-128 px, and the published factors.
_base_ = "mmdet::_base_/models/retinanet_r50_fpn.py"

model = dict(
    neck=dict(
        type="SAlphaFPN",
        start_level=0,
        add_extra_convs=False,
        fusion_factor=[0.368, 0.387, 0.367],
    ),
    bbox_head=dict(
        num_classes=1,
        anchor_generator=dict(octave_base_scale=2, strides=[4, 8, 16, 32, 64]),
    ),
    test_cfg=dict(nms=dict(type="nms", iou_threshold=0.4), max_per_img=100),
)
