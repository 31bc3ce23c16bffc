"""α of every top-down connection, over a training or as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from torch import nn

from fpn_necks.auxiliary.features import LATERALS, find_levels
from fpn_necks.checkpoints import checkpoints_of, read_checkpoint
from fpn_necks.hooks.recording import find_modules
from fpn_necks.hooks.weights import record_attention_factors, stored_factors
from fpn_necks.io import save_figure
from fpn_necks.layers import FusionFactor

from .figures import COLOURS, DPI, new_figure, wrap
from .views import View, run

Curve = tuple[list[int], list[float]]  # iterations and values
TAG = "alpha/"
"""What the names of α begin with in the scalars of ``NeckVisualizationHook``."""

STYLES = ("-", "--")  # of the first detector and of the second
MARKERS = ("o", "s")


def collect_factors(
    model: nn.Module, views: Iterable[View] = (), work_dir: Path | None = None
) -> dict[str, Curve]:
    """Return α by what its connection joins, such as ``"P3 from P4"``.

    Args:
        model: whose α it is.
        views: images, for α that depend on them.
        work_dir: of the model's training, for α over its iterations.

    Returns:
        Iterations and α; without a training ``([], [α of each image])``, or
        ``([], [α])`` where it depends on none. A factor that connections share, and
        those of several necks, keep the name ``<path of the factor>.<connection>``.
    """
    curves = read_factors(work_dir) if work_dir else _factors_of(model, views)
    levels = [f"P{level.name[1:]}" for level in find_levels(model, LATERALS)]
    joined = [f"{low} from {high}" for low, high in pairwise(levels)]
    names = joined if len(joined) == len(curves) else sorted(curves)
    return {name: curves[key] for name, key in zip(names, sorted(curves), strict=True)}


def read_factors(work_dir: str | Path) -> dict[str, Curve]:
    """Read α over a training: ``<path of the factor>.<connection>`` -> its curve.

    From the scalars that ``NeckVisualizationHook`` wrote, of all runs in the folder; or
    without them from the numbered checkpoints.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found: dict[str, dict[int, float]] = {}
    # The folder of a run is named after its start: a later one overrides.
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for name, curve in read_scalars(file, TAG).items():
            of_name = found.setdefault(name.removeprefix(TAG), {})
            of_name |= dict(zip(*curve, strict=True))
    for file in () if found else checkpoints_of(folder):
        content = read_checkpoint(file)
        for name, alpha in content["state_dict"].items():
            if name.endswith("fusion_factor.alpha"):
                path = name.removesuffix(".alpha")
                for i, value in enumerate(alpha.tolist()):
                    steps = found.setdefault(f"{path}.{i}", {})
                    steps[content["meta"]["iter"]] = value
    if not found:
        raise ValueError(
            f"no fusion factors in {folder}: train with "
            "custom_hooks=[dict(type='NeckVisualizationHook')], or keep checkpoints of "
            "learnable factors"
        )
    return {
        name: (sorted(steps), [steps[i] for i in sorted(steps)])
        for name, steps in sorted(found.items())
    }


def read_scalars(path: str | Path, prefix: str) -> dict[str, Curve]:
    """Read the curves whose names start with `prefix`, in order of appearance.

    Args:
        path: ``scalars.json``: one json object per line; the last may be cut off.
        prefix: start of the names of the wanted scalars.
    """
    curves: dict[str, Curve] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the last line of an interrupted run
            continue
        for name in record:
            if name.startswith(prefix):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(float(record[name]))
    return curves


def _factors_of(model: nn.Module, views: Iterable[View]) -> dict[str, Curve]:
    find_modules(model, FusionFactor, "has no fusion factors: it has no SAlphaFPN")
    found = {name: ([], [float(x)]) for name, x in stored_factors(model).items()}
    if any(math.isnan(value) for _, (value,) in found.values()):
        raise ValueError(
            "the statistic fusion factors are not set: give a checkpoint of a training "
            "with FusionFactorHook"
        )
    if found:
        return found
    for view in views:
        with record_attention_factors(model) as of_image:
            run(model, view)
        for name, alpha in of_image.items():
            found.setdefault(name, ([], []))[1].append(float(alpha[0]))
    if not found:
        raise ValueError("the fusion factors depend on the image: name at least one")
    return found


def draw_factors(
    entries: Sequence[tuple[str, Mapping[str, Curve]]], path: str | Path
) -> None:
    """Write a picture of α: over the iterations, or a point per connection."""
    # In the order of the first detector; connections of one name are compared.
    keys = list(dict.fromkeys(key for _, curves in entries for key in curves))
    over_time = any(steps for _, curves in entries for steps, _ in curves.values())
    figure, grid = new_figure(
        "Fusion factor α per top-down connection" + " over training" * over_time,
        (1, 1),
        (6.4, 3.8),
        margins=(0.4, 0.3 + 0.2 * len(keys) * len(entries) * over_time),
    )
    axes = grid[0, 0]
    for place, (label, curves) in enumerate(entries):
        for key, (steps, values) in curves.items():
            mean, column = sum(values) / len(values), keys.index(key)
            if over_time:
                name = f"{key} ({label})" if len(entries) > 1 else key
                style = dict(color=COLOURS[column % len(COLOURS)], ls=STYLES[place])
                if steps:
                    marker = "o" if len(steps) < 3 else None
                    axes.plot(steps, values, marker=marker, label=name, **style)
                else:  # known as it is, not over time
                    axes.axhline(mean, label=name, **style)
                continue
            x = column + (place - (len(entries) - 1) / 2) * 0.3
            style = dict(color=COLOURS[place])
            axes.plot([x] * len(values), values, "_", alpha=0.5, **style)
            axes.plot(x, mean, MARKERS[place], ms=7, label=label, **style)
            above = dict(xytext=(0, 7), textcoords="offset points", ha="center")
            axes.annotate(f"{mean:.3f}", (x, max(values)), fontsize=8, **above)
    if over_time:
        axes.set_xlabel("iteration")
    else:
        axes.set_xticks(range(len(keys)), [wrap(key, 14) for key in keys])
        axes.set_xlim(-0.7, len(keys) - 0.3)
    low, high = axes.get_ylim()
    axes.set(ylabel="α (0: nothing, 1: as in FPN)", ylim=(min(0, low), max(high, 1.1)))
    axes.axhline(1.0, color="#888888", linewidth=0.8)
    axes.grid(alpha=0.3)
    if over_time or len(entries) > 1:
        named = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(named.values(), named, loc="outside lower center", fontsize=8)
    save_figure(figure, path, dpi=DPI)
