# RetinaNet† of the S-alpha paper's Tables 3 and 4, the baseline of all its tables:
# P2-P6 and plain fusion.
_base_ = "./retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson.py"

model = dict(neck=dict(fusion_factor=1.0))
