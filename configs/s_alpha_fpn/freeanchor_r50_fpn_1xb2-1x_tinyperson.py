# FreeAnchor† of the S-alpha paper's Tables 3 and 4: P2-P6 with anchors of 8-128 px.
_base_ = "./retinanet_r50_fpn_1xb2-1x_tinyperson.py"

model = dict(
    bbox_head=dict(
        type="FreeAnchorRetinaHead",
        loss_bbox=dict(loss_weight=0.75),
        init_cfg=dict(
            type="Normal",
            layer="Conv2d",
            std=0.01,
            override=dict(type="Normal", name="retina_cls", std=0.01, bias_prob=0.02),
        ),
    ),
    test_cfg=dict(nms=dict(iou_threshold=0.7)),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
