# Faster R-CNN of the S-alpha paper's Tables 3 and 4: plain fusion.
_base_ = "./faster-rcnn_r50_s-alpha-fpn_1xb2-1x_tinyperson.py"

model = dict(neck=dict(fusion_factor=1.0))
