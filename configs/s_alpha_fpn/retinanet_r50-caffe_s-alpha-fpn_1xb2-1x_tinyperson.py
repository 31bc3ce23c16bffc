_base_ = [
    "./retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson.py",
    "../_base_/models/resnet50_caffe.py",
]

model = _base_.resnet50_caffe
