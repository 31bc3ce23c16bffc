_base_ = [
    "./fcos_r50_fpn_gn-head_1xb2-1x_tinyperson.py",
    "../_base_/models/resnet50_caffe.py",
]

model = _base_.resnet50_caffe
