import pytest
import torch
from mmdet.models.task_modules import AnchorGenerator, ATSSAssigner, MaxIoUAssigner
from mmdet.models.task_modules.assigners import BaseAssigner
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from fpn_necks.statistics import count_positive_anchors

from .brute_force import grid_sizes
from .test_level_counts import GENERATORS, random_boxes

ASSIGNERS = {
    "retinanet": dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    "rpn": dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    "one-per-box": dict(
        pos_iou_thr=0.6, neg_iou_thr=0.5, min_pos_iou=0.1, gt_max_assign_all=False
    ),
    "no-low-quality": dict(pos_iou_thr=0.4, neg_iou_thr=0.4, match_low_quality=False),
}


def count_with_all_anchors(boxes, shapes, generator, assigner) -> Tensor:
    counts = torch.zeros(generator.num_levels, dtype=torch.int64)
    for image_boxes, shape in zip(boxes, shapes, strict=True):
        per_level = generator.grid_priors(grid_sizes(shape, generator), device="cpu")
        level_of = torch.cat(
            [torch.full((len(a),), i) for i, a in enumerate(per_level)]
        )
        labels = torch.zeros(len(image_boxes)).long()
        truths = InstanceData(bboxes=image_boxes, labels=labels)
        result = assigner.assign(InstanceData(priors=torch.cat(per_level)), truths)
        found = level_of[result.gt_inds > 0]
        counts += torch.bincount(found, minlength=len(counts))
    return counts


@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize("name", GENERATORS)
def test_equals_all_anchors(name: str, assigner: str) -> None:
    anchors = AnchorGenerator(**GENERATORS[name])
    shapes = [(96, 160), (224, 128), (97, 131), (64, 64)] * 2
    random = torch.Generator().manual_seed(0)
    boxes = [random_boxes(random, 12, shape) for shape in shapes]
    rule = MaxIoUAssigner(**ASSIGNERS[assigner])
    counts = count_positive_anchors(boxes, shapes, anchors, rule)
    expected = count_with_all_anchors(boxes, shapes, anchors, rule)
    assert counts.tolist() == expected.tolist()
    assert expected.sum() > 5


ARGUMENTS = {
    "MaxIoUAssigner": dict(pos_iou_thr=0.5, neg_iou_thr=0.5),
    "ApproxMaxIoUAssigner": dict(pos_iou_thr=0.5, neg_iou_thr=0.5),
    "MultiInstanceAssigner": dict(num_instance=2, pos_iou_thr=0.5, neg_iou_thr=0.5),
    "ATSSAssigner": dict(topk=9),
    "CenterRegionAssigner": dict(pos_scale=0.2, neg_scale=0.2),
    "GridAssigner": dict(pos_iou_thr=0.5, neg_iou_thr=0.5),
    "RegionAssigner": dict(),
    "HungarianAssigner": dict(match_costs=dict(type="BBoxL1Cost")),
    "TopkHungarianAssigner": dict(topk=4),
    "UniformAssigner": dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7),
    "TaskAlignedAssigner": dict(topk=13),
}
ASSIGNER_NAMES = [
    name
    for name, kind in TASK_UTILS.module_dict.items()
    if isinstance(kind, type) and issubclass(kind, BaseAssigner)
]


@pytest.mark.parametrize("name", ASSIGNER_NAMES)
def test_every_assigner_of_mmdet_works_or_is_refused(name: str) -> None:
    assert len(ASSIGNER_NAMES) >= 13
    anchors = AnchorGenerator(**GENERATORS["rpn"])
    boxes = [random_boxes(torch.Generator().manual_seed(1), 20, (128, 160))]
    assigner = TASK_UTILS.build(dict(type=name, **ARGUMENTS.get(name, {})))
    if name in ("MaxIoUAssigner", "ATSSAssigner"):
        counts = count_positive_anchors(boxes, [(128, 160)], anchors, assigner)
        assert counts.sum() > 5
    else:
        with pytest.raises(ValueError, match=f"got {name}.*use count='released'"):
            count_positive_anchors(boxes, [(128, 160)], anchors, assigner)


@pytest.mark.parametrize("border", [-1, 0])
@pytest.mark.parametrize("kind", [ATSSAssigner, MaxIoUAssigner])
def test_others_and_borders_see_all_anchors(kind: type, border: int) -> None:
    """ATSS is told how many anchors each level has."""
    anchors = AnchorGenerator(**GENERATORS["rpn"] | dict(ratios=[1.0]))
    shape, assigner = (128, 160), kind(**ARGUMENTS[kind.__name__])
    boxes = random_boxes(torch.Generator().manual_seed(1), 20, shape)
    counts = count_positive_anchors([boxes], [shape], anchors, assigner, border)
    priors = anchors.grid_priors(grid_sizes(shape, anchors), device="cpu")
    inside = [
        anchor_inside_flags(a, torch.ones(len(a)).bool(), shape, border) for a in priors
    ]
    per_level = [int(flags.sum()) for flags in inside]
    kept = torch.cat([a[flags] for a, flags in zip(priors, inside, strict=True)])
    truths = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes)).long())
    extra = [per_level] if kind is ATSSAssigner else []
    result = assigner.assign(InstanceData(priors=kept), *extra, truths)
    found = [int((x > 0).sum()) for x in result.gt_inds.split(per_level)]
    assert counts.tolist() == found and sum(found) > 5


def test_images_without_boxes_count_nothing() -> None:
    anchors = AnchorGenerator(**GENERATORS["rpn"])
    rule = MaxIoUAssigner(**ASSIGNERS["rpn"])
    square = torch.tensor([[16.0, 16.0, 48.0, 48.0]])
    shapes = [(128, 128), (64, 64), (128, 128)]
    counts = count_positive_anchors(
        [square, torch.zeros(0, 4), square], shapes, anchors, rule
    )
    once = count_positive_anchors([square], shapes[:1], anchors, rule)
    assert counts.tolist() == (2 * once).tolist() and once[0] > 0
