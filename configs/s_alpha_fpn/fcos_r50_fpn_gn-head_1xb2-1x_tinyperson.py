# FCOS of the S-alpha paper's Tables 3 and 4: P3-P7, mmdet's ranges, plain fusion.
_base_ = [
    "../_base_/models/fcos_r50_fpn.py",
    "../_base_/datasets/tiny_person.py",
    "../_base_/schedules/tiny_person_1x.py",
    "mmdet::_base_/default_runtime.py",
]
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(
    neck=dict(type="SAlphaFPN", fusion_factor=1.0), bbox_head=dict(num_classes=1)
)
param_scheduler = [
    dict(type="ConstantLR", factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(
        type="MultiStepLR",
        begin=0,
        end=12,
        by_epoch=True,
        milestones=[6, 10],
        gamma=0.1,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=0.0025))
