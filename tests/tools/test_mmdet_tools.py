"""mmdet's own tools on a shipped config, from a foreign working directory."""

import os
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest

from tests.reproduction.tiny_table import in_this_process, written
from tests.tiny_sets import use_coco_set, write_coco_set

NAME = "retinanet_r50_s-alpha-fpn_1x_coco"
TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"
SMALL = {
    "model.backbone.depth": 18,
    "model.backbone.init_cfg": None,
    "model.neck.in_channels": [64, 128, 256, 512],
    "train_dataloader.dataset.pipeline.2.scale": (128, 96),
    "val_dataloader.dataset.pipeline.1.scale": (128, 96),
    "test_dataloader.dataset.pipeline.1.scale": (128, 96),
    "default_hooks.logger.interval": 1,
    "model.bbox_head.num_classes": 2,
    # Nothing is learned in two epochs: without a threshold there are boxes.
    "model.test_cfg.score_thr": 0.0,
}


def run(folder: Path, *command: object) -> str:
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,  # nothing may depend on the repository being the working directory
        capture_output=True,
        text=True,
        timeout=300,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-4000:]
    return output


def test_train_resume_test_and_infer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco_set(tmp_path / "set", size=(128, 96))
    options = [
        f"{key}={written(value)}"
        for key, value in {**SMALL, **use_coco_set(tmp_path / "set")}.items()
    ]
    config = run(tmp_path, "-m", "fpn_necks", "configs", NAME).strip()
    train = [TOOLS / "train.py", config, "--work-dir", "run", "--cfg-options", *options]
    first = run(tmp_path, *train, "train_cfg.max_epochs=1")
    assert "fusion factors set from the training set" in first
    monkeypatch.chdir(tmp_path)

    def run_here(*command: object) -> str:
        """Spare the imports of a new process; return output and log."""
        output = tmp_path / "output.txt"
        status = in_this_process([sys.executable, "-u", *map(str, command)], output)
        assert status == 0, output.read_text()
        log = max(tmp_path.rglob("*.log"), key=lambda path: path.stat().st_mtime)
        return output.read_text() + log.read_text()

    resumed = run_here(
        *train, "train_cfg.max_epochs=2", "resume=True", "load_from=None"
    )
    assert "fusion factors of the checkpoint are kept" in resumed
    assert "Epoch(train) [2]" in resumed and "Epoch(train) [1]" not in resumed
    checkpoint = tmp_path / "run" / "epoch_2.pth"
    tested = run_here(
        TOOLS / "test.py", config, checkpoint, "--work-dir", "test", "--cfg-options",
        *options,
    )  # fmt: skip
    assert "bbox_mAP" in tested
    (tmp_path / "infer.py").write_text(INFER)
    saved_config = next((tmp_path / "run").glob(f"{NAME}.py"))
    inferred = run_here("infer.py", saved_config, checkpoint, tmp_path / "set/images")
    assert "INFERENCER 4 DETECTOR 4" in inferred


INFER = """
import sys
from pathlib import Path

import fpn_necks
from mmdet.apis import DetInferencer, inference_detector, init_detector

config, checkpoint, images = sys.argv[1:]
results = DetInferencer(config, checkpoint, device="cpu")(images, no_save_vis=True)
model = init_detector(config, checkpoint, device="cpu")
alone = DetInferencer(weights=checkpoint, device="cpu")
assert type(alone.model.neck).__name__ == "SAlphaFPN"
single = [inference_detector(model, str(p)) for p in sorted(Path(images).iterdir())]
print("INFERENCER", len(results["predictions"]), "DETECTOR", len(single))
"""
