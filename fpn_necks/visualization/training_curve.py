"""The scalars that mmengine wrote during a training: losses, and α of necks."""

from __future__ import annotations

import json
from pathlib import Path

from fpn_necks.io import save_figure

from .figures import DPI, new_figure

Curve = tuple[list[int], list[float]]  # iterations and values


def find_scalars(work_dir: str | Path) -> Path:
    """Find the scalars of the newest run in a work dir of mmengine's Runner.

    Raises:
        FileNotFoundError: no run has written any.
    """
    # mmengine names the folder of a run after its start: the last name is the newest.
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(f"no */vis_data/scalars.json in {work_dir}")
    return files[-1]


def read_scalars(path: str | Path, prefix: str = "loss") -> dict[str, Curve]:
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


def draw_training_curve(scalars: str | Path, path: str | Path) -> None:
    """Write a picture of all losses over the iterations.

    Args:
        scalars: ``scalars.json`` of a run.
        path: picture file to write.

    Raises:
        ValueError: the file holds no losses.
    """
    curves = read_scalars(scalars)
    if not curves:
        raise ValueError(f"{scalars} holds no losses")
    figure, grid = new_figure("Training losses", (1, 1), (6.5, 3.9))
    axes = grid[0, 0]
    for name, (steps, values) in curves.items():
        width, marker = 2.2 if name == "loss" else 1.4, "o" if len(steps) < 3 else None
        axes.plot(steps, values, label=name, linewidth=width, marker=marker)
    axes.set(xlabel="iteration", ylabel="loss")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path, dpi=DPI)
