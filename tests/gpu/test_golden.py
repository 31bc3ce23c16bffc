"""Numbers that the authors' released code computed, met on the device as well."""

from __future__ import annotations

from torch import Tensor, nn

from fpn_necks import released
from fpn_necks.layers import softmax_over_levels
from tests.golden import COPIES, Golden, golden
from tests.gpu.devices import full_float32, on_devices, relative_error
from tests.shared_data import SHARED

# How a file's name begins -> the released class that it is of; others are of parts.
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
SHIPPED = {path.stem for path in COPIES.glob("*.npz")}
FILES = sorted(
    name
    for name in SHIPPED | {path.stem for path in (SHARED / "golden").glob("*.npz")}
    if name.startswith(tuple(METHODS))
)


@on_devices(FILES, [name for name in FILES if name in SHIPPED])
def test_released_numbers(device: str, case: str) -> None:
    """Ten times what float32 on a processor is held to: a GPU adds in another order."""
    numbers = golden(case)
    method = next(m for start, m in METHODS.items() if case.startswith(start))
    config = dict(numbers.config)
    if "legacy" in case:
        config["roi_layer"] = config["roi_layer"] | dict(legacy=True)
    module = released.build(method, **config)
    module.load_state_dict(released.convert(method, numbers.state))
    module.to(device).train(not case.endswith("_eval"))
    inputs = {
        key: x.detach().to(device).requires_grad_(x.requires_grad)
        for key, x in numbers.inputs.items()
    }
    with full_float32():
        outputs = outputs_of(method, module, inputs)
        weighted = [(outputs[k] * w.to(device)).sum() for k, w in cotangents(numbers)]
        sum(weighted).backward()
    for key, expected in numbers.outputs.items():
        assert relative_error(outputs[key].detach(), expected) < 1e-4, key
    # Any released state dict converts, so one of names does as well.
    names = released.convert(method, {key: key for key in numbers.state})
    parameters = dict(module.named_parameters())
    found = {names[key]: parameters[key].grad for key in names if key in parameters}
    found |= {f"in/{key}": x.grad for key, x in inputs.items()}
    smallest = 1e-2 * max(g.norm().item() for g in numbers.gradients.values())
    limit = 1e-2 if case.endswith("_train") else 1e-3  # BN in training
    for key, expected in numbers.gradients.items():
        assert relative_error(found[key], expected, smallest) < limit, key


def cotangents(numbers: Golden) -> list[tuple[str, Tensor]]:
    return list(numbers.cotangents.items())


def outputs_of(
    method: str, module: nn.Module, inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return everything that the released class returns, by the file's names."""
    if method == "asff":
        scores: list[Tensor] = []
        hook = module.scores.register_forward_hook(lambda *c: scores.append(c[2]))
        y = module([inputs[f"level_{i}"] for i in range(3)])
        hook.remove()
        return {"y": y, "levels_weight": softmax_over_levels(scores[0])}
    if method == "soft-roi":
        feats = [inputs[f"feat.{i}"] for i in range(len(inputs) - 1)]
        return {"y": module(feats, inputs["rois"])}
    maps = tuple(inputs[str(i)] for i in range(len(inputs)))
    if method == "drfpn":
        return {str(i): output for i, output in enumerate(module(maps))}
    laterals: list[Tensor] = []
    hook = module.lateral_convs.register_forward_hook(lambda *c: laterals.extend(c[2]))
    outputs = {f"outs.{i}": x for i, x in enumerate(module(maps))}
    hook.remove()
    return outputs | {f"raw_laterals.{i}": x for i, x in enumerate(laterals)}
