# COCO with every image scaled so that its objects are as tiny as TinyPerson's (Scale
# Match, SM). The paper takes COCO 2014's train and val, which are the images of 2017's;
# here val2017 stays out, to look at during training: at a fixed scale, so that its AP
# is no number of any paper.
_base_ = "mmdet::_base_/datasets/coco_detection.py"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="ScaleMatch",
        target_ann_file="data/tiny_set/mini_annotations/tiny_set_train_all_erase.json",
        scale_range=(0.1, 1.0),
        default_scale=0.25,
        out_of_range="clip",
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale_factor=0.25, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    sampler=dict(type="InfiniteSampler"),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
