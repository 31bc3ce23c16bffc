"""Write docs/results.md and its picture from the results alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import recipe
from recipe import CURVE, FURTHER, METRICS, NECKS, SEEDS, Entry
from results import Results, chosen_rate, read_results, result_of

from fpn_necks.reproduction.tables import find_table

TEMPLATE = Path(__file__).with_name("page.md")
COLUMNS = {
    "tinyperson": {
        "AP50 tiny": "tiny_person/AP50_tiny",
        "tiny1": "tiny_person/AP50_tiny1",
        "tiny2": "tiny_person/AP50_tiny2",
        "tiny3": "tiny_person/AP50_tiny3",
        "small": "tiny_person/AP50_small",
        "MR50 tiny": "tiny_person/MR50_tiny",
    },
    "bccd": {
        "AP50": "coco/bbox_mAP_50",
        "AP": "coco/bbox_mAP",
        "AP75": "coco/bbox_mAP_75",
    },
}


def write_page(folder: Path, docs: Path) -> None:
    """Write the page, and the picture into the folder of the results."""
    results = read_results(folder)
    draw_curve(results, folder / "curve.png")
    (docs / "results.md").write_text(page(results), encoding="utf-8")


def page(results: Results) -> str:
    """Return the page's text."""
    runs = [r for r in results.values() if not r["trial"]]
    planned = {(e.data, e.neck, e.seed) for e in recipe.entries()}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        answer=answer(results),
        curve=_table(
            ["α", *_head("tinyperson")],
            [[curve_label(results, n), *_row(results, curve_entry(n))] for n in CURVE],
        ),
        tinyperson=necks_table(results, "tinyperson"),
        norms=further_table(results),
        bccd=necks_table(results, "bccd"),
        done=f"{len(runs)} runs are done; {len(planned)} were planned, or a few more "
        "where S-α FPN chooses another rate than FPN",
        minutes=f"{sum(r['training_minutes'] for r in results.values()):.0f}",
        versions=", ".join(sorted({_versions(r) for r in results.values()})) or "none",
        rates=" and ".join(f"{rate:g}" for rate in recipe.RATES),
        seeds=", ".join(map(str, SEEDS)),
        steps=recipe.STEPS["tinyperson"],
        steps_bccd=recipe.STEPS["bccd"],
        trial_steps=recipe.TRIAL_STEPS["tinyperson"],
        trial_steps_bccd=recipe.TRIAL_STEPS["bccd"],
        channels=recipe.CHANNELS,
        rois=recipe.ROIS_PER_IMAGE,
        batch=recipe.BATCH_SIZE,
        tile="x".join(map(str, recipe.TILE)),
    )


def curve_entry(neck: str) -> Entry:
    """Return a point of the curve; all have the rate that FPN chose."""
    return Entry("tinyperson", neck, 0, "fpn")


def scores(results: Results, entry: Entry, key: str) -> dict[int, float]:
    """Return a metric in per cent by seed, of the runs that are done and converged."""
    found = {k: r["metrics"] or {} for k, r in by_seed(results, entry).items()}
    # The metrics give -1 where there is nothing to find.
    return {k: 100 * m[key] for k, m in found.items() if m.get(key, -1) >= 0}


def differences(results: Results, entry: Entry) -> dict[int, float]:
    """Return how far an entry is above FPN in the first metric, by seed."""
    key = METRICS[entry.data]
    plain = scores(results, Entry(entry.data, "fpn", 0, "fpn"), key)
    own = scores(results, entry, key)
    return {seed: own[seed] - plain[seed] for seed in own if seed in plain}


def answer(results: Results) -> str:
    """Say what the runs show: of each data set, and of the curve over α."""
    lines = [
        f"**{title}** ({metric} over FPN with the same seed): "
        f"{_verdicts(results, data)}."
        for data, title, metric in (
            ("tinyperson", "TinyPerson", "AP50 tiny"),
            ("bccd", "BCCD", "AP50"),
        )
    ]
    fixed = [neck for neck in CURVE if CURVE[neck] is not None]
    key = METRICS["tinyperson"]
    found = {n: scores(results, curve_entry(n), key).values() for n in fixed}
    if all(found.values()):
        means = {n: statistics.fmean(values) for n, values in found.items()}
        best = max(means, key=means.__getitem__)
        lines.append(
            f"**One α for all connections**: best is {CURVE[best]:g} with "
            f"{means[best]:.1f} AP50 tiny; α = 1, which is FPN, has {means['fpn']:.1f} "
            f"(seeds: {min(map(len, found.values()))})."
        )
    return "\n".join(f"- {line}" for line in lines)


def _verdicts(results: Results, data: str) -> str:
    """Return the necks with their differences to FPN, by what the seeds agree on."""
    groups: dict[str, list[str]] = {}
    for neck, name in NECKS.items():
        values = [*differences(results, Entry(data, neck, 0, neck)).values()]
        if neck == "fpn" or not values:
            continue
        what = "neither"
        if len(values) < len(SEEDS):
            what = "not with all seeds yet"
        elif min(values) > 0 or max(values) < 0:
            what = f"{'better' if min(values) > 0 else 'worse'} with every seed"
        groups.setdefault(what, []).append(f"{name} {_mean_std(values, '+.1f')}")
    order = ("better with every seed", "neither", "worse with every seed")
    known = [x for x in (*order, *(groups.keys() - set(order))) if x in groups]
    parts = [f"{what}: {', '.join(groups[what])}" for what in known]
    if groups and order[0] not in groups:
        parts.insert(0, "no neck is better with every seed")
    return "; ".join(parts) or "not run yet"


def curve_label(results: Results, neck: str) -> str:
    """Return α, or what the released statistic made of the training set."""
    if CURVE[neck] is not None:
        return f"{CURVE[neck]:g}" + (" (FPN)" if neck == "fpn" else "")
    alphas = [r["alpha"] for r in by_seed(results, curve_entry(neck)).values()]
    counted = ": " + ", ".join(f"{a:.2f}" for a in alphas[0]) if alphas else ""
    return f"S-α, released statistic{counted}"


def necks_table(results: Results, data: str) -> str:
    """Return the comparison of necks with their costs."""
    head = ["neck", "trials", *_head(data), "params (M)", "MACs (G)", "training"]
    rows = []
    for neck, name in NECKS.items():
        entry = Entry(data, neck, 0, neck)
        found = by_seed(results, entry)
        costs = ["–"] * 3
        if found:
            first = next(iter(found.values()))
            costs = [f"{first['parameters']:.2f}", f"{first['multiply_adds']:.2f}"]
            costs.append(f"{training_time(results, found):.2f}")
        rows.append([name, _trials(results, entry), *_row(results, entry), *costs])
    return _table(head, rows)


def training_time(results: Results, found: dict[int, dict[str, Any]]) -> float:
    """Return the training's processor time over that of FPN's run of the same seed.

    The median over the seeds: some pairs of runs were not made on the same machine.
    """
    data = next(iter(found.values()))["data"]
    plain = by_seed(results, Entry(data, "fpn", 0, "fpn"))
    key = "training_minutes"
    ratios = [found[k][key] / plain[k][key] for k in found if k in plain]
    return statistics.median(ratios) if ratios else float("nan")


def by_seed(results: Results, entry: Entry) -> dict[int, dict[str, Any]]:
    """Return the results of an entry's runs that are done, by seed."""
    entries = {k: Entry(entry.data, entry.neck, k, entry.chooser) for k in SEEDS}
    found = {k: result_of(results, x) for k, x in entries.items()}
    return {k: result for k, result in found.items() if result}


def further_table(results: Results) -> str:
    """Return what the runs that look for a cause gave, beside FPN and ASFF."""
    known = [Entry("tinyperson", neck, SEEDS[0], neck) for neck in ("fpn", "asff")]
    columns = {k: v for k, v in COLUMNS["tinyperson"].items() if k != "MR50 tiny"}
    rows = []
    for entry in [*known, *recipe.further_entries()]:
        result = result_of(results, entry)
        cells = ["not run yet"]
        if result:
            metrics = result["metrics"] or {}
            cells = [f"{100 * metrics[k]:.1f}" for k in columns.values() if metrics]
            cells = [f"{result['rate']:g}", *(cells or ["diverged"])]
        cells += ["–"] * (len(columns) + 1 - len(cells))
        rows.append([(NECKS | FURTHER)[entry.neck], *cells])
    return _table(["neck, first seed", "learning rate", *columns], rows)


def _trials(results: Results, entry: Entry) -> str:
    """Return the scores of the trials, the chosen one in bold."""
    best, cells = chosen_rate(results, entry), []
    for trial in entry.trials():
        result = results.get(trial.name)
        cell = "not run yet"
        if result:
            metrics = result["metrics"]
            cell = (
                f"{100 * metrics[METRICS[entry.data]]:.1f}" if metrics else "diverged"
            )
        cells.append(f"**{cell}**" if trial.rate == best else cell)
    return ", ".join(cells)


def _head(data: str) -> list[str]:
    return ["seeds", *COLUMNS[data], "over FPN"]


def _row(results: Results, entry: Entry) -> list[str]:
    found = by_seed(results, entry).values()
    diverged = sum(r["diverged"] is not None for r in found)
    number = f"{len(found)}" + (f", {diverged} diverged" if diverged else "")
    if not found:
        number = "not run yet"
        trials = [results.get(trial.name) for trial in entry.trials()]
        if all(t and t["diverged"] for t in trials):
            number = "diverged with every rate"
    columns = COLUMNS[entry.data].values()
    cells = [_mean_std(scores(results, entry, key).values()) for key in columns]
    over = "–"
    if entry.neck != "fpn":
        over = _mean_std(differences(results, entry).values(), "+.1f")
    return [number, *cells, over]


def _mean_std(values: Sequence[float], form: str = ".1f") -> str:
    values = list(values)
    if not values:
        return "–"
    text = f"{statistics.fmean(values):{form}}"
    return text if len(values) == 1 else f"{text}±{statistics.stdev(values):.1f}"


def _versions(result: dict[str, Any]) -> str:
    used = result["versions"]
    return f"torch {used['torch']} and mmdet {used['mmdet']} on {used['machine']}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, line, *rows])


def draw_curve(results: Results, path: Path) -> None:
    """Draw AP50 tiny over α, and the paper's Table 1 beside it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    ours, paper = figure.subplots(1, 2, width_ratios=(3, 2))
    key = METRICS["tinyperson"]
    points = []
    for neck, alpha in CURVE.items():
        found = [*scores(results, curve_entry(neck), key).values()]
        if found and alpha is None:
            label = f"S-α, released statistic (seeds: {len(found)})"
            ours.axhline(statistics.fmean(found), color="#aa3377", label=label)
        elif found:
            points.append((alpha, statistics.fmean(found)))
            ours.plot([alpha] * len(found), found, ".", color="#4477aa")
    if points:
        ours.plot(*zip(*points, strict=True), color="#4477aa", label="fixed α, mean")
        ours.legend()
    else:
        ours.text(0.5, 0.5, "not run yet", ha="center", transform=ours.transAxes)
    ours.set(
        xlabel="α of all connections",
        ylabel="AP50 tiny",
        title="Here (EfficientNet-Lite0)",
    )
    low, high = ours.get_ylim()
    spare = max(0.0, 4 - (high - low)) / 2  # less would make noise look like an effect
    ours.set_ylim(low - spare, high + spare)
    rows = {row.name: row.values for row in find_table("s-alpha-table-1").rows}
    values = [rows[name]["AP50_tiny"] for name in rows]
    bars = paper.barh(list(rows), values, color="#bbbbbb")
    paper.bar_label(bars, padding=2)
    paper.set(xlim=(min(values) - 1, max(values) + 1), xlabel="AP50 tiny")
    paper.set_title("Paper, Table 1 (ResNet-50)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
