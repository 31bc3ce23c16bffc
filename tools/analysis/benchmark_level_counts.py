"""Time the object counts per level against Algorithm 1's full IoU matrix.

Makes a synthetic annotation set (by default of COCO train2017's size), counts the
objects per level of mmdet's RetinaNet with ``count_best_levels``, and counts a sample
of its images with the full matrix as well. Both sides run in one process; the counts
of the sample must agree, or the exit status is 1.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from mmdet.models.task_modules import AnchorGenerator
from torch import Tensor

from fpn_necks.statistics import count_best_levels

IMAGE_SHAPE = (800, 1344)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    parser.add_argument(
        "--sample", type=int, default=100, help="images counted in full"
    )
    parser.add_argument("--runs", type=int, default=5, help="the median is reported")
    return parser.parse_args()


def synthetic_set(num_images: int, num_boxes: int) -> list[Tensor]:
    """Return per image (n, 4) boxes, log-uniform from 4 to 700 px, inside the image."""
    random = torch.Generator().manual_seed(0)
    height, width = IMAGE_SHAPE
    owner = torch.randint(num_images, (num_boxes,), generator=random)
    centre = torch.rand(num_boxes, 2, generator=random) * torch.tensor([width, height])
    side = torch.exp(torch.rand(num_boxes, 2, generator=random) * 5.2 + 1.4)
    boxes = torch.cat([centre - side / 2, centre + side / 2], 1).clamp(min=0)
    boxes = boxes.minimum(torch.tensor([width, height, width, height]))
    return list(boxes.split(owner.bincount(minlength=num_images).tolist()))


def count_by_full_matrix(boxes: list[Tensor], generator: AnchorGenerator) -> Tensor:
    """Count as Algorithm 1 is written: the IoU of every box with every anchor."""
    grids = [
        (-(-IMAGE_SHAPE[0] // s[1]), -(-IMAGE_SHAPE[1] // s[0]))
        for s in generator.strides
    ]
    per_level = generator.grid_priors(grids, dtype=torch.float64, device="cpu")
    level_of = torch.cat([torch.full((len(a),), i) for i, a in enumerate(per_level)])
    anchors = torch.cat(per_level)
    anchor_areas = (anchors[:, 2:] - anchors[:, :2]).prod(1)
    counts = torch.zeros(generator.num_levels, dtype=torch.int64)
    for image_boxes in boxes:
        truths = image_boxes.double()[:, None]
        low = torch.maximum(truths[..., :2], anchors[:, :2])
        overlap = (
            (torch.minimum(truths[..., 2:], anchors[:, 2:]) - low).clamp(min=0).prod(2)
        )
        areas = (truths[..., 2:] - truths[..., :2]).prod(2)
        ious = overlap / (areas + anchor_areas - overlap)  # (n, A)
        best, _ = ious.max(1, keepdim=True)
        first = (ious >= best - 1e-12).byte().argmax(1)
        counts += level_of[first[best[:, 0] > 0]].bincount(minlength=len(counts))
    return counts


def median_seconds(function: Callable[[], Tensor], runs: int) -> tuple[float, Tensor]:
    """Return the median time of several runs, and the result."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def peak_megabytes() -> float:
    """Return the peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Run the benchmark; return its exit status."""
    arguments = parse_arguments()
    generator = AnchorGenerator(
        octave_base_scale=4,
        scales_per_octave=3,
        ratios=[0.5, 1.0, 2.0],
        strides=[8, 16, 32, 64, 128],
    )
    boxes = synthetic_set(arguments.images, arguments.boxes)
    shapes = [IMAGE_SHAPE] * len(boxes)
    before = peak_megabytes()
    seconds, counts = median_seconds(
        lambda: count_best_levels(boxes, shapes, generator), arguments.runs
    )
    print(
        f"{arguments.images} images, {arguments.boxes} boxes: counts {counts.tolist()}"
    )
    print(f"count_best_levels: {seconds:.2f} s (median of {arguments.runs} runs)")
    print(f"peak memory: {peak_megabytes():.0f} MB, of them {before:.0f} MB before it")

    sample = boxes[: arguments.sample]
    num_sampled = sum(map(len, sample))
    full_seconds, full_counts = median_seconds(
        lambda: count_by_full_matrix(sample, generator), 1
    )
    same = full_counts.equal(
        count_best_levels(sample, shapes[: len(sample)], generator)
    )
    per_box, full_per_box = seconds / arguments.boxes, full_seconds / num_sampled
    print(
        f"full matrix on {len(sample)} images, {num_sampled} boxes: "
        f"{full_seconds:.2f} s, "
        f"{full_per_box * arguments.boxes / 3600:.1f} h for all of them"
    )
    print(
        f"ratio full matrix / count_best_levels, per box: {full_per_box / per_box:.0f}"
    )
    print(f"same counts on the sample: {'yes' if same else 'NO'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
