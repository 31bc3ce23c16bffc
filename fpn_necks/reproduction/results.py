"""The files of a run's folder, written so that no reader ever sees half a file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..io import write_text
from .planning import RESULT_FILE

__all__ = ["plain", "read_progress", "read_results", "write_json", "write_text"]


def write_json(path: Path, content: Any) -> None:
    """Write json; numbers that are not finite become null."""
    write_text(path, json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Turn numpy's numbers into Python's, and those that are not finite into None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read the results of a row, one per seed, in the order of the seeds.

    Args:
        folder: A row's folder, with a folder per seed.

    Raises:
        ValueError: If a result file is no json object.
    """
    found = []
    for file in sorted(folder.glob(f"seed*/{RESULT_FILE}")):
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
        except (RecursionError, ValueError) as error:
            raise ValueError(f"{file} is no json: {error}") from error
        if not isinstance(result, dict) or "metrics" not in result:
            raise ValueError(f"{file} is no result of a run")
        found.append(result)
    return sorted(found, key=lambda result: result["seed"])


def read_progress(folder: Path) -> str | None:
    """Say how far an unfinished run got, by mmengine's log; None if it has none.

    Args:
        folder: A run's folder.
    """
    # mmengine names the folder of a start after its time: the last name is the newest.
    for file in sorted(folder.glob("*/vis_data/scalars.json"), reverse=True):
        for line in reversed(file.read_text(encoding="utf-8").splitlines()):
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that was being written when the run ended
            if isinstance(record, dict) and "iter" in record:
                step = record.get("step", record["iter"])
                epoch = f"epoch {record['epoch']}, " if "epoch" in record else ""
                return f"{epoch}iteration {step}"
    return None
