# MSRA's ResNet-50, as the released code has it: BGR images, stride in the 1x1 convs,
# frozen norms. For a detector with torchvision's: `model = _base_.resnet50_caffe`.
resnet50_caffe = dict(
    data_preprocessor=dict(
        mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    ),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style="caffe",
        init_cfg=dict(checkpoint="open-mmlab://detectron/resnet50_caffe"),
    ),
)
