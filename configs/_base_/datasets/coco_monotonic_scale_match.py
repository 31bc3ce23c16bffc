# As coco_scale_match.py, with the monotone map from COCO's object sizes to TinyPerson's
# (MSM) in the place of sizes drawn at random.
_base_ = "./coco_scale_match.py"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="MonotonicScaleMatch",
        source_ann_file="data/coco/annotations/instances_train2017.json",
        target_ann_file="data/tiny_set/mini_annotations/tiny_set_train_all_erase.json",
        scale_range=(0.1, 1.0),
        default_scale=0.25,
        out_of_range="clip",
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
