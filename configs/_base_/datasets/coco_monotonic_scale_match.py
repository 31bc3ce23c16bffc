# As coco_scale_match.py, with the monotone map from COCO's object sizes to TinyPerson's
# (MSM) in the place of sizes drawn at random.
_base_ = "./coco_scale_match.py"

datasets = _base_.train_dataloader.dataset.datasets
for dataset in datasets:
    dataset.pipeline[2].type = "MonotonicScaleMatch"
    dataset.pipeline[2].source_ann_file = [
        f"data/coco/annotations/instances_{split}2017.json"
        for split in ("train", "val")
    ]
del dataset
train_dataloader = dict(dataset=dict(datasets=datasets))
