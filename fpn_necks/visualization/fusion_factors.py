"""α of every top-down connection, over a training or as it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import nn

from fpn_necks.auxiliary.features import LATERALS, find_levels
from fpn_necks.checkpoints import checkpoints_of, read_checkpoint
from fpn_necks.hooks.recording import find_modules
from fpn_necks.hooks.weights import record_attention_factors, stored_factors
from fpn_necks.layers import FusionFactor

from .figures import COLOURS, new_figure, save, wrap
from .training_curve import Curve, read_scalars
from .views import View, run

TAG = "alpha/"
"""What the names of α begin with in the scalars of ``NeckVisualizationHook``."""

STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")


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
        ``([], [α])`` where it depends on none. Where connections cannot be told apart
        by what they join, they are called ``<path of the factor>.<connection>``.
    """
    curves = read_factors(work_dir) if work_dir else _factors_of(model, views)

    def by_number(key: str) -> tuple[str, int]:
        path, connection = key.rsplit(".", 1)
        return path, int(connection)

    keys = sorted(curves, key=by_number)
    names = _connection_names(model)
    called = [names.get(key, key) for key in keys]
    if len(set(called)) < len(called):
        called = keys
    return {name: curves[key] for name, key in zip(called, keys, strict=True)}


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
        try:
            state, step = content["state_dict"], int(content["meta"]["iter"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is no checkpoint of mmengine: {error}") from error
        for name, alpha in state.items():
            if match := re.fullmatch(r"(?:module\.)?(.*fusion_factor)\.alpha", name):
                for i, value in enumerate(alpha.tolist()):
                    found.setdefault(f"{match[1]}.{i}", {})[step] = value
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


def _factors_of(model: nn.Module, views: Iterable[View]) -> dict[str, Curve]:
    factors = find_modules(model, FusionFactor)
    if not factors:
        raise ValueError(
            f"the {type(model).__name__} has no fusion factors: it has no SAlphaFPN"
        )
    found = {name: ([], [float(x)]) for name, x in stored_factors(model).items()}
    if any(math.isnan(value) for _, (value,) in found.values()):
        raise ValueError(
            "the statistic fusion factors are not set: give a checkpoint of a training "
            "with FusionFactorHook"
        )
    if all(hasattr(factor, "alpha") for factor in factors.values()):
        return found
    known = len(found)
    for view in views:
        with record_attention_factors(model) as of_image:
            run(model, view)
        for name, alpha in of_image.items():
            found.setdefault(name, ([], []))[1].append(float(alpha[0]))
    if len(found) == known:
        raise ValueError("the fusion factors depend on the image: name at least one")
    return found


def _connection_names(model: nn.Module) -> dict[str, str]:
    """Return what each connection joins: ``<path>.<i>`` -> such as ``"P3 from P4"``."""
    try:
        levels = [level.name[1:] for level in find_levels(model, LATERALS)]
    except ValueError:
        levels = []
    names = {}
    for path, factor in find_modules(model, FusionFactor).items():
        if len(levels) == factor.num_connections + 1:
            is_shared = getattr(factor, "shared", False) and factor.num_connections > 1
            for i in range(factor.num_connections):
                joined = f"P{levels[i]} from P{levels[i + 1]}"
                names[f"{path}.{i}"] = "all connections" if is_shared else joined
    return names


def draw_factors(
    entries: Sequence[tuple[str, Mapping[str, Curve]]], path: str | Path
) -> None:
    """Write a picture of α: over the iterations, or a point per connection."""
    # In the order of the first detector; connections of one name are compared.
    keys = list(dict.fromkeys(key for _, curves in entries for key in curves))
    over_time = any(steps for _, curves in entries for steps, _ in curves.values())
    several = len(entries) > 1
    figure, grid = new_figure(
        "Fusion factor α per top-down connection" + " over training" * over_time,
        (1, 1),
        (6.4, 3.8),
        margins=(0.4, 0.3 + 0.2 * len(keys) * len(entries) * over_time),
    )
    axes = grid[0, 0]
    for place, (label, curves) in enumerate(entries):
        for number, key in enumerate(x for x in keys if x in curves):
            steps, values = curves[key]
            mean, column = sum(values) / len(values), keys.index(key)
            if over_time:
                style = dict(
                    color=COLOURS[column % len(COLOURS)],
                    ls=STYLES[place % len(STYLES)],
                    label=f"{key} ({label})" if several else key,
                )
                if steps:
                    marker = "o" if len(steps) < 3 else None
                    axes.plot(steps, values, marker=marker, **style)
                else:  # known as it is, not over time
                    axes.axhline(mean, **style)
                continue
            x = column + (place - (len(entries) - 1) / 2) * 0.3
            colour = COLOURS[place % len(COLOURS)]
            axes.plot([x] * len(values), values, "_", color=colour, alpha=0.5)
            marker = MARKERS[place % len(MARKERS)]
            name = None if number else label
            axes.plot(x, mean, marker, color=colour, ms=7, label=name)
            axes.annotate(
                f"{mean:.3f}",
                (x, max(values)),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    if over_time:
        axes.set_xlabel("iteration")
    else:
        axes.set_xticks(range(len(keys)), [wrap(key, 14) for key in keys])
        axes.set_xlim(-0.7, len(keys) - 0.3)
    low, high = axes.get_ylim()
    axes.set(ylabel="α (0: nothing, 1: as in FPN)", ylim=(min(0, low), max(high, 1.1)))
    axes.axhline(1.0, color="#888888", linewidth=0.8)
    axes.grid(alpha=0.3)
    if over_time or several:
        figure.legend(loc="outside lower center", fontsize=8)
    save(figure, path)
