# mmdet's FCOS with torchvision's backbone weights, whose images are RGB with the usual
# deviations, instead of the caffe ones.
_base_ = "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py"

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        norm_cfg=dict(requires_grad=True),
        style="pytorch",
        init_cfg=dict(checkpoint="torchvision://resnet50"),
    ),
)
