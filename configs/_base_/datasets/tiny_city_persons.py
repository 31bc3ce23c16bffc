# Tiny CityPersons: CityPersons at a quarter of its size, 512x256, as
# fpn-necks tiny-person city-persons writes it. Too small to be cut.
_base_ = "./tiny_person.py"

data_root = "data/tiny_citypersons/"
tiles = None
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file="train.json",
        data_prefix=dict(img="train/"),
        tiles=tiles,
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file="val.json",
        data_prefix=dict(img="val/"),
        tiles=tiles,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "val.json", tiles=tiles)
test_evaluator = val_evaluator
