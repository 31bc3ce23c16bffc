# Pre-training of "Faster R-CNN+MSM with S-α" in the S-alpha paper's Tables 3 and 4.
_base_ = [
    "../_base_/models/faster-rcnn_r50_s-alpha-fpn_tiny-anchors.py",
    "../_base_/datasets/coco_monotonic_scale_match.py",
    "../_base_/schedules/scale_match_45k.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(roi_head=dict(bbox_head=dict(num_classes=80)))
