"""Numbers that the authors' released code computed, met on the device as well."""

from __future__ import annotations

from fpn_necks import released
from tests.golden import COPIES, golden
from tests.gpu.devices import full_float32, on_devices, relative_error
from tests.released.golden_runs import METHODS, load, outputs_of


@on_devices(METHODS, [path.stem for path in COPIES.glob("*.npz")])
def test_released_numbers(device: str, case: str) -> None:
    """Ten times what float32 on a processor is held to: a GPU adds in another order."""
    numbers = golden(case)
    module = load(numbers).to(device)
    inputs = {
        key: x.detach().to(device).requires_grad_(x.requires_grad)
        for key, x in numbers.inputs.items()
    }
    with full_float32():
        outputs = outputs_of(case, module, inputs)
        cotangents = numbers.cotangents.items()
        sum((outputs[k] * w.to(device)).sum() for k, w in cotangents).backward()
    for key, expected in numbers.outputs.items():
        assert relative_error(outputs[key].detach(), expected) < 1e-4, key
    # Any released state dict converts, so one of names does as well.
    names = released.convert(METHODS[case], {key: key for key in numbers.state})
    parameters = dict(module.named_parameters())
    found = {names[key]: parameters[key].grad for key in names if key in parameters}
    found |= {f"in/{key}": x.grad for key, x in inputs.items()}
    smallest = 1e-2 * max(g.norm().item() for g in numbers.gradients.values())
    limit = 1e-2 if case.endswith("_train") else 1e-3  # BN in training
    for key, expected in numbers.gradients.items():
        assert relative_error(found[key], expected, smallest) < limit, key
