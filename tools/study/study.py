"""Compare seven necks on real TinyPerson images and on BCCD, from ImageNet weights.

    python tools/study/study.py run --tinyperson FOLDER --bccd FOLDER
    python tools/study/study.py report

`run` does what has no result in docs/results/ yet, in the order of the plan: first the
short trials that choose a learning rate, then the runs. It goes on where it was
interrupted, and several processes share the work. `report` writes docs/results.md.
Needs the extra `study`: pip install -e ".[study]".
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from recipe import PREPARATION, Run, entries
from results import chosen_rate, read_results, write_result

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
WORK_DIR = ROOT / "work_dirs" / "study"


@contextlib.contextmanager
def claimed(work_dir: Path) -> Iterator[bool]:
    """Claim a folder for this process; False where another one works in it."""
    import fcntl  # of Unix, as are the machines that this runs on

    work_dir.mkdir(parents=True, exist_ok=True)
    with open(work_dir / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def next_runs() -> Iterator[Run]:
    """Yield what has no result, as long as there is something; reads results anew."""
    for entry in entries():
        for trial in entry.trials():
            if trial.name not in read_results(RESULTS):
                yield trial
        rate = chosen_rate(read_results(RESULTS), entry)
        if rate is not None and entry.run(rate).name not in read_results(RESULTS):
            yield entry.run(rate)


def run_all(options: argparse.Namespace) -> int:
    """Do what is not done; return the number of runs that failed."""
    from data import prepare
    from training import train_and_test

    sources = {name: getattr(options, name) for name in PREPARATION}
    folders = {name: options.work_dir.resolve() / "data" / name for name in sources}
    for name, source in sources.items():
        if source is not None:
            prepare(name, source, folders[name])
    failed = set()
    for run in next_runs():
        if run in failed:
            continue
        if sources[run.data] is None:
            print(f"{run.name}: skipped, --{run.data} is not given", flush=True)
            continue
        work_dir = options.work_dir / "runs" / run.name
        with claimed(work_dir) as mine:
            if not mine or run.name in read_results(RESULTS):
                continue
            print(f"{run.name}: started", flush=True)
            try:
                result = train_and_test(run, folders[run.data], work_dir)
            except Exception:
                # The others do not depend on it, and a later call tries it again.
                failed.add(run)
                traceback.print_exc()
                continue
            write_result(RESULTS, result, run.name)
    return len(failed)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add = commands.add_parser("run", help="do what is not done").add_argument
    for name in PREPARATION:
        add(f"--{name}", type=Path, metavar="FOLDER", help=f"images of {name}")
    add("--work-dir", type=Path, default=WORK_DIR, help="(default: %(default)s)")
    commands.add_parser("report", help="write docs/results.md")
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            return min(1, run_all(options))
        from report import write_page

        write_page(RESULTS, ROOT / "docs")
    except (FileNotFoundError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
