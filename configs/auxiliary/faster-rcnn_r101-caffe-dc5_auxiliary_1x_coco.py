# Fig. 3: DC5-Aux; without auxiliary losses (model.auxiliary=None) it is DC5.
_base_ = "mmdet::faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryFasterRCNN",
    backbone=dict(
        depth=101,
        frozen_stages=0,  # C2 is supervised: its stage learns
        init_cfg=dict(checkpoint="open-mmlab://detectron2/resnet101_caffe"),
    ),
    auxiliary=dict(
        type="RoIAuxiliary",
        levels=["c2", "c3", "c4"],
        feature_channels=256,
        shared_head=False,
        loss_weight=1.0,
        # As the detector's own head.
        bbox_head=dict(loss_bbox=dict(type="L1Loss", loss_weight=1.0)),
    ),
)

# The paper's steps, where mmdet has 8 and 11.
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [9, 11]
