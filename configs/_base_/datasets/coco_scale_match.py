# COCO with every image scaled so that its objects are as tiny as TinyPerson's (Scale
# Match, SM), as in the released pre-training: COCO 2014's train and val, which are the
# images of 2017's, and the sizes of TinyPerson's tiles. Testing on val2017, at a fixed
# scale, only shows that something is learned: it is trained on.
_base_ = "mmdet::_base_/datasets/coco_detection.py"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="ScaleMatch",
        target_ann_file="data/tiny_set/mini_annotations/"
        "tiny_set_train_sw640_sh512_all_erase.json",
        scale_range=(0.1, 1.0),
        default_scale=0.25,
        backend="pillow",  # averages the pixels that it leaves out, as the release did
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
train2017 = dict(_base_.train_dataloader.dataset, pipeline=train_pipeline)
val2017 = dict(
    train2017,
    ann_file="annotations/instances_val2017.json",
    data_prefix=dict(img="val2017/"),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    sampler=dict(type="InfiniteSampler"),
    dataset=dict(_delete_=True, type="ConcatDataset", datasets=[train2017, val2017]),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
