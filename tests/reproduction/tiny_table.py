"""A table of two rows that train in seconds, beside rows that nobody trains."""

from __future__ import annotations

import os
import runpy
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from mmdet.visualization import DetLocalVisualizer

from fpn_necks.reproduction import Table, find_table
from tests.tiny_sets import use_coco_set

TEXT = """
paper: Tiny
title: A table for tests
text: tiny.txt
tables:
  - id: tiny-table-1
    title: FPN and S-α FPN in small
    dataset: coco-val2017
    note: all of it in small
    metrics:
      - {name: AP, unit: percent, log: coco/bbox_mAP}
      - {name: AP50, unit: percent, log: coco/bbox_mAP_50}
      - {name: speed, unit: milliseconds, log: null}
    rows:
      - name: FPN
        detector: RetinaNet
        backbone: ResNet-50
        schedule: 1x
        values: {AP: 36.5, AP50: 55.4, speed: 20.0}
        config: mmdet::retinanet/retinanet_r50_fpn_1x_coco
      - name: "S-α, α = 0.5"
        detector: RetinaNet
        backbone: ResNet-50
        schedule: 1x
        values: {AP: 37.5, AP50: null, speed: "-"}
        illegible: [AP50]
        config: s_alpha_fpn/retinanet_r50_s-alpha-fpn_1x_coco
        options: {model.neck.fusion_factor: 0.5}
        note: one factor for all connections
      - name: another system
        detector: null
        backbone: null
        schedule: null
        values: {AP: 40.0, AP50: 60.0, speed: "-"}
        quoted: from its own paper
      - name: "FPN | distilled"
        detector: RetinaNet
        backbone: ResNet-50
        schedule: 1x
        values: {AP: 38.0, AP50: 57.0, speed: "-"}
        reason: distillation is not in this library
"""

SMALL: dict[str, Any] = {
    "model.backbone.init_cfg": None,
    "model.backbone.depth": 18,
    "model.backbone.base_channels": 8,
    "model.neck.in_channels": [8, 16, 32, 64],
    "model.neck.out_channels": 16,
    "model.bbox_head.in_channels": 16,
    "model.bbox_head.feat_channels": 16,
    "model.bbox_head.stacked_convs": 1,
    "model.bbox_head.num_classes": 2,
    "model.test_cfg.score_thr": 0.0,
    "train_dataloader.dataset.pipeline.2.scale": (96, 64),
    "val_dataloader.dataset.pipeline.1.scale": (96, 64),
    "train_cfg.max_epochs": 2,
    "default_hooks.logger.interval": 1,
}


def tables_folder(folder: Path) -> Path:
    """Write the table into a folder of its own; return the folder."""
    tables = folder / "tables"
    tables.mkdir()
    (tables / "tiny.yaml").write_text(TEXT, encoding="utf-8")
    return tables


def tiny_table(folder: Path) -> Table:
    return find_table("tiny-table-1", tables_folder(folder))


def small_options(data: Path) -> dict[str, Any]:
    """Return the options that let the rows train on a tiny set for two epochs."""
    return {**SMALL, **use_coco_set(data)}


def written(value: object) -> str:
    """Return a value as it is written behind --cfg-options."""
    if isinstance(value, tuple | list):
        ends = "()" if isinstance(value, tuple) else "[]"
        return ends[0] + ",".join(map(written, value)) + ends[1]
    return str(value)


def in_this_process(command: Sequence[str], output: Path) -> int:
    """Do what the command of a run does, without loading torch and mmdet once more."""
    script, *arguments = command[2:]  # behind python -u
    # mmengine keeps visualizers, with their folders, by name as long as Python runs.
    DetLocalVisualizer._instance_dict.clear()
    with (
        output.open("a", encoding="utf-8") as file,
        redirect_stdout(file),
        mock.patch("sys.argv", [script, *arguments]),
        mock.patch.dict(os.environ),
    ):
        try:
            runpy.run_path(script, run_name="__main__")
        except Exception:
            traceback.print_exc(file=file)
            return 1
    return 0
