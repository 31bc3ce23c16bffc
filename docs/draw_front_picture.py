"""Draw docs/_static/front.png: the level of every object, and the factors that follow.

Scenes, tiles, levels and factors are the library's own. ``python
docs/draw_front_picture.py`` needs the environment of the clone, no data and no weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmdet.models.task_modules import AnchorGenerator
from torch import Tensor

from fpn_necks.datasets import Scene, SceneSettings, draw_scene
from fpn_necks.datasets.tiny_person import tile_corners
from fpn_necks.statistics import best_anchors, count_best_levels, fusion_factors
from fpn_necks.statistics.ratios import RELEASED_LIMITS

PICTURE = Path(__file__).parent / "_static" / "front.png"
SIZE = (592, 464)  # (width, height), with the tiles of tools/demo.sh
COLOURS = ("#ffb000", "#dc267f", "#648fff", "#fe6100", "#785ef0")
ANCHORS = AnchorGenerator(
    strides=[4, 8, 16, 32, 64],
    ratios=[0.5, 1.0, 2.0],
    octave_base_scale=2,
    scales_per_octave=3,
)


def boxes_of(scene: Scene) -> Tensor:
    """Return the people to be found as (x1, y1, x2, y2)."""
    boxes = torch.tensor([p.bbox for p in scene.people if not p.ignore]).float()
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def draw_levels(axes: Axes, scene: Scene) -> None:
    """Draw a scene with its tiles, and its people in the colours of their levels."""
    axes.imshow(scene.image[..., ::-1])
    for x1, y1, x2, y2 in tile_corners(SIZE, (320, 256), (48, 48)):
        corner, width, height = (x1, y1), x2 - x1, y2 - y1
        axes.add_patch(
            Rectangle(corner, width, height, fill=False, ec="white", ls=":", lw=0.8)
        )
    boxes = boxes_of(scene)
    (found,) = best_anchors([boxes], [SIZE[::-1]], ANCHORS)
    for (x1, y1, x2, y2), level in zip(boxes.tolist(), found[:, 0], strict=True):
        axes.add_patch(
            Rectangle(
                (x1 - 2, y1 - 2),
                *(x2 - x1 + 3, y2 - y1 + 3),
                **dict(fill=False, ec=COLOURS[level], lw=1.5),
            )
        )
    axes.set_title("every object on its pyramid level", fontsize=11)
    axes.set_axis_off()


def draw_factors(axes: Axes, scenes: list[Scene]) -> None:
    """Draw the objects per level, and α between neighbouring levels."""
    boxes = [boxes_of(scene) for scene in scenes]
    counts = count_best_levels(boxes, [SIZE[::-1]] * len(boxes), ANCHORS)
    counts = counts[:4].tolist()
    axes.barh(range(4), counts, color=COLOURS[:4], height=0.6)
    axes.set_yticks(range(4), ["P2", "P3", "P4", "P5"], fontsize=11)
    axes.set_xlim(0, max(counts) * 1.5)
    for level, count in enumerate(counts):
        axes.text(count + max(counts) * 0.02, level, f"{count}", va="center")
    for lower, factor in enumerate(fusion_factors(counts, 3, limits=RELEASED_LIMITS)):
        x = max(counts) * 1.25
        axes.annotate(
            "", (x, lower + 0.1), (x, lower + 0.9), arrowprops=dict(arrowstyle="->")
        )
        axes.text(x * 1.02, lower + 0.5, f"α = {factor:.2f}", va="center")
    axes.set_title("objects per level, and the factors of S-α FPN", fontsize=11)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def main() -> None:
    """Draw and write the picture."""
    settings = SceneSettings(
        image_size=SIZE, size_range=(5, 32), people_per_image=(30, 51)
    )
    scenes = [draw_scene(settings, seed) for seed in range(40)]
    figure = Figure(figsize=(10, 3.9), dpi=88, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    draw_levels(left, scenes[3])
    draw_factors(right, scenes)
    figure.savefig(PICTURE, facecolor="white")


if __name__ == "__main__":
    main()
