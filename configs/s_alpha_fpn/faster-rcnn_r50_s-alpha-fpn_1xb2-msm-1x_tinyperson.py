# Fine-tuning of "Faster R-CNN+MSM with S-α" in the S-alpha paper's Tables 3 and 4.
# Layers whose shape depends on the number of classes start anew; mmengine names them.
_base_ = "./faster-rcnn_r50_s-alpha-fpn_1xb2-1x_tinyperson.py"

load_from = "work_dirs/faster-rcnn_r50_s-alpha-fpn_8xb4-msm-45k_coco/iter_45000.pth"
