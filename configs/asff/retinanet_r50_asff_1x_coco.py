# The paper's Table 5: ASFF behind P3, P4 and P5. No code was released for it: the
# settings are those of maskrcnn-benchmark, which the paper took, for 12 epochs.
_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    backbone=dict(norm_cfg=dict(requires_grad=False)),
    neck=[
        dict(
            _base_.model.neck,
            relu_before_extra_convs=True,
            init_cfg=dict(type="Caffe2Xavier", layer="Conv2d"),
        ),
        dict(
            type="ASFF",
            in_channels=256,
            out_channels=256,
            norm_cfg=dict(type="GN", num_groups=16),
            act_cfg=dict(type="ReLU"),
        ),
    ],
    bbox_head=dict(
        anchor_generator=dict(center_offset=0.5),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        # Its sum is divided by four times the positive anchors there.
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=0.25),
    ),
    test_cfg=dict(nms=dict(iou_threshold=0.4)),
)
optim_wrapper = dict(paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1 / 3
