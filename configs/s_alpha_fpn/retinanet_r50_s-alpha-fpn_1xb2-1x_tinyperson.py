_base_ = [
    "../_base_/models/retinanet_r50_s-alpha-fpn_p2-p6.py",
    "../_base_/datasets/tiny_person.py",
    "../_base_/schedules/tiny_person_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)
