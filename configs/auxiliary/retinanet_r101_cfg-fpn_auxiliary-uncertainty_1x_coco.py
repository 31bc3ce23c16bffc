# Both proposals of the paper together; it gives no result of that.
_base_ = "./retinanet_r101_fpn_auxiliary-uncertainty_1x_coco.py"

model = dict(neck=dict(type="CFGFPN"))
