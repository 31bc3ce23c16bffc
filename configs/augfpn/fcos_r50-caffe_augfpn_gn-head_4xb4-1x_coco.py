_base_ = [
    "./fcos_r50_augfpn_gn-head_4xb4-1x_coco.py",
    "../_base_/models/resnet50_caffe.py",
]

model = _base_.resnet50_caffe
