_base_ = "./faster-rcnn_r101_fpn_auxiliary_1x_coco.py"

model = dict(auxiliary=dict(uncertainty_weight=0.5))
# Decay would pull the uncertainty to 0 whatever the losses are.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"uncertainty": dict(decay_mult=0.0)})
)
