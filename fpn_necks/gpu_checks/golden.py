"""Numbers that the authors' released code computed, met on the device as well."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fpn_necks import released

from .numeric import at_most, full_float32
from .outcomes import CheckFailed

# Ten times what float32 on a processor is held to by the tests: adding in another order
# is all that a GPU does otherwise.
OUTPUT_LIMIT = 1e-4
GRADIENT_LIMIT = 1e-3
SMALLEST_SHARE = 1e-2
"""Gradients below this share of a file's largest one are compared with that."""
METHODS = {
    "asff_level": "asff",
    "drfpn_frcnn": "drfpn",
    "drfpn_retinanet": "drfpn",
    "drfpn_fcos": "drfpn",
    "augfpn_highfpn_bn": "highfpn",
    "augfpn_highfpn_frcnn": "highfpn",
    "augfpn_highfpn_retinanet": "highfpn-retinanet",
    "augfpn_highfpn_fcos": "highfpn-retinanet",
    "augfpn_softroi": "soft-roi",
}
"""How a file's name begins -> the released class it is of. Files of parts are left."""


@dataclass(frozen=True)
class GoldenFile:
    """One file: configuration, weights, inputs, outputs and gradients by section."""

    name: str
    method: str
    config: dict[str, Any]
    sections: dict[str, dict[str, Tensor]]

    def section(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of ``state``, ``in``, ``out``, ``cotangent`` or ``grad``.

        Raises:
            ValueError: the file has no such section.
        """
        if name not in self.sections:
            raise ValueError(f"{self.name} has no section '{name}'")
        return self.sections[name]


def method_of(name: str) -> str | None:
    """Return the released class that a file's stem is of; ``None`` for parts."""
    return next((m for start, m in METHODS.items() if name.startswith(start)), None)


def list_files(folder: Path) -> list[Path]:
    """Return the files of whole released classes in a folder, sorted."""
    return sorted(path for path in folder.glob("*.npz") if method_of(path.stem))


def read_file(path: Path) -> GoldenFile:
    """Read a file.

    Raises:
        ValueError: it is not of a released class.
    """
    method = method_of(path.stem)
    if method is None:
        raise ValueError(f"{path.name} is of no whole released class")
    sections: dict[str, dict[str, Tensor]] = {}
    with np.load(path) as arrays:
        config = json.loads(str(arrays["config_json"]))
        for key in arrays.files:
            section, _, rest = key.partition("/")
            if rest:
                tensor = torch.from_numpy(np.array(arrays[key]))
                sections.setdefault(section, {})[rest] = tensor
    return GoldenFile(path.stem, method, config, sections)


def check_file(path: Path, device: torch.device) -> dict[str, Any]:
    """Compare outputs and gradients on the device with the released ones.

    Raises:
        CheckFailed: an output is further off than ``OUTPUT_LIMIT`` of its largest
            value, or a gradient further than ``GRADIENT_LIMIT`` (in front of batch
            normalisation in training ten times that) of its own.
    """
    case = read_file(path)
    with full_float32():
        outputs, gradients = _run(case, device)
    numbers: dict[str, Any] = dict(output_error=0.0, gradient_error=0.0)
    expected = case.section("out")
    if set(outputs) != set(expected):
        raise CheckFailed(f"outputs {sorted(outputs)} instead of {sorted(expected)}")
    for name, theirs in expected.items():
        error = (outputs[name].cpu() - theirs).abs().max() / theirs.abs().max()
        numbers["output_error"] = max(numbers["output_error"], error.item())
        at_most(f"the error of output {name}", error.item(), OUTPUT_LIMIT, numbers)
    largest = max(g.abs().max().item() for g in case.section("grad").values())
    limit = GRADIENT_LIMIT * (10 if case.name.endswith("_train") else 1)
    for name, theirs in case.section("grad").items():
        ours = gradients.get(name)
        if ours is None:
            raise CheckFailed(f"there is no gradient of {name}", numbers)
        reference = max(theirs.abs().max().item(), SMALLEST_SHARE * largest)
        error = (ours.cpu() - theirs).abs().max().item() / reference
        numbers["gradient_error"] = max(numbers["gradient_error"], error)
        at_most(f"the error of the gradient of {name}", error, limit, numbers)
    return numbers


def _run(
    case: GoldenFile, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
    module = _build(case).to(device)
    inputs = {
        name: x.to(device).requires_grad_(x.is_floating_point() and name != "rois")
        for name, x in case.section("in").items()
    }
    outputs = _call(case.method, module, inputs)
    weights = case.section("cotangent")
    sum((outputs[k] * weights[k].to(device)).sum() for k in weights).backward()
    # Any released state dict converts, so one of names does as well.
    state = case.section("state")
    ours = released.convert(case.method, {name: name for name in state})
    parameters = dict(module.named_parameters())
    gradients: dict[str, Tensor | None] = {
        theirs: parameters[name].grad
        for name, theirs in ours.items()
        if name in parameters
    }
    gradients |= {f"in/{name}": x.grad for name, x in inputs.items()}
    return {k: v.detach() for k, v in outputs.items()}, gradients


def _build(case: GoldenFile) -> nn.Module:
    config = dict(case.config)
    if case.method == "asff":
        config["vis"] = True  # returns the weights as well
    if "legacy" in case.name:
        config["roi_layer"] = config["roi_layer"] | dict(legacy=True)
    module = released.build(case.method, **config)
    module.load_state_dict(released.convert(case.method, case.section("state")))
    is_evaluated = case.name.endswith("_eval")
    return module.train(not is_evaluated)


def _call(
    method: str, module: nn.Module, inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return everything that the released class returns, by the file's names."""
    if method == "asff":
        y, weights, _ = module(*(inputs[f"level_{i}"] for i in range(3)))
        return {"y": y, "levels_weight": weights}
    if method == "soft-roi":
        feats = [inputs[f"feat.{i}"] for i in range(len(inputs) - 1)]
        return {"y": module(feats, inputs["rois"])}
    maps = tuple(inputs[str(i)] for i in range(len(inputs)))
    if method == "drfpn":
        return {str(i): output for i, output in enumerate(module(maps))}
    seen: list[Tensor] = []
    hook = module.lateral_convs.register_forward_hook(
        lambda *call: seen.extend(call[2])
    )
    outputs = {f"outs.{i}": x for i, x in enumerate(module(maps))}
    hook.remove()
    return outputs | {f"raw_laterals.{i}": x for i, x in enumerate(seen)}
