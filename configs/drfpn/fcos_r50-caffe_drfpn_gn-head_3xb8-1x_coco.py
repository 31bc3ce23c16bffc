_base_ = [
    "./fcos_r50_drfpn_gn-head_3xb8-1x_coco.py",
    "../_base_/models/resnet50_caffe.py",
]

model = _base_.resnet50_caffe
