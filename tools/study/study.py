"""Compare seven necks on real TinyPerson images and on BCCD, from ImageNet weights.

    python tools/study/study.py list
    python tools/study/study.py run --tinyperson FOLDER --bccd FOLDER
    python tools/study/study.py report

`run` does what is not done: first the short trials that choose a neck's learning rate,
then its run. It continues an interrupted run from its last checkpoint; several
processes can share the work. `report` writes docs/results.md from docs/results/*.json.
Needs the extra `study` (`pip install -e ".[study]"`).
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipe import METRIC, Run, all_runs, config, recipe_hash, trials

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
WORK_DIR = ROOT / "work_dirs" / "study"
SIZE = (1280, 720)  # pixels, of most TinyPerson images before they were squeezed
MOST_PEOPLE = 200  # TinyPerson leaves denser images out


def prepare_tiny_person(source: Path, target: Path) -> None:
    """Bring the squeezed images back to 1280x720 and split the training set by video.

    Writes ``images/`` and ``annotations/{train,fit,choose,test}.json``; ``choose``
    holds the images of every fifth training video, ``fit`` those of the others.
    Images of over 200 people are left out.
    """
    import cv2

    if (target / "done").exists():
        return
    (target / "images").mkdir(parents=True, exist_ok=True)
    (target / "annotations").mkdir(exist_ok=True)
    for split, written in (("train", "train"), ("val", "test")):
        coco = json.loads((source / "annotations" / f"{split}.json").read_text())
        of_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in coco["annotations"]:
            of_image.setdefault(annotation["image_id"], []).append(annotation)
        kept = [
            image
            for image in coco["images"]
            if len(of_image.get(image["id"], [])) <= MOST_PEOPLE
        ]
        for image in kept:
            across, down = SIZE[0] / image["width"], SIZE[1] / image["height"]
            pixels = cv2.imread(str(source / split / image["file_name"]))
            pixels = cv2.resize(pixels, SIZE, interpolation=cv2.INTER_CUBIC)
            image["file_name"] = f"{split}_{image['file_name']}"
            file = target / "images" / image["file_name"]
            cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
            image["width"], image["height"] = SIZE
            for annotation in of_image.get(image["id"], []):
                x, y, width, height = annotation["bbox"]
                box = [x * across, y * down, width * across, height * down]
                annotation.update(bbox=box, area=box[2] * box[3])
        videos = sorted({video_of(image["file_name"]) for image in kept})
        parts = {written: videos}
        if split == "train":
            parts |= {"choose": videos[::5]}
            parts |= {"fit": [v for v in videos if v not in parts["choose"]]}
        for name, own in parts.items():
            images = [i for i in kept if video_of(i["file_name"]) in own]
            boxes = [a for i in images for a in of_image.get(i["id"], [])]
            content = dict(coco, images=images, annotations=boxes)
            file = target / "annotations" / f"{name}.json"
            file.write_text(json.dumps(content))
    (target / "done").touch()


def video_of(file_name: str) -> str:
    """Return the video that a prepared image is from, such as ``bb_V0002``."""
    found = re.match(r"[a-z]+_([a-z]+\d*(?:_[VP]\d+)?)", file_name)
    return found[1]


def result_of(run: Run) -> dict[str, Any] | None:
    """Return the result of a run, ``None`` if there is none."""
    file = RESULTS / f"{run.name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def chosen_rate(run: Run) -> float | None:
    """Return the rate of a run's best trial, ``None`` before all are done."""
    found = [result_of(trial) for trial in trials(run)]
    if None in found:
        return None
    best = max(found, key=lambda x: x["metrics"][METRIC[run.data]])
    return best["rate"]


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


def do(run: Run, rate: float, data_root: Path, work_dir: Path) -> None:
    """Train and test a run, and write its result."""
    import mmdet
    import mmengine
    import torch
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.runner import Runner

    import fpn_necks

    register_all_modules()
    settings = config(run, rate, data_root, work_dir)
    digest = recipe_hash(settings, data_root)
    runner = Runner.from_cfg(Config(settings))
    clock = work_dir / "seconds.json"
    spent = json.loads(clock.read_text()) if clock.exists() else 0.0
    started = time.process_time()
    try:
        runner.train()
    finally:
        spent += time.process_time() - started
        clock.write_text(json.dumps(spent))
    metrics = runner.test()
    neck = runner.model.neck
    factor = getattr(neck, "fusion_factor", None)
    values = getattr(factor, "values", None)
    result = dict(
        data=run.data,
        neck=run.neck,
        seed=run.seed,
        rate=rate,
        trial=run.rate is not None,
        metrics={key: float(value) for key, value in metrics.items()},
        alpha=None if values is None else [round(v, 4) for v in values.tolist()],
        **costs(runner.model),
        training_minutes=round(spent / 60, 1),
        recipe=digest,
        versions=dict(
            fpn_necks=fpn_necks.__version__,
            commit=commit(),
            torch=torch.__version__,
            mmdet=mmdet.__version__,
            mmengine=mmengine.__version__,
            machine=platform.machine(),
        ),
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    part = RESULTS / f".{run.name}.{os.getpid()}"
    part.write_text(json.dumps(result, indent=2) + "\n")
    part.replace(RESULTS / f"{run.name}.json")
    for file in work_dir.glob("*.pth"):
        file.unlink()


def costs(model: Any) -> dict[str, float]:
    """Return parameters (M) and multiply-adds (G) of testing a tile of 640x512."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tested = [model.backbone, model.neck, model.bbox_head]
    count = sum(p.numel() for module in tested for p in module.parameters())
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 512, 640), mode="tensor")
    return dict(
        parameters=round(count / 1e6, 3),
        multiply_adds=round(counter.get_total_flops() / 2e9, 3),
    )


def commit() -> str:
    """Return the commit of the clone, with a plus sign where files differ."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def run_all(options: argparse.Namespace) -> None:
    """Do what is not done, in order, and what it needs before."""
    folders = dict(tinyperson=options.work_dir / "data", bccd=options.bccd)
    if options.tinyperson:
        prepare_tiny_person(options.tinyperson, folders["tinyperson"])
    for wanted in all_runs():
        if not fnmatch.fnmatch(wanted.name, options.only):
            continue
        if getattr(options, wanted.data) is None:
            print(f"{wanted.name}: skipped, --{wanted.data} is not given")
            continue
        for run in (*trials(wanted), wanted):
            rate = run.rate or chosen_rate(run)
            if result_of(run) or rate is None:
                continue
            work_dir = options.work_dir / "runs" / run.name
            with claimed(work_dir) as mine:
                if mine and not result_of(run):
                    print(f"{run.name}: learning rate {rate:g}", flush=True)
                    do(run, rate, folders[run.data].resolve(), work_dir)


def list_all(options: argparse.Namespace) -> None:
    """Print all runs and what they gave."""
    seen = dict.fromkeys(x for run in all_runs() for x in (*trials(run), run))
    for run in seen:
        result = result_of(run)
        value = f"{result['metrics'][METRIC[run.data]]:.4f}" if result else "not run"
        print(f"{run.name:40} {value}")


def write_report(options: argparse.Namespace) -> None:
    """Write docs/results.md and its picture."""
    from report import write_page

    print(write_page(RESULTS, ROOT / "docs" / "results.md"))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="do what is not done")
    add = run.add_argument
    add("--tinyperson", type=Path, metavar="FOLDER", help="the squeezed images")
    add("--bccd", type=Path, metavar="FOLDER", help="BCCD in COCO format")
    add("--only", default="*", metavar="PATTERN", help="such as 'tinyperson_*_seed0'")
    add("--work-dir", type=Path, default=WORK_DIR, help="(default: %(default)s)")
    run.set_defaults(call=run_all)
    commands.add_parser("list", help="print all runs").set_defaults(call=list_all)
    report = commands.add_parser("report", help="write docs/results.md")
    report.set_defaults(call=write_report)
    options = parser.parse_args()
    try:
        options.call(options)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
