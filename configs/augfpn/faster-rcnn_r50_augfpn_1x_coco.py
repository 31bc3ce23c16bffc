_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryFasterRCNN",
    neck=dict(type="AugFPN"),
    roi_head=dict(bbox_roi_extractor=dict(type="SoftRoIExtractor")),
    auxiliary=dict(type="RoIAuxiliary"),  # consistent supervision
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
