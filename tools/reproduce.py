"""Reproduce a table of the papers: train its rows, compare with the printed numbers.

`list` and `show` print the tables, `run` trains and tests rows with mmdet's own
tools/train.py, and `report` writes what was measured beside what the paper printed. An
interrupted `run` goes on when it is started again. The exit status is 0, 1 if a row
failed, 2 if the command line or the data are wrong and 130 if the run was interrupted.
docs/reproduce.md shows it from the download to the report.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

from mmengine.config import DictAction

from fpn_necks.io import write_text
from fpn_necks.reproduction import Table, find_table, load_tables
from fpn_necks.reproduction.report import (
    csv_report,
    gather,
    markdown_report,
    markdown_table,
)
from fpn_necks.reproduction.run import (
    LAUNCHERS,
    Launch,
    choose_rows,
    describe,
    plan_runs,
    run_from_command_line,
)

WORK_DIR = Path("work_dirs/reproduction")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tables", type=Path, help="folder of table files (default: the shipped ones)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print all tables")
    show = commands.add_parser("show", help="print a table in Markdown")
    run = commands.add_parser("run", help="train and test the rows of a table")
    report = commands.add_parser("report", help="compare with the paper's numbers")
    for command in (show, run, report):
        command.add_argument("table", help="such as augfpn-table-2")
    for command in (run, report):
        command.add_argument(
            "--work-dir",
            type=Path,
            default=WORK_DIR,
            help=f"folder of all runs (default: {WORK_DIR})",
        )
    report.add_argument(
        "--out", type=Path, help="folder of the report (default: WORK_DIR/TABLE)"
    )
    add_run_options(run)
    return parser.parse_args(arguments)


def add_run_options(run: argparse.ArgumentParser) -> None:
    """Add what only `run` has."""
    add = run.add_argument
    add("--rows", nargs="+", metavar="ROW", help="names or slugs (default: all)")
    add("--launcher", choices=LAUNCHERS, default="none", help="(default: none)")
    add("--gpus", type=int, default=1, metavar="N", help="per node (default: 1)")
    add("--nodes", type=int, default=1, metavar="N", help="with slurm (default: 1)")
    add("--srun-args", default="", help="for srun, such as '-p PARTITION -t 24:00:00'")
    add("--seeds", type=int, nargs="+", default=[0], metavar="K", help="(default: 0)")
    add("--data-root", metavar="FOLDER", help="in the place of data/coco or the like")
    add(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="overrides of config values, for all rows",
    )
    add(
        "--pretraining-cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="the same for the trainings that rows start from",
    )
    add("--dry-run", action="store_true", help="print what would be run")
    add(
        "--images-per-second",
        type=float,
        metavar="N",
        help="one GPU's throughput in training, for the GPU hours of --dry-run",
    )


def list_tables(tables: dict[str, Table]) -> None:
    """Print a line per table."""
    width = max(len(name) for name in tables)
    print(f"{'table':<{width}}  trainable  quoted  untrainable  title")
    for name, table in tables.items():
        count = Counter(row.kind for row in table.rows)
        print(
            f"{name:<{width}}  {count['trainable']:>9}  {count['quoted']:>6}  "
            f"{count['untrainable']:>11}  {table.title}"
        )


def run_table(options: argparse.Namespace, table: Table) -> int:
    """Train and test rows; return the exit status."""
    if any(seed < 0 for seed in options.seeds):
        raise ValueError(f"--seeds must be at least 0, got {min(options.seeds)}")
    throughput = options.images_per_second
    if throughput is not None and throughput <= 0:
        raise ValueError(f"--images-per-second must be above 0, got {throughput}")
    launch = Launch(options.launcher, options.gpus, options.nodes, options.srun_args)
    runs = plan_runs(
        table,
        choose_rows(table, options.rows),
        options.work_dir,
        tuple(dict.fromkeys(options.seeds)),
        options.cfg_options,
        options.pretraining_cfg_options,
        options.data_root,
        launch.world_size,
    )
    missing = [run.missing_data() for run in runs]
    if options.dry_run:
        for number, (run, file) in enumerate(zip(runs, missing, strict=True), 1):
            print(f"{number} of {len(runs)}: {run.label}, seed {run.facts['seed']}")
            lines = describe(run, launch, throughput)
            lines += [f"data: {file}"] if file else []
            print("".join(f"  {line}\n" for line in lines), end="")
            run.check_folder()
        return 0
    for run, file in zip(runs, missing, strict=True):
        if file:
            raise ValueError(f"row '{run.label}': {file}")
    return run_from_command_line(runs, launch)


def report_table(options: argparse.Namespace, table: Table) -> None:
    """Write the report of a table and print its Markdown."""
    found = gather(table, options.work_dir)
    out = options.out or options.work_dir / table.id
    text = markdown_report(table, found)
    write_text(out / "report.md", text)
    write_text(out / "report.csv", csv_report(table, found))
    print(text)
    print(f"written: {out / 'report.md'}, {out / 'report.csv'}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse_arguments(arguments)
    # mmengine imports it whenever a config inherits one of mmdet's.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    try:
        if options.command == "list":
            list_tables(load_tables(options.tables))
            return 0
        table = find_table(options.table, options.tables)
        if options.command == "show":
            print(markdown_table(table), end="")
        elif options.command == "report":
            report_table(options, table)
        else:
            return run_table(options, table)
    except (ValueError, LookupError, OSError) as error:
        words = error.args[0] if isinstance(error, LookupError) else error
        print(f"error: {' '.join(str(words).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
