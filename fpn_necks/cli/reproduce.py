"""Reproduce a table of the papers: train its rows, compare with the printed numbers.

`list` and `show` print the tables, `run` trains and tests rows with mmdet's own
tools/train.py, and `report` writes what was measured beside what the paper printed. An
interrupted `run` goes on when it is started again. The exit status is 1 if a row
failed.
docs/reproduce.md shows it from the download to the report.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_options, path, use_mmdet

if TYPE_CHECKING:
    from ..reproduction import Table

WORK_DIR = Path("work_dirs/reproduction")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all four commands."""
    parser.add_argument(
        "--tables", type=path, help="folder of table files (default: the shipped ones)"
    )
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    commands.add_parser("list", help="print all tables")
    show = commands.add_parser("show", help="print a table in Markdown")
    start = commands.add_parser("run", help="train and test the rows of a table")
    report = commands.add_parser("report", help="compare with the paper's numbers")
    for command in (show, start, report):
        command.add_argument("table", help="such as augfpn-table-2")
    text = f"folder of all runs (default: {WORK_DIR})"
    for command in (start, report):
        command.add_argument("--work-dir", type=path, default=WORK_DIR, help=text)
    add = start.add_argument
    add("--rows", nargs="+", metavar="ROW", help="names or slugs (default: all)")
    launchers = ("none", "pytorch", "slurm")
    add("--launcher", choices=launchers, default="none", help="(default: none)")
    add("--gpus", type=int, default=1, metavar="N", help="per node (default: 1)")
    add("--nodes", type=int, default=1, metavar="N", help="with slurm (default: 1)")
    add("--srun-args", default="", help="for srun, such as '-p PARTITION -t 24:00:00'")
    add("--seeds", type=int, nargs="+", default=[0], metavar="K", help="(default: 0)")
    add("--data-root", metavar="FOLDER", help="in the place of data/coco or the like")
    add_options(start, text=", for all rows")
    add_options(start, "--pretraining-cfg-options", ", of what rows start from")
    add("--dry-run", action="store_true", help="print what would be run")
    text = "one GPU's throughput, for the GPU hours of --dry-run (default: 20)"
    add("--images-per-second", type=float, default=20, metavar="X", help=text)


def run(options: argparse.Namespace) -> int | None:
    from ..reproduction import find_table, load_tables

    if options.action == "list":
        return _list(load_tables(options.tables))
    table = find_table(options.table, options.tables)
    use_mmdet()
    if options.action == "run":
        return _run(options, table)
    from ..io import write_text
    from ..reproduction.report import gather, markdown_report, markdown_table

    if options.action == "show":
        print(markdown_table(table), end="")
        return None
    text = markdown_report(table, gather(table, options.work_dir))
    file = options.work_dir / table.id / "report.md"
    write_text(file, text)
    print(f"{text}\nwritten: {file}")
    return None


def _list(tables: dict[str, Table]) -> None:
    """Print a line per table."""
    width = max(len(name) for name in tables)
    print(f"{'table':<{width}}  trainable  quoted  untrainable  title")
    for name, table in tables.items():
        count = Counter(row.kind for row in table.rows)
        print(
            f"{name:<{width}}  {count['trainable']:>9}  {count['quoted']:>6}  "
            f"{count['untrainable']:>11}  {table.title}"
        )


def _run(options: argparse.Namespace, table: Table) -> int:
    """Train and test rows; return the exit status."""
    from ..config_tools import read_options
    from ..reproduction.plan import choose_rows, plan_runs
    from ..reproduction.run import Launch, describe, run_all

    if any(seed < 0 for seed in options.seeds):
        raise ValueError(f"--seeds must be at least 0, got {min(options.seeds)}")
    if options.images_per_second <= 0:
        rate = options.images_per_second
        raise ValueError(f"--images-per-second must be above 0, got {rate}")
    launch = Launch(options.launcher, options.gpus, options.nodes, options.srun_args)
    runs = plan_runs(
        table,
        choose_rows(table, options.rows),
        options.work_dir,
        tuple(dict.fromkeys(options.seeds)),
        read_options(options.cfg_options),
        read_options(options.pretraining_cfg_options),
        options.data_root,
        launch.world_size,
    )
    for number, run in enumerate(runs, 1):
        missing = run.missing_data()
        if missing and not options.dry_run:
            raise ValueError(f"row '{run.label}': {missing}")
        if options.dry_run:
            print(f"{number} of {len(runs)}: {run.label}, seed {run.facts['seed']}")
            lines = describe(run, launch, options.images_per_second)
            lines += [f"data: {missing}"] if missing else []
            print("".join(f"  {line}\n" for line in lines), end="")
            run.check_folder()
    if options.dry_run:
        return 0
    # So do clusters end jobs: the processes must not go on alone.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failed = run_all(runs, launch)
    print(f"{len(runs) - len(failed)} finished, {len(failed)} failed")
    for label, reason in failed.items():
        print(f"error: {label}: {reason}", file=sys.stderr)
    return int(bool(failed))
