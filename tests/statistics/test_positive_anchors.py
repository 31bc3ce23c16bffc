import pytest
import torch
from mmdet.models.task_modules import AnchorGenerator, ATSSAssigner
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from fpn_necks.statistics import count_positive_anchors

from .test_level_counts import GENERATORS, grid_sizes, random_boxes

ASSIGNERS = {
    "retinanet": dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    "rpn": dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    "one-per-box": dict(
        pos_iou_thr=0.6, neg_iou_thr=0.5, min_pos_iou=0.1, gt_max_assign_all=False
    ),
    "atss": dict(type="ATSSAssigner", topk=9),
    "no-low-quality": dict(pos_iou_thr=0.4, neg_iou_thr=0.4, match_low_quality=False),
}


def count_with_all_anchors(boxes, shapes, generator, assigner, border=-1) -> Tensor:
    counts = torch.zeros(generator.num_levels, dtype=torch.int64)
    for image_boxes, shape in zip(boxes, shapes, strict=True):
        anchors = generator.grid_priors(grid_sizes(shape, generator), device="cpu")
        inside = [
            anchor_inside_flags(a, torch.ones(len(a)).bool(), shape, border)
            for a in anchors
        ]
        per_level = [int(flags.sum()) for flags in inside]
        kept = torch.cat([a[flags] for a, flags in zip(anchors, inside, strict=True)])
        labels = torch.zeros(len(image_boxes)).long()
        truths = InstanceData(bboxes=image_boxes, labels=labels)
        # ATSS is told how many anchors each level has.
        extra = [per_level] if isinstance(assigner, ATSSAssigner) else []
        result = assigner.assign(InstanceData(priors=kept), *extra, truths)
        found = [int((x > 0).sum()) for x in result.gt_inds.split(per_level)]
        counts += torch.tensor(found)
    return counts


@pytest.mark.parametrize("border", [-1, 0])
@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize("name", GENERATORS)
def test_equals_all_anchors(name: str, assigner: str, border: int) -> None:
    anchors = AnchorGenerator(**GENERATORS[name])
    shapes = [(96, 160), (224, 128), (97, 131), (64, 64), (97, 131)]
    random = torch.Generator().manual_seed(0)
    boxes = [random_boxes(random, 12, shape) for shape in shapes]
    boxes[2] = boxes[2][:0]
    rule = TASK_UTILS.build(dict(type="MaxIoUAssigner") | ASSIGNERS[assigner])
    counts = count_positive_anchors(boxes, shapes, anchors, rule, border)
    expected = count_with_all_anchors(boxes, shapes, anchors, rule, border)
    assert counts.tolist() == expected.tolist()
    assert expected.sum() > 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        # These two are of a known family, and need other anchors all the same.
        ("ApproxMaxIoUAssigner", dict(pos_iou_thr=0.5, neg_iou_thr=0.5)),
        (
            "MultiInstanceAssigner",
            dict(num_instance=2, pos_iou_thr=0.5, neg_iou_thr=0.5),
        ),
        ("TaskAlignedAssigner", dict(topk=13)),
    ],
)
def test_other_assigners_are_refused(name: str, arguments: dict) -> None:
    anchors = AnchorGenerator(**GENERATORS["rpn"])
    assigner = TASK_UTILS.build(dict(arguments, type=name))
    with pytest.raises(ValueError, match=f"got {name}.*use count='released'"):
        count_positive_anchors([torch.zeros(1, 4)], [(128, 160)], anchors, assigner)
