# Both proposals of the paper together; it gives no result of that.
_base_ = "./fcos_r50_fpn_auxiliary-uncertainty_gn-head_1x_coco.py"

model = dict(neck=dict(type="CFGFPN"))
