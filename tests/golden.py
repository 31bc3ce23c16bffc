"""Numbers that the papers' released code computed, and how closely to meet them.

Some files are copied to tests/data/golden, so that parity is always tested; the others
lie in the folder 'shared' beside a developer's clone.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.shared_data import shared

COPIES = Path(__file__).parent / "data" / "golden"
# In float64 the released results differ from their float32 ones by up to 6e-6 at
# magnitudes up to 11, and by 2.5e-6 of a file's largest gradient.
OUTPUT_TOLERANCE = dict(atol=2e-5, rtol=1e-5)
GRADIENT_TOLERANCE = 1e-5
GRADIENT_TOLERANCE_BEFORE_BATCH_NORM = 1e-4


@dataclass
class Golden:
    """One file; the sections are described in the golden README, section 1."""

    name: str
    config: dict[str, Any]
    state: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    cotangents: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    middle: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    # By their whole keys: what few files have, such as targets.
    others: dict[str, Tensor] = field(default_factory=dict)

    def check_outputs(self, found: dict[str, Tensor]) -> None:
        """Compare results with the released ones, by name."""
        for name, tensor in found.items():
            torch.testing.assert_close(
                tensor,
                self.outputs[name],
                **OUTPUT_TOLERANCE,
                msg=lambda text, name=name: f"{self.name} {name}: {text}",
            )

    def backward(self, outputs: dict[str, Tensor]) -> None:
        """Backpropagate the cotangent-weighted sum of all of the file's outputs."""
        assert set(outputs) == set(self.cotangents)
        sum((outputs[k] * self.cotangents[k]).sum() for k in outputs).backward()

    def check_gradients(self, found: dict[str, Tensor | None]) -> None:
        """Compare gradients with the released ones, by the released names."""
        assert set(found) >= set(self.gradients), set(self.gradients) - set(found)
        largest = max(g.abs().max().item() for g in self.gradients.values())
        share = (
            GRADIENT_TOLERANCE_BEFORE_BATCH_NORM
            if self.name.endswith("_train")
            else GRADIENT_TOLERANCE
        )
        for name, expected in self.gradients.items():
            gradient = found[name]
            assert gradient is not None, f"no gradient for {name}"
            error = (gradient - expected).abs().max().item()
            assert error <= share * largest, f"{self.name} {name}: {error} of {largest}"


SECTIONS = {
    "state": "state",
    "in": "inputs",
    "out": "outputs",
    "cotangent": "cotangents",
    "grad": "gradients",
    "mid": "middle",
    "after": "after",
}


def golden(name: str) -> Golden:
    """Read a file by its name without the ending, or skip the test with the reason.

    Inputs are leaves that record gradients, those of RoIs aside.
    """
    path = COPIES / f"{name}.npz"
    if not path.exists():
        path = shared(f"golden/{name}.npz")
    with np.load(path) as arrays:
        config = (
            json.loads(str(arrays["config_json"])) if "config_json" in arrays else {}
        )
        case = Golden(name, config)
        for key in arrays.files:
            section, _, rest = key.partition("/")
            if key == "config_json":
                continue
            array = torch.from_numpy(np.array(arrays[key]))
            if section in SECTIONS:
                getattr(case, SECTIONS[section])[rest] = array
            else:
                case.others[key] = array
    for key, tensor in case.inputs.items():
        if tensor.is_floating_point() and key != "rois":
            tensor.requires_grad_()
    return case


def every_file(*names: str):
    """Parametrise a test over golden files."""
    return pytest.mark.parametrize("name", names)
