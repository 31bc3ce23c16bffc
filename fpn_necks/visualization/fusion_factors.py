"""α of every top-down connection, over a training or as it is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from torch import nn

from fpn_necks.auxiliary.features import LATERALS, find_levels
from fpn_necks.checkpoints import checkpoints_of, read_checkpoint
from fpn_necks.layers import FusionFactor

from .heat_maps import new_figure, save, wrap
from .recording import find_modules
from .training_curve import Curve
from .views import View, run
from .weights import record_attention_factors, stored_factors

TAG = "alpha/"
"""What the names of α begin with in the scalars of ``NeckVisualizationHook``."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")


def collect_factors(model: nn.Module, views: Sequence[View] = ()) -> dict[str, Curve]:
    """Return the α of a model, as curves without iterations.

    Args:
        model: detector with an ``SAlphaFPN``.
        views: images, for α that depend on them; they are averaged.

    Returns:
        ``<path of the factor>.<connection>`` -> ``([], [α of each image])``, or
        ``([], [α])`` where it depends on none.

    Raises:
        ValueError: the model has no fusion factors, they are not set, or they depend
            on the image and there is none.
    """
    factors = find_modules(model, FusionFactor)
    if not factors:
        raise ValueError(
            f"the {type(model).__name__} has no fusion factors: it has no SAlphaFPN"
        )
    stored = {name: float(value) for name, value in stored_factors(model).items()}
    if any(math.isnan(value) for value in stored.values()):
        raise ValueError(
            "the statistic fusion factors are not set: give a checkpoint of a training "
            "with FusionFactorHook"
        )
    found: dict[str, Curve] = {name: ([], [value]) for name, value in stored.items()}
    if all(hasattr(factor, "alpha") for factor in factors.values()):
        return found
    if not views:
        raise ValueError("the fusion factors depend on the image: name at least one")
    for view in views:
        with record_attention_factors(model) as of_image:
            run(model, view)
        for name, alpha in of_image.items():
            found.setdefault(name, ([], []))[1].append(float(alpha[0]))
    return found


def read_factors(work_dir: str | Path) -> dict[str, Curve]:
    """Read α over a training.

    From the scalars that ``NeckVisualizationHook`` wrote, of all runs in the folder; or
    without them from the numbered checkpoints.

    Args:
        work_dir: of mmengine's Runner.

    Returns:
        ``<path of the factor>.<connection>`` -> iterations and values.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: neither holds any α, or a checkpoint cannot be read.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    curves = _from_scalars(folder) or _from_checkpoints(folder)
    if not curves:
        raise ValueError(
            f"no fusion factors in {folder}: train with "
            "custom_hooks=[dict(type='NeckVisualizationHook')], or keep checkpoints of "
            "learnable factors"
        )
    return curves


def connection_names(model: nn.Module) -> dict[str, str]:
    """Return what each connection joins: ``<path>.<i>`` -> such as ``"P3 from P4"``."""
    try:
        levels = [level.name for level in find_levels(model, LATERALS)]
    except ValueError:
        levels = []
    names = {}
    for path, factor in find_modules(model, FusionFactor).items():
        if len(levels) != factor.num_connections + 1:
            continue
        for i in range(factor.num_connections):
            joined = f"P{levels[i][1:]} from P{levels[i + 1][1:]}"
            is_shared = getattr(factor, "shared", False) and factor.num_connections > 1
            names[f"{path}.{i}"] = "all connections" if is_shared else joined
    return names


def draw_factors(
    entries: Sequence[tuple[str, Mapping[str, Curve]]],
    path: str | Path,
    names: Mapping[str, str] | None = None,
) -> None:
    """Write a picture of α: over the iterations, or a point per connection.

    Args:
        entries: label and α of each detector.
        path: picture file to write.
        names: what connections are called, see ``connection_names``.
    """
    entries = [(label, _named(curves, names or {})) for label, curves in entries]
    # In the order of the first detector; connections of one name are compared.
    keys = list(dict.fromkeys(key for _, curves in entries for key in curves))
    over_time = any(steps for _, curves in entries for steps, _ in curves.values())
    figure, grid = new_figure(
        "Fusion factor α per top-down connection"
        + (" over training" if over_time else ""),
        1,
        1,
        (6.4, 3.8),
        margins=(0.4, 0.3 + 0.2 * len(keys) * len(entries) * over_time),
    )
    axes = grid[0, 0]
    several = len(entries) > 1
    if over_time:
        for place, (label, curves) in enumerate(entries):
            for key in (key for key in keys if key in curves):
                _draw_curve(
                    axes,
                    curves[key],
                    f"{key} ({label})" if several else key,
                    COLOURS[keys.index(key) % len(COLOURS)],
                    STYLES[place % len(STYLES)],
                )
        axes.set_xlabel("iteration")
    else:
        for place, (label, curves) in enumerate(entries):
            shift = (place - (len(entries) - 1) / 2) * 0.3
            _draw_points(axes, curves, keys, shift, place, label)
        labels = [wrap(key, 14) for key in keys]
        axes.set_xticks(range(len(keys)), labels)
        axes.set_xlim(-0.7, len(keys) - 0.3)
    axes.set_ylabel("α (0: nothing, 1: as in FPN)")
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), max(high, 1.1))
    axes.axhline(1.0, color="#888888", linewidth=0.8)
    axes.grid(alpha=0.3)
    if over_time or several:
        figure.legend(loc="outside lower center", fontsize=8)
    save(figure, path)


def _draw_curve(axes: Axes, curve: Curve, label: str, colour: str, style: str) -> None:
    steps, values = curve
    if not steps:  # known as it is, not over time
        axes.axhline(sum(values) / len(values), color=colour, ls=style, label=label)
        return
    marker = "o" if len(steps) < 3 else None
    axes.plot(steps, values, color=colour, ls=style, marker=marker, label=label)


def _draw_points(
    axes: Axes,
    curves: Mapping[str, Curve],
    keys: Sequence[str],
    shift: float,
    place: int,
    label: str,
) -> None:
    colour = COLOURS[place % len(COLOURS)]
    for key in (key for key in keys if key in curves):
        x, values = keys.index(key) + shift, curves[key][1]
        mean = sum(values) / len(values)
        axes.plot([x] * len(values), values, "_", color=colour, alpha=0.5)
        first = key == next(k for k in keys if k in curves)
        axes.plot(
            x,
            mean,
            MARKERS[place % len(MARKERS)],
            color=colour,
            ms=7,
            label=label if first else None,
        )
        axes.annotate(
            f"{mean:.3f}",
            (x, max(values)),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )


def _from_scalars(folder: Path) -> dict[str, Curve]:
    found: dict[str, dict[int, float]] = {}
    # The folder of a run is named after its start: a later one overrides.
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in file.read_text().splitlines():
            try:
                record = json.loads(line) if line.strip() else {}
            except json.JSONDecodeError:  # the last line of an interrupted run
                continue
            for name, value in record.items():
                if name.startswith(TAG):
                    steps = found.setdefault(name.removeprefix(TAG), {})
                    steps[int(record["step"])] = float(value)
    return {
        name: (sorted(steps), [steps[i] for i in sorted(steps)])
        for name, steps in sorted(found.items())
    }


def _from_checkpoints(folder: Path) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for file in checkpoints_of(folder):
        content = read_checkpoint(file)
        try:
            state, iteration = content["state_dict"], int(content["meta"]["iter"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is no checkpoint of mmengine: {error}") from error
        for name, alpha in state.items():
            if match := re.fullmatch(r"(?:module\.)?(.*fusion_factor)\.alpha", name):
                for i, value in enumerate(alpha.tolist()):
                    steps, values = curves.setdefault(f"{match[1]}.{i}", ([], []))
                    steps.append(iteration)
                    values.append(value)
    return curves


def _named(curves: Mapping[str, Curve], names: Mapping[str, str]) -> dict[str, Curve]:
    """Call connections by what they join, where that tells them apart."""
    keys = sorted(curves, key=_natural)
    called = [names.get(key, key) for key in keys]
    if len(set(called)) < len(called):
        called = keys
    return {name: curves[key] for name, key in zip(called, keys, strict=True)}


def _natural(key: str) -> tuple[str, int]:
    path, connection = key.rsplit(".", 1)
    return path, int(connection)
