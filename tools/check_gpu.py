"""Check all methods on a GPU in one call: right numbers first, then what they cost.

Parity with the processor and with the authors' released numbers, gradients, mixed
precision in fp16 and bf16, torch.compile, and costs of necks and whole detectors. A
failing check stops no other. No data and no weights are needed; docs/gpu.md says what
is asserted. Example, on a machine with a GPU, after `bash tools/setup.sh`:

  python tools/check_gpu.py --write-page docs/gpu.md

The exit status is 0 if nothing failed, 1 if a check failed or no check was run, and 2
if the command line is wrong.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from mmdet.utils import register_all_modules

import fpn_necks  # noqa: F401  registers what configs may name
from fpn_necks.gpu_checks.environment import gather_facts
from fpn_necks.gpu_checks.outcomes import FAILED, NOT_RUN, Outcome
from fpn_necks.gpu_checks.page import check_page, write_page
from fpn_necks.gpu_checks.planning import CHECKS, plan
from fpn_necks.gpu_checks.report import markdown
from fpn_necks.gpu_checks.running import (
    LINES,
    TASK,
    append_line,
    run_in_processes,
)
from fpn_necks.gpu_checks.settings import Settings
from fpn_necks.gpu_checks.working import BROKEN, work
from fpn_necks.reproduction.results import write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "data" / "golden"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: an argument is wrong; what argparse finds wrong ends the program.
        OSError: the page or the folder cannot be read.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"checks ({', '.join(CHECKS)}), or parts of the names of what is checked",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small widths and images: a first look"
    )
    parser.add_argument(
        "--budget-minutes",
        type=float,
        default=9.0,
        metavar="MINUTES",
        help="after so many no further check begins; default: 9",
    )
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="FOLDER",
        help="of the authors' numbers; default: tests/data/golden, where it is there",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="for report.md, report.json and log.txt; must be new or empty; default: "
        "work_dirs/gpu_check-<date and time>",
    )
    parser.add_argument(
        "--write-page", type=Path, metavar="FILE", help="page that gets the results"
    )
    parser.add_argument("--list", action="store_true", help="name all checks and end")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker is None:
        _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    if not 0 < options.budget_minutes < float("inf"):
        raise ValueError(
            f"--budget-minutes must be above 0, got {options.budget_minutes}"
        )
    try:
        device = torch.device(options.device)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {options.device}")
    if device.type == "cuda" and not options.list:
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(
                f"--device {options.device}: torch {torch.__version__} sees no such "
                "GPU; `fpn-necks doctor` tells why, --device cpu runs "
                "without one"
            )
    if options.golden is None:
        options.golden = GOLDEN if GOLDEN.is_dir() else None
    elif not options.golden.is_dir():
        raise ValueError(f"--golden {options.golden} is no folder")
    if options.out is not None and options.out.exists():
        if not options.out.is_dir() or any(options.out.iterdir()):
            raise ValueError(f"--out {options.out} exists and is no empty folder")
    if options.write_page is not None:
        check_page(options.write_page)  # before the work


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        options = parse_arguments(arguments)
        _be_quiet()
        register_all_modules(init_default_scope=True)
        if options.worker is not None:
            return run_worker(options.worker)
        settings = Settings(
            device=options.device,
            quick=options.quick,
            only=tuple(options.only),
            golden=None if options.golden is None else str(options.golden.resolve()),
            minutes=options.budget_minutes,
        )
        units = plan(settings)
    except (ValueError, LookupError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if options.list:
        for unit in units:
            print(f"{unit.check}: {unit.subject}")
        return 0
    return _run(options, settings, [unit.key for unit in units], arguments)


def _run(
    options: argparse.Namespace,
    settings: Settings,
    keys: list[tuple[str, str]],
    arguments: Sequence[str] | None,
) -> int:
    now = datetime.datetime.now().astimezone()
    folder = options.out or ROOT / "work_dirs" / f"gpu_check-{now:%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    words = sys.argv[1:] if arguments is None else list(arguments)
    setting = dict(
        date=f"{now:%Y-%m-%d %H:%M}",
        command=shlex.join(["python", "tools/check_gpu.py", *words]),
        minutes=settings.minutes,
        scale=asdict(settings.scale),
    )
    facts = gather_facts(settings.torch_device)
    told: set[tuple[str, str]] = set()

    def report(outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            key = (outcome.check, outcome.subject)
            if key not in told:
                told.add(key)
                if outcome.state != NOT_RUN:
                    line = f"{outcome.check}, {outcome.subject}: {outcome.state}"
                    detail = f": {outcome.detail}" if outcome.detail else ""
                    print(f"{line} ({outcome.seconds:.1f} s){detail}", flush=True)
        # Whenever the run is ended from outside, there is a report.
        write_json(
            folder / "report.json",
            dict(
                setting=setting,
                facts=facts,
                outcomes=[outcome.to_json() for outcome in outcomes],
            ),
        )
        write_text(folder / "report.md", markdown(facts, setting, outcomes))

    outcomes = run_in_processes(
        keys,
        [sys.executable, __file__, "--worker", str(folder)],
        folder,
        dict(settings=settings.to_json()),
        settings.minutes,
        report,
    )
    report(outcomes)
    text = (folder / "report.md").read_text(encoding="utf-8")
    print(f"\n{text}\nwritten: {folder / 'report.md'}")
    if options.write_page is not None:
        write_page(options.write_page, text)
        print(f"written: {options.write_page}")
    failed = any(outcome.state == FAILED for outcome in outcomes)
    nothing = all(outcome.state == NOT_RUN for outcome in outcomes)
    return 1 if failed or nothing else 0


def run_worker(folder: Path) -> int:
    """Do the checks of a task; see ``run_in_processes``."""
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    settings = Settings.from_json(task["settings"])
    todo = {tuple(key) for key in task["todo"]}
    units = [unit for unit in plan(settings) if unit.key in todo]
    computes = work(
        units,
        settings.torch_device,
        task["deadline"],
        settings.minutes,
        lambda line: append_line(folder / LINES, dict(line)),
        task["spent"],
    )
    return 0 if computes else BROKEN


def _be_quiet() -> None:
    # Of pkg_resources, and of mmdet's own calls of torch.
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    # mmengine logs every parameter that it initialises.
    logging.disable(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
