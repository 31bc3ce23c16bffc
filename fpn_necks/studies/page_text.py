"""The words of the study's page; every number in them is the recipe's own."""

from __future__ import annotations

from collections.abc import Sequence

from .cells import find_cell
from .recipe import (
    BACKBONE_WIDTHS,
    BATCH_SIZE,
    CHANNELS,
    FULLY_CONNECTED,
    IMAGES_SEEN,
    ITERATIONS,
    LEARNING_RATE,
    ROIS_PER_IMAGE,
    STACKED_CONVS,
    STUDY_SEEDS,
    TUNING_SEED,
    WARM_UP,
)
from .sets import BCCD_SIZE, SYNTHETIC_SET, TILES
from .summary import Result
from .training_time import PROCESSOR_SECONDS

HEAD = """
# A study on small data

Seven necks with one recipe, one budget of images and several seeds, on data that need
no download: a set of blood cells and one that is drawn. ResNet-18 starts from scratch.
Recipe and budget were fixed before any of these runs, and all results are shown, also
those where a method loses. Small backbones that see a few thousand images say little
about COCO. They show what to expect of a small set, and they check the whole library.
`tools/study.py report` writes this page from the files in `small_data/results/`.

```bash
python tools/study.py list
python tools/study.py run --data data/bccd
python tools/study.py run --data data/bccd --cells "fcos-bccd-*" --seeds 0 1 2
python tools/study.py report
```

`--data` is BCCD (205, 87 and 72 images for training, validation and testing) with
`train/`, `val/`, `test/` and `annotations/*.json` in COCO's format; `run` draws the
synthetic set. A GPU is used if there is one. `run` goes on after an interruption, skips
what is finished, and adds further `--seeds`. Every run leaves one file with metrics,
costs, versions, device and the hash of its recipe. Another recipe is refused: results
of two are not mixed.
"""

READING = """
±: the standard deviation of the sample of seeds. "Over FPN" is the difference to FPN's
run of the same seed, its mean and deviation; where the deviation is as large as the
mean, these seeds show no difference. A dash: no object of that size. Training is
processor time on one thread unless a device is named, and depends on what else the
machine does. Parameters and multiply-adds are those of the tested detector on one image
padded to a multiple of 32; what only the training has stands apart.
"""

_PEOPLE = SYNTHETIC_SET["size_range"]
_TILE = f"{TILES['size'][0]}x{TILES['size'][1]}"

SWEEP_TEXT = f"""
Fig. 1 of the S-α paper on the synthetic set: RetinaNet with one α for all connections,
and with those of the statistic. α = 1 is FPN, which S-α FPN then equals bit for bit.
{SYNTHETIC_SET["num_train"]} drawn images to train on and {SYNTHETIC_SET["num_val"]} to
test on, people of {_PEOPLE[0]} to {_PEOPLE[1]} pixels, in tiles of {_TILE}. AP50 and
MR50 (the miss rate: low is good) by size are those of the TinyPerson benchmark. Nothing
was tuned on this set.
"""

CELLS_TEXT = """
The first metric of every cell, mean ± std (number of seeds). `not run`: nobody has run
it yet.
"""

RECIPE = f"""
## The recipe

| what | value |
|---|---|
| budget | {ITERATIONS} steps of {BATCH_SIZE} images: {IMAGES_SEEN}, \
12 passes through BCCD's training set |
| seeds | {", ".join(map(str, STUDY_SEEDS))} |
| backbone | ResNet-18, widths {", ".join(map(str, BACKBONE_WIDTHS))}, from scratch, \
BN trained |
| necks, heads | {CHANNELS} channels, {STACKED_CONVS} convs before the predictions, \
fully connected layers of {FULLY_CONNECTED} |
| optimizer | AdamW, rate {LEARNING_RATE:g}, decay 0.05 but for norms and biases, \
gradients clipped at 35 |
| schedule | {WARM_UP} steps of warm-up, then a cosine to 2% |
| images | BCCD {BCCD_SIZE[0]}x{BCCD_SIZE[1]}, synthetic tiles {_TILE}, flipped \
horizontally |
| levels | one-stage detectors: P3-P7 on BCCD, P2-P6 on the synthetic set; \
Faster R-CNN: P2-P6 |
| anchors | RetinaNet's start at twice the stride, half of the usual: the objects are \
small; FCOS's ranges are halved too, Faster R-CNN's anchors start where RetinaNet's do |
| test | the last weights, once; BCCD's test images, the synthetic set's validation \
images; scores above 0.01 |

The methods' own settings are the papers', widths follow from the recipe:

- S-α FPN: α from the training boxes by Algorithm 1 of the paper, whatever it gives. It
  was made for tiny objects; where the next level has more objects, α is above 1.
- CFG-FPN: three stages with whole grouping matrices; no rank is needed at this width.
- ASFF: behind FPN, over the levels of the backbone, with GN of 16 groups and ReLU.
- AugFPN: all of it. Ratios 0.1, 0.2 and 0.3; consistent supervision with factor 0.25,
  on {ROIS_PER_IMAGE} RoIs per image instead of 512, as many as Faster R-CNN's second
  stage has here; the residual to the first extra level, Soft-RoI in Faster R-CNN.
- DRFPN: the released blocks with pyramid pooling.
- PAFPN: mmdet's.
"""


def trials_text(trials: Sequence[Result]) -> str:
    """Return how the recipe was found.

    Args:
        trials: Results of ``tools/study.py trial``.
    """
    lines = [
        "The recipe was tuned with FPN alone (RetinaNet on BCCD), on the validation "
        f"images, with seed {TUNING_SEED}, which is none of the study's. Then it was "
        f"frozen. Trials made: {len(trials)}; `tools/study.py trial` repeats the last.",
        "",
    ]
    for number, result in enumerate(trials, 1):
        recipe = find_cell(result["cell"]).recipe_hash(test=result["tested_on"])
        which = "this recipe" if recipe == result["recipe"] else "an earlier recipe"
        metrics = result["metrics"]
        lines.append(
            f"- Trial {number}, {which}: AP {100 * metrics['coco/bbox_mAP']:.1f}, "
            f"AP50 {100 * metrics['coco/bbox_mAP_50']:.1f}, "
            f"{metrics[PROCESSOR_SECONDS] / 60:.1f} minutes of processor time."
        )
    return "\n".join(lines)
