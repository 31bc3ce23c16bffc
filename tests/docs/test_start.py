"""docs/start.md: its commands in its order, on a drawn set, with a small detector."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_sets import write_coco_set

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "start.md").read_text()
# What makes the training one of seconds; the page's options stay as they are.
SMALL = (
    "model.backbone.depth=18 model.backbone.init_cfg=None "
    "model.neck.in_channels=64,128,256,512 train_cfg.max_epochs=1 "
    "train_dataloader.dataset.pipeline.2.scale=(128,96) "
    "val_dataloader.dataset.pipeline.1.scale=(128,96) "
    "test_dataloader.dataset.pipeline.1.scale=(128,96) "
    "train_dataloader.num_workers=0 train_dataloader.persistent_workers=False "
    "val_dataloader.num_workers=0 val_dataloader.persistent_workers=False "
    "test_dataloader.num_workers=0 test_dataloader.persistent_workers=False "
    "default_hooks.logger.interval=1 model.test_cfg.score_thr=0.0 "
    "train_dataloader.dataset.serialize_data=False "
).split()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", section(title), re.DOTALL)
    return [
        line for block in blocks for line in block.replace("\\\n", " ").splitlines()
    ]


def write_readers_data(folder: Path) -> None:
    for split in ("train", "val"):
        written = write_coco_set(folder, size=(128, 96), seed=len(split))
        content = json.loads(written.read_text())
        for category, name in zip(content["categories"], ("cat", "dog"), strict=True):
            category["name"] = name
        (folder / f"{split}.json").write_text(json.dumps(content))
        written.unlink()


def run(script: str, folder: Path) -> str:
    """Run lines of a shell with this environment's Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-4000:]
    return output


@pytest.mark.long
def test_the_first_training(tmp_path: Path) -> None:
    write_readers_data(tmp_path / "data" / "my_set")
    tools, config, train = commands("A first training on your data")
    options = " ".join(f"'{option}'" for option in SMALL)
    log = run("\n".join([tools, config, f"{train} {options}"]), tmp_path)
    # The lines that the page promises, in its order: what stands between dots.
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    place = 0
    for line in shown.splitlines():
        for part in filter(None, map(str.strip, re.split(r"\.\.\.|\[ 50/", line))):
            words = r"\s+".join(map(re.escape, part.split()))
            found = re.compile(words).search(log, place)
            assert found, f"{part!r} is not in the log after character {place}"
            place = found.end()

    test, visualize = commands("Test, and look at it")
    tested = run(f"{tools}\n{test.replace('epoch_12', 'epoch_1')}", tmp_path)
    lines = re.findall(r"Average (?:Precision|Recall)", tested)
    assert len(lines) == 12
    (pictures,) = (tmp_path / "work_dirs" / "first_test").glob("*/pictures")
    assert len(list(pictures.iterdir())) == 4

    image = next((tmp_path / "data" / "my_set" / "images").iterdir())
    (tmp_path / "street.jpg").write_bytes(image.read_bytes())
    run(visualize, tmp_path)
    assert (tmp_path / "pictures" / "street_detections.png").is_file()
