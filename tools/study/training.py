"""Train and test one run of the study."""

from __future__ import annotations

import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import mmdet
import mmengine
import modules  # noqa: F401  registers the backbone and the hook
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import get_git_hash
from recipe import METRICS, PREPARATION, Run, config, recipe_hash
from torch.utils.flop_counter import FlopCounterMode

import fpn_necks


def train_and_test(run: Run, data_root: Path, work_dir: Path) -> dict[str, Any]:
    """Train and test a run and return its result; a later call continues it.

    A run whose loss or result is no finite number has ``diverged`` set and no metrics.
    """
    register_all_modules()
    runner = Runner.from_cfg(Config(config(run, data_root, work_dir)))
    clock = work_dir / "seconds.json"
    earlier = json.loads(clock.read_text()) if clock.exists() else 0.0
    seconds, metrics, reason = earlier, None, None
    started = time.process_time()
    try:
        runner.train()
    except FloatingPointError as error:
        reason = str(error)
    finally:
        seconds += time.process_time() - started
        clock.write_text(json.dumps(seconds))
    if reason is None:
        started = time.process_time()
        metrics = {k: round(float(v), 5) for k, v in runner.test().items()}
        if not math.isfinite(metrics[METRICS[run.data]]):
            metrics, reason = None, "the result is not finite"
    for file in work_dir.glob("*.pth"):
        file.unlink()
    factor = getattr(runner.model.neck, "fusion_factor", None)
    return dict(
        data=run.data,
        neck=run.neck,
        rate=run.rate,
        seed=run.seed,
        trial=run.trial,
        recipe=recipe_hash(run),
        diverged=reason,
        metrics=metrics,
        alpha=None if factor is None else [round(x, 4) for x in factor.alpha.tolist()],
        **costs(runner.model, PREPARATION[run.data]["test_size"]),
        training_minutes=round(seconds / 60, 2),
        test_minutes=round((time.process_time() - started) / 60, 2),
        resumed=earlier > 0,
        versions=dict(
            fpn_necks=fpn_necks.__version__,
            commit=get_git_hash(digits=7),
            torch=torch.__version__,
            mmdet=mmdet.__version__,
            mmengine=mmengine.__version__,
            machine=f"{platform.machine()}, {torch.get_num_threads()} thread",
        ),
    )


def costs(model: Any, size: tuple[int, int]) -> dict[str, float]:
    """Return what testing an image of a size (width, height) needs.

    That is the parameters (M), and the multiply-adds (G) of convolutions and matrix
    products; what only the training has is not counted.
    """
    tested = [model.backbone, model.neck, model.bbox_head]
    count = sum(p.numel() for module in tested for p in module.parameters())
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size[1], size[0]), mode="tensor")
    return dict(
        parameters=round(count / 1e6, 3),
        multiply_adds=round(counter.get_total_flops() / 2e9, 3),
    )
