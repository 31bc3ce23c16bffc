# Pre-training of "RetinaNet+MSM with S-α" in the S-alpha paper's Tables 3 and 4.
_base_ = [
    "../_base_/models/retinanet_r50_s-alpha-fpn_p2-p6.py",
    "../_base_/datasets/coco_monotonic_scale_match.py",
    "../_base_/schedules/scale_match_45k.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(bbox_head=dict(num_classes=80))
