# TinyPerson as the S-alpha paper uses it: the erased training images, cut into tiles on
# the fly, dense images and tiles without people left out; testing on the tiles of the
# whole test images, whose detections TinyPersonMetric merges. The paths are those of
# docs/tiny_person.md.
data_root = "data/tiny_set/"
metainfo = dict(classes=("person",), palette=[(220, 20, 60)])
# Parts of people cut off at a tile's border are dropped, as in the released benchmark.
# Both datasets and the metric need the same tiles; the metric refuses others.
tiles = dict(size=(640, 512), overlap=(50, 50), keep=0.7, cut_boxes="drop")

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale_factor=1.0, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
# In the erased images nothing is left to ignore. Training on others needs
# ignore_iof_thr=0.5 in the assigners.
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    # An image's tiles together, so that it is decoded once: batch_size * num_workers.
    sampler=dict(type="TileSampler", open_images=4),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        type="TinyPersonDataset",
        data_root=data_root,
        metainfo=metainfo,
        ann_file="mini_annotations/tiny_set_train_all_erase.json",
        data_prefix=dict(img="erase_with_uncertain_dataset/train/"),
        tiles=tiles,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="TinyPersonDataset",
        data_root=data_root,
        metainfo=metainfo,
        ann_file="mini_annotations/tiny_set_test_all.json",
        data_prefix=dict(img="test/"),
        tiles=tiles,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type="TinyPersonMetric",
    ann_file=data_root + "mini_annotations/tiny_set_test_all.json",
    tiles=tiles,
)
test_evaluator = val_evaluator
