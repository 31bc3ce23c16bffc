"""Write the tables of docs/model_zoo.md.

Parameters and multiply-adds of every shipped config are counted anew, without data and
weights: about a minute. AP are the papers', from the tables of `reproduce`.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from detector_costs import count_costs
from mmengine.config import Config

from fpn_necks.config_tools import value_at
from fpn_necks.costs.tables import markdown_rows
from fpn_necks.reproduction import Paper, Row, Table, load_papers
from fpn_necks.shipped_configs import config_path, configs_folder, list_configs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "model_zoo.md"
BEGIN = "<!-- tables: written by tools/make_model_zoo.py -->"
END = "<!-- end of the tables -->"
HEADER = (
    "config",
    "recipe",
    "backbone",
    "epochs",
    "parameters (M)",
    "multiply-adds (G)",
    "the paper's AP, quoted",
)

# Sizes are (height, width).
CITY_PERSONS_QUARTER = (256, 512)  # images of Tiny CityPersons are never resized
USUAL_SIZE = (800, 1344)  # of COCO, padded
YOLO_SIZE = (416, 416)  # the ASFF paper has it, beside the 608 of the config
COCO_IMAGE = (480, 640)  # the most frequent size, where a config scales by a factor
HEADLINES = (("AP", "mask_AP", "AP50_tiny", "MR50_tiny"), ("AP50", "AP50_all"))


def describe_backbone(backbone: Mapping[str, Any]) -> str:
    """Return the usual name of a backbone's config, such as ``ResNet-50 (caffe)``."""
    kind = backbone["type"]
    if kind == "Darknet":
        return f"DarkNet-{backbone['depth']}"
    if kind in ("CSPDarknet", "CSPNeXt"):
        sizes = {0.375: "tiny", 0.5: "s", 0.75: "m", 1.0: "l"}
        return f"{kind}-{sizes[backbone['widen_factor']]}"
    if kind == "SwinTransformer":
        names = {(96, (2, 2, 6, 2)): "Swin-T"}
        return names[backbone["embed_dims"], tuple(backbone["depths"])]
    if kind == "ResNeXt":
        groups, width = backbone["groups"], backbone["base_width"]
        return f"ResNeXt-{backbone['depth']}-{groups}x{width}d"
    if kind != "ResNet":
        raise ValueError(f"no name for the backbone {kind!r}")
    dilated = "-DC5" if backbone.get("dilations", (1,))[-1] > 1 else ""
    caffe = " (caffe)" if backbone.get("style") == "caffe" else ""
    return f"ResNet-{backbone['depth']}{dilated}{caffe}"


def describe_schedule(config: Config) -> str:
    """Return epochs and images per step, such as ``12x16``; or steps: ``45000sx32``."""
    loop, dataset = config.train_cfg, config.train_dataloader.dataset
    repeats = dataset.times if dataset.type == "RepeatDataset" else 1
    epochs = repeats * loop.get("max_epochs", 0)
    length = f"{loop.max_iters}s" if "max_iters" in loop else str(epochs)
    return f"{length}x{config.auto_scale_lr.base_batch_size}"


def image_sizes(config: Config) -> list[tuple[int, int]]:
    """Return the sizes of an image or tile that a config tests on, padded.

    A YOLOv3 is counted at two sizes.
    """
    dataset = config.test_dataloader.dataset
    if dataset.get("tiles"):
        width, height = dataset.tiles.size
        return [(height, width)]
    resize = next((step for step in dataset.pipeline if step.type == "Resize"), {})
    if resize.get("scale"):
        size = min(resize["scale"]), max(resize["scale"])
    elif "citypersons" in dataset.data_root:
        return [CITY_PERSONS_QUARTER]
    elif resize and "coco" in dataset.data_root:
        size = tuple(side * resize["scale_factor"] for side in COCO_IMAGE)
    else:
        raise ValueError(f"no test size in {config.filename}")
    height, width = (math.ceil(side / 32) * 32 for side in size)  # as batches are
    return [(height, width), *[YOLO_SIZE] * (config.model.type == "YOLOV3")]


def is_trained_by(row: Row, name: str, config: Config) -> bool:
    """Tell whether a config, ``folder/name``, trains a row with no change."""
    found = {key: value_at(config, key) for key in row.options}
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
    return row.config == name and plain == row.options


def quote(table: Table, row: Row) -> str | None:
    """Return a row's main numbers with their names; None if it has none."""
    where = " on test-dev" if table.dataset == "coco-test-dev" else ""
    for names in HEADLINES:
        parts = []
        for metric in table.metrics:
            is_lost = metric.name in row.illegible
            value = "illegible" if is_lost else row.values[metric.name]
            if metric.name in names and value is not None:
                mask = "mask " if "segm" in (metric.log or "") else ""
                parts.append(f"{mask}{metric.name.replace('mask_', '')} {value}")
        if parts:
            return f"{', '.join(parts)}{where}"
    return None


def quotes(name: str, config: Config, papers: Sequence[Paper]) -> str:
    """Return what the papers printed for the training of a config, ``folder/name``."""
    numbers: dict[str, list[str]] = {}
    for table in (table for paper in papers for table in paper.tables):
        for row in table.rows:
            before = row.pretraining
            if before is not None and before.config == name and not before.options:
                numbers.setdefault("none: pre-training for", []).append(table.id)
            if is_trained_by(row, name, config):
                if text := quote(table, row):
                    numbers.setdefault(text, []).append(table.id)
            elif row.config == name:
                numbers.setdefault("with options:", []).append(table.id)
    joined = {text: ", ".join(dict.fromkeys(ids)) for text, ids in numbers.items()}
    with_options, starts = (
        [f"{text} {joined.pop(text)}"] if text in joined else []
        for text in ("with options:", "none: pre-training for")
    )
    cells = [f"{text} ({tables})" for text, tables in joined.items()]
    return "; ".join([*cells, *starts] or with_options) or "none"


def make_row(name: str, recipe: str, papers: Sequence[Paper]) -> tuple[str, ...]:
    """Make the row of a shipped config, ``folder/name.py``; its columns: ``HEADER``."""
    config = Config.fromfile(config_path(name))
    tested, training_only, counts = count_costs(config, image_sizes(config))
    parameters = f"{tested / 1e6:.2f}"
    if training_only:
        parameters += f" (+{training_only / 1e6:.2f})"
    multiply_adds = [
        f"{count / 1e9:.1f}" + f" at {size[0]}x{size[1]}" * (size != USUAL_SIZE)
        for size, count in counts.items()
    ]
    return (
        f"[{Path(name).stem}](../configs/{name})",
        recipe,
        describe_backbone(config.model.backbone),
        describe_schedule(config),
        parameters,
        ", ".join(multiply_adds),
        quotes(name.removesuffix(".py"), config, papers),
    )


def read_recipes(folder: Path) -> dict[str, str]:
    """Read which configs are a ``reproduction`` and which ``simple``."""
    models = yaml.safe_load((folder / "metafile.yml").read_text("utf-8"))["Models"]
    return {model["Name"]: model["Metadata"]["Recipe"] for model in models}


def make_tables(papers: Sequence[Paper]) -> str:
    """Write a Markdown table per folder of configs."""
    blocks = []
    for method, names in groupby(list_configs(), lambda name: name.split("/")[0]):
        print(method, file=sys.stderr)
        folder = configs_folder() / method
        recipes = read_recipes(folder)
        title = (folder / "README.md").read_text("utf-8").splitlines()[0].lstrip("# ")
        rows = [make_row(name, recipes[Path(name).stem], papers) for name in names]
        block = [f"## [{title}](methods/{method}.md)", "", *markdown_rows(HEADER, rows)]
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def replace_tables(page: str, tables: str) -> str:
    """Return a page with new tables between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{behind}"


def main() -> None:
    """Write the page."""
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    page = replace_tables(PAGE.read_text("utf-8"), make_tables(load_papers()))
    PAGE.write_text(page, "utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
