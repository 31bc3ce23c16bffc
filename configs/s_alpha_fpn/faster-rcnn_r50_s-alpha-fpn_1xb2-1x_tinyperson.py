_base_ = [
    "../_base_/models/faster-rcnn_r50_s-alpha-fpn_tiny-anchors.py",
    "../_base_/datasets/tiny_person.py",
    "../_base_/schedules/tiny_person_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

optim_wrapper = dict(optimizer=dict(lr=0.01))
