# Not in the paper.
_base_ = "mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    type="AuxiliaryCascadeRCNN",
    neck=dict(type="AugFPN"),
    roi_head=dict(
        bbox_roi_extractor=dict(
            type="SoftRoIExtractor", roi_layer=dict(sampling_ratio=2)
        ),
        mask_roi_extractor=dict(
            type="SoftRoIExtractor", roi_layer=dict(sampling_ratio=2)
        ),
    ),
    # Consistent supervision.
    auxiliary=dict(type="RoIAuxiliary", mask_loss=True),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
