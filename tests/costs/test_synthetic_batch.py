import pytest
import torch

from fpn_necks.costs.synthetic_batch import synthetic_batch


def test_boxes_lie_in_the_image_and_have_many_sizes() -> None:
    batch = synthetic_batch((120, 200), 3, num_classes=5, objects=40)
    assert [x.shape for x in batch["inputs"]] == [(3, 120, 200)] * 3
    sides = []
    for sample in batch["data_samples"]:
        truth = sample.gt_instances
        assert truth.bboxes.shape == (40, 4) and "masks" not in truth
        x1, y1, x2, y2 = truth.bboxes.unbind(1)
        assert (x1 >= 0).all() and (y1 >= 0).all()
        assert (x2 <= 200).all() and (y2 <= 120).all()
        assert (x2 - x1 >= 1).all() and (y2 - y1 >= 1).all()
        assert set(truth.labels.tolist()) <= set(range(5))
        assert sample.img_shape == (120, 200)
        sides.append(x2 - x1)
    sides = torch.cat(sides)
    assert sides.max() > 5 * sides.min()
    assert not torch.equal(batch["inputs"][0], batch["inputs"][1])


def test_masks_fill_their_boxes() -> None:
    batch = synthetic_batch((64, 96), 1, num_classes=2, masks=True)
    truth = batch["data_samples"][0].gt_instances
    assert truth.masks.masks.shape == (8, 64, 96)
    for mask, box in zip(truth.masks.masks, truth.bboxes, strict=True):
        x1, y1, x2, y2 = box.tolist()
        rows, columns = mask.nonzero()
        assert columns.min() + 1 > x1 and columns.max() < x2
        assert rows.min() + 1 > y1 and rows.max() < y2
        area = (x2 - x1) * (y2 - y1)
        assert mask.sum() == pytest.approx(0.785 * area, rel=0.2, abs=4)  # pi / 4


def test_equal_arguments_give_equal_batches() -> None:
    first, second = (synthetic_batch((32, 32), 1, 3, seed=4) for _ in range(2))
    other = synthetic_batch((32, 32), 1, 3, seed=5)
    assert torch.equal(first["inputs"][0], second["inputs"][0])
    assert not torch.equal(first["inputs"][0], other["inputs"][0])
    boxes = [b["data_samples"][0].gt_instances.bboxes for b in (first, second)]
    assert torch.equal(*boxes)


@pytest.mark.parametrize("name", ["images", "num_classes", "objects"])
def test_numbers_below_one(name: str) -> None:
    arguments = dict(size=(32, 32), images=1, num_classes=1, objects=1) | {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        synthetic_batch(**arguments)
