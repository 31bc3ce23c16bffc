# The backbone of the released benchmark: MSRA weights, BGR images, stride in the 1x1
# convs, frozen norms.
_base_ = "./retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson.py"

model = dict(
    data_preprocessor=dict(
        mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    ),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style="caffe",
        init_cfg=dict(checkpoint="open-mmlab://detectron2/resnet50_caffe"),
    ),
)
