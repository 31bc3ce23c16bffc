"""Write the tables of docs/model_zoo.md, or check that they are up to date.

Parameters and multiply-adds of every shipped config are counted anew, without data and
weights: about a minute. AP are the papers', from the tables of `reproduce`. The exit
status is 0, 1 if --check finds the page out of date and 2 if it cannot be written.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from fpn_necks.costs import count_costs
from fpn_necks.costs.tables import markdown_rows
from fpn_necks.io import write_text
from fpn_necks.reproduction import Paper, Row, Table, load_papers
from fpn_necks.shipped_configs import config_path, configs_folder, list_configs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "model_zoo.md"
BEGIN = "<!-- tables: written by tools/make_model_zoo.py -->"
END = "<!-- end of the tables -->"
RECIPES = ("reproduction", "simple")
HEADER = (
    "config",
    "recipe",
    "backbone",
    "epochs",
    "parameters (M)",
    "multiply-adds (G)",
    "the paper's AP, quoted",
)

_CITY_PERSONS_QUARTER = (256, 512)  # images of Tiny CityPersons are never resized
USUAL_SIZE = (800, 1344)  # (height, width) of COCO, padded
_YOLO_SIZE = (416, 416)  # the ASFF paper has it, beside the 608 of the config
_COCO_IMAGE = (480, 640)  # the most frequent size, where a config scales by a factor
_PADDING = 32  # batches are padded to multiples of it, so are the sizes counted at
_HEADLINES = ("AP", "mask_AP", "AP50_tiny", "MR50_tiny")
_FALLBACKS = ("AP50", "AP50_all")


def describe_backbone(backbone: Mapping[str, Any]) -> str:
    """Return the usual name of a backbone's config, such as ``ResNet-50 (caffe)``.

    Raises:
        ValueError: If its type is unknown here.
    """
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
    if "max_iters" in loop:
        length = f"{loop.max_iters}s"
    else:
        repeats = dataset.times if dataset.type == "RepeatDataset" else 1
        length = str(loop.max_epochs * repeats)
    return f"{length}x{config.auto_scale_lr.base_batch_size}"


def read_recipes(metafile: Path) -> dict[str, str]:
    """Read which configs are a ``reproduction`` and which ``simple``.

    Args:
        metafile: Of a method; the models' ``Recipe`` says it.

    Returns:
        The recipes by the configs' names.

    Raises:
        ValueError: If a model has none, or another one.
    """
    found = {}
    for model in yaml.safe_load(metafile.read_text(encoding="utf-8"))["Models"]:
        name, recipe = model["Name"], model["Metadata"].get("Recipe")
        if recipe not in RECIPES:
            raise ValueError(
                f"{metafile}: the Recipe of {name} must be one of {RECIPES}, "
                f"got {recipe!r}"
            )
        found[name] = recipe
    return found


def is_trained_by(row: Row, name: str, config: Config) -> bool:
    """Return whether a config trains a row of a table as it is.

    Args:
        row: The row.
        name: ``folder/name`` of the config, without ``.py``.
        config: The config; options of the row must be in it already.
    """
    if row.config != name:
        return False
    return all(_plain(config, key) == value for key, value in row.options.items())


def _plain(config: Any, key: str) -> Any:
    """Return the value of a dotted key as YAML would have it, None if there is none."""
    for part in key.split("."):
        if isinstance(config, list | tuple):
            in_range = part.isdecimal() and int(part) < len(config)
            config = config[int(part)] if in_range else None
        elif isinstance(config, Mapping | Config):
            config = config.get(part)
        else:
            return None
    return list(config) if isinstance(config, tuple) else config


def quote(table: Table, row: Row) -> str | None:
    """Return a row's main numbers with their names; None if it has none."""
    for names in (_HEADLINES, _FALLBACKS):
        parts = []
        for metric in table.metrics:
            value = row.values[metric.name]
            if metric.name not in names or (
                value is None and metric.name not in row.illegible
            ):
                continue
            label = metric.name.replace("mask_", "")
            if metric.log and "segm" in metric.log:
                label = f"mask {label}"
            number = "illegible" if value is None else str(value)
            parts.append(f"{label} {number}")
        if parts:
            where = " on test-dev" if table.dataset == "coco-test-dev" else ""
            return f"{', '.join(parts)}{where}"
    return None


def quotes(name: str, config: Config, papers: Sequence[Paper]) -> str:
    """Return what the papers printed for the training of a config.

    Args:
        name: ``folder/name`` of the config, without ``.py``.
        config: The config.
        papers: The papers' tables.
    """
    numbers: dict[str, list[str]] = {}
    starts, with_options = [], []
    for table in (table for paper in papers for table in paper.tables):
        for row in table.rows:
            before = row.pretraining
            if before is not None and before.config == name and not before.options:
                starts.append(table.id)
            if not is_trained_by(row, name, config):
                with_options += [table.id] * (row.config == name)
                continue
            text = quote(table, row)
            if text is not None:
                numbers.setdefault(text, []).append(table.id)
    cells = [f"{text} ({_joined(tables)})" for text, tables in numbers.items()]
    if starts:
        cells.append(f"none: pre-training for {_joined(starts)}")
    if not cells and with_options:
        cells.append(f"with options: {_joined(with_options)}")
    return "; ".join(cells) or "none"


def _joined(tables: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(tables))


def make_row(name: str, recipe: str, papers: Sequence[Paper]) -> tuple[str, ...]:
    """Make a config's row, whose columns are ``HEADER``.

    Args:
        name: Of a shipped config, ``folder/name.py``.
        recipe: One of ``RECIPES``.
        papers: The papers' tables.

    Raises:
        ValueError: If the config's backbone has no name here.
        TypeError: If its costs cannot be counted.
    """
    config = Config.fromfile(config_path(name))
    cost = count_costs(config, image_sizes(config))
    parameters = f"{cost.parameters / 1e6:.2f}"
    if cost.training_parameters:
        parameters += f" (+{cost.training_parameters / 1e6:.2f})"
    multiply_adds = [
        f"{count / 1e9:.1f}"
        if size == USUAL_SIZE
        else f"{count / 1e9:.1f} at {size[0]}x{size[1]}"
        for size, count in cost.multiply_adds.items()
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


def make_tables(
    papers: Sequence[Paper], say: Callable[[str], None] = lambda line: None
) -> str:
    """Write a Markdown table per folder of configs.

    Args:
        papers: The papers' tables.
        say: Gets a line per folder.

    Raises:
        ValueError: As ``make_row`` and ``read_recipes``.
    """
    names = list_configs()
    blocks = []
    for folder in sorted({name.split("/")[0] for name in names}):
        here = [name for name in names if name.startswith(f"{folder}/")]
        say(f"{folder}: {len(here)} configs")
        recipes = read_recipes(configs_folder() / folder / "metafile.yml")
        readme = (configs_folder() / folder / "README.md").read_text(encoding="utf-8")
        title = readme.splitlines()[0].lstrip("# ")
        lines = [make_row(name, recipes[Path(name).stem], papers) for name in here]
        block = [f"## [{title}](methods/{folder}.md)", ""]
        block += markdown_rows(HEADER, lines)
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def image_sizes(config: Config) -> list[tuple[int, int]]:
    """Return the sizes of an image or tile that a config tests on, padded to 32 pixels.

    A YOLOv3 is counted at two sizes.

    Raises:
        ValueError: If the config does not say its size.
    """
    dataset = config.test_dataloader.dataset
    if dataset.get("tiles"):
        width, height = dataset.tiles.size
        return [(height, width)]
    resizes = [step for step in dataset.pipeline if step.type == "Resize"]
    if resizes and resizes[0].get("scale"):
        longer, shorter = max(resizes[0].scale), min(resizes[0].scale)
        size = (_padded(shorter), _padded(longer))
        is_yolo = config.model.type == "YOLOV3"
        return [size, _YOLO_SIZE] if is_yolo else [size]
    if "citypersons" in dataset.data_root:
        return [_CITY_PERSONS_QUARTER]
    if resizes and "coco" in dataset.data_root:
        height, width = _COCO_IMAGE
        factor = resizes[0].scale_factor
        return [(_padded(height * factor), _padded(width * factor))]
    raise ValueError(f"no test size in {config.filename}")


def _padded(pixels: float) -> int:
    return math.ceil(pixels / _PADDING) * _PADDING


def replace_tables(page: str, tables: str) -> str:
    """Return a page with new tables between its markers.

    Raises:
        ValueError: If the page has not exactly one marker of each kind, in order.
    """
    parts = re.fullmatch(
        f"(.*{re.escape(BEGIN)}\n).*({re.escape(END)}.*)", page, re.DOTALL
    )
    if parts is None or page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page needs one line '{BEGIN}' and one '{END}' below it")
    return f"{parts[1]}\n{tables}\n\n{parts[2]}"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, only compare"
    )
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="(default: docs/model_zoo.md)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse_arguments(arguments)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    try:
        old = options.page.read_text(encoding="utf-8")
        replace_tables(old, "")  # a page without markers is found before the work
        tables = make_tables(load_papers(), lambda line: print(line, file=sys.stderr))
        new = replace_tables(old, tables)
        if options.check:
            up_to_date = new == old
            state = "up to date" if up_to_date else "out of date: run this without"
            print(f"{options.page} is {state}{'' if up_to_date else ' --check'}")
            return 0 if up_to_date else 1
        write_text(options.page, new)
    except (OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
