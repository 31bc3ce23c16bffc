_base_ = "mmdet::cascade_rcnn/cascade-mask-rcnn_x101-64x4d_fpn_ms-3x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(neck=dict(type="CFGFPN"))
