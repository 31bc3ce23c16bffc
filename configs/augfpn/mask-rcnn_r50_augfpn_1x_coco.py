_base_ = [
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "../_base_/models/augfpn_two_stage.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = _base_.two_stage
model.update(
    type="AuxiliaryMaskRCNN",
    roi_head=dict(
        mask_roi_extractor=dict(
            type="SoftRoIExtractor", roi_layer=dict(sampling_ratio=2, aligned=False)
        )
    ),
    auxiliary=dict(mask_loss=True),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1 / 3
