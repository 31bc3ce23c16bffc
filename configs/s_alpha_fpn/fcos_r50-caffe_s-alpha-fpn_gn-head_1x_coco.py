_base_ = [
    "./fcos_r50_s-alpha-fpn_gn-head_1x_coco.py",
    "../_base_/models/resnet50_caffe.py",
]

model = _base_.resnet50_caffe
