"""The golden TinyPerson cases; copies of the small ones are packed beside the tests."""

import gzip
import json
from typing import Any

import numpy as np

from tests.golden import COPIES
from tests.shared_data import shared


def golden_json(name: str) -> Any:
    """Read a file by its name without the ending, or skip the test with the reason."""
    packed = COPIES / f"{name}.json.gz"
    if packed.exists():
        return json.loads(gzip.decompress(packed.read_bytes()))
    return json.loads(shared(f"golden/{name}.json").read_text())


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    path = COPIES / f"{name}.npz"
    with np.load(path if path.exists() else shared(f"golden/{name}.npz")) as arrays:
        return {key: arrays[key] for key in arrays.files}


def expected_results(row: dict[str, Any], metric: str) -> dict[str, float]:
    """Name one golden table as evaluate_tiny_person does."""
    return {
        f"{metric.upper()}{100 * float(threshold):g}_{bucket.lower()}": value
        for threshold, buckets in row[metric.upper()].items()
        for bucket, value in buckets.items()
    }
