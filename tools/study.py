"""A study of this library's own: seven necks, one recipe, small data, several seeds.

`list` prints the cells, `run` trains and tests them one after the other, `report`
collects the results and writes the page. An interrupted `run` goes on when it is
started again, and further seeds are added to what there is. `trial` is what the recipe
was tuned with: FPN, on the validation images, with a seed of its own. The exit status
is 0, 1 if a run failed, 2 if the command line or the data are wrong and 130 if the run
was interrupted. docs/small_data.md has the recipe and the results.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORK_DIR = Path("work_dirs/study")
OUT = Path("docs")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print all cells and their results")
    run = commands.add_parser("run", help="train and test cells")
    trial = commands.add_parser("trial", help="train FPN, test on validation images")
    report = commands.add_parser("report", help="collect results, write the page")
    for command in (listing, run, trial, report):
        command.add_argument(
            "--work-dir",
            type=Path,
            default=WORK_DIR,
            help=f"folder of all runs (default: {WORK_DIR})",
        )
    for command in (run, trial):
        add = command.add_argument
        add("--data", type=Path, metavar="FOLDER", help="BCCD in COCO's format")
        add(
            "--device",
            choices=("auto", "cpu", "cuda"),
            default="auto",
            help="(default: a GPU if there is one)",
        )
        add("--threads", type=int, default=1, help="of the processor (default: 1)")
    run.add_argument(
        "--cells",
        nargs="+",
        metavar="CELL",
        help="names, patterns such as 'fcos-bccd-*', or sweep (default: RetinaNet on "
        "BCCD, then the sweep)",
    )
    run.add_argument("--seeds", type=int, nargs="+", metavar="K", help="(default: 0-2)")
    for command in (listing, report):
        command.add_argument(
            "--out",
            type=Path,
            default=OUT,
            help=f"folder of small_data.md and small_data/ (default: {OUT})",
        )
    return parser.parse_args(arguments)


def choose_device(device: str, threads: int) -> None:
    """Tell the processes of the runs what to compute on.

    Raises:
        ValueError: There is no such device, or the number of threads is wrong.
    """
    if threads < 1:
        raise ValueError(f"--threads must be at least 1, got {threads}")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no CUDA device here")


def data_roots(blocks: Sequence[Sequence[Any]], options: argparse.Namespace) -> dict:
    """Return the folder of each data set that is needed; the synthetic one is drawn.

    Raises:
        ValueError: BCCD is needed and not given.
    """
    from fpn_necks.studies.sets import draw_synthetic_set

    needed = {cell.data for block in blocks for cell in block}
    roots = {}
    if "bccd" in needed:
        if options.data is None:
            raise ValueError("--data is needed: the folder of BCCD in COCO's format")
        roots["bccd"] = options.data
    if "synthetic" in needed:
        roots["synthetic"] = draw_synthetic_set(options.work_dir)
    return roots


def run_cells(options: argparse.Namespace) -> int:
    """Train and test; return the exit status."""
    from fpn_necks.reproduction.run import Launch, run_from_command_line
    from fpn_necks.studies.cells import Cell, choose_blocks
    from fpn_necks.studies.planning import plan_blocks, plan_run
    from fpn_necks.studies.recipe import STUDY_SEEDS, TUNING_SEED

    choose_device(options.device, options.threads)
    if options.command == "trial":
        cell = Cell("retinanet", "bccd", "fpn")
        root = data_roots([[cell]], options)["bccd"]
        runs = [plan_run(cell, TUNING_SEED, root, options.work_dir, test="val")]
    else:
        seeds = tuple(dict.fromkeys(options.seeds or STUDY_SEEDS))
        if min(seeds) < 0:
            raise ValueError(f"--seeds must be at least 0, got {min(seeds)}")
        if TUNING_SEED in seeds:
            raise ValueError(f"--seeds: {TUNING_SEED} is the seed of the trials")
        blocks = choose_blocks(options.cells)
        roots = data_roots(blocks, options)
        runs = plan_blocks(blocks, seeds, roots, options.work_dir)
    return run_from_command_line(runs, Launch())


def list_cells(options: argparse.Namespace) -> None:
    """Print a line per cell: its parameters and the seeds that are finished."""
    from fpn_necks.studies.listing import lines

    print("\n".join(lines(options.work_dir, options.out / "small_data" / "results")))


def report(options: argparse.Namespace) -> None:
    """Collect the results and write the page with its picture and the notes."""
    from fpn_necks.io import write_text
    from fpn_necks.studies.drawing import draw_sweep
    from fpn_necks.studies.report import NOTES, PAGE, PICTURE, RESULTS, TRIALS, page
    from fpn_necks.studies.results import collect, read_results, read_trials

    folder = options.out / RESULTS
    new = collect(options.work_dir, folder, options.out / TRIALS)
    results = read_results(folder)
    drawn = draw_sweep(results, options.out / PICTURE)
    trials = read_trials(options.out / TRIALS)
    notes = options.out / NOTES
    said = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    write_text(options.out / PAGE, page(results, trials, said))
    print(f"new: {', '.join(path.name for path in new) or 'nothing'}")
    written = [PAGE, PICTURE] if drawn else [PAGE]
    print(f"written: {', '.join(str(options.out / name) for name in written)}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse_arguments(arguments)
    # mmengine imports it whenever mmdet is imported.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    try:
        if options.command == "list":
            list_cells(options)
        elif options.command == "report":
            report(options)
        else:
            return run_cells(options)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
