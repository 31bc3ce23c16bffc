"""The losses of a training, from the scalars that mmengine wrote."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fpn_necks.whole_files import save_figure

Curve = tuple[list[int], list[float]]  # iterations and values


def find_scalars(work_dir: str | Path) -> Path:
    """Finds the scalars of the newest run in a work dir of mmengine's Runner.

    Raises:
        FileNotFoundError: No run has written any.
    """
    # mmengine names the folder of a run after its start: the last name is the newest.
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(f"no */vis_data/scalars.json in {work_dir}")
    return files[-1]


def read_scalars(path: str | Path, prefix: str = "loss") -> dict[str, Curve]:
    """Reads the curves whose names start with `prefix`.

    Args:
        path: ``scalars.json``: one json object per line.
        prefix: Start of the names of the wanted scalars.

    Returns:
        Iterations and values by name, in order of appearance.
    """
    curves: dict[str, Curve] = {}
    for line in Path(path).read_text().splitlines():
        record = json.loads(line) if line.strip() else {}
        # Evaluations are written to the same file; they have no iteration.
        if "iter" not in record:
            continue
        for name, value in record.items():
            if name.startswith(prefix):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(int(record.get("step", record["iter"])))
                values.append(float(value))
    return curves


def draw_training_curve(
    scalars: str | Path, path: str | Path, title: str = "Training losses"
) -> None:
    """Writes a picture of all losses over the iterations.

    Args:
        scalars: ``scalars.json`` of a run.
        path: Picture file to write.
        title: Title of the picture.

    Raises:
        ValueError: The file holds no losses.
    """
    curves = read_scalars(scalars)
    if not curves:
        raise ValueError(f"{scalars} holds no losses")
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, (steps, values) in curves.items():
        axes.plot(
            steps,
            values,
            label=name,
            linewidth=2.2 if name == "loss" else 1.4,
            marker="o" if len(steps) < 3 else None,
        )
    axes.set(title=title, xlabel="iteration", ylabel="loss")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path, dpi=130)
