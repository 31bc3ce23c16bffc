# Pre-training of the S-alpha paper's "RetinaNet+MSM" (Tables 3 and 4), with and
# without S-α: the released pre-training has plain fusion.
_base_ = [
    "../_base_/models/retinanet_r50_s-alpha-fpn_p2-p6.py",
    "../_base_/datasets/coco_monotonic_scale_match.py",
    "../_base_/schedules/scale_match_45k.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(neck=dict(fusion_factor=1.0), bbox_head=dict(num_classes=80))
