# Tiny CityPersons of the S-alpha paper's Table 6, with TinyPerson's recipe: the paper
# gives none. No factors were published for it: they are counted.
_base_ = [
    "../_base_/models/retinanet_r50_s-alpha-fpn_p2-p6.py",
    "../_base_/datasets/tiny_city_persons.py",
    "../_base_/schedules/tiny_person_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    neck=dict(fusion_factor=dict(_delete_=True, type="StatisticFusionFactor")),
    # Unlike TinyPerson's, the ignored regions of these images are not erased.
    train_cfg=dict(assigner=dict(ignore_iof_thr=0.5)),
)
custom_hooks = [dict(type="FusionFactorHook")]
