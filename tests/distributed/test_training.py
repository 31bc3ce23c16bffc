"""Each method's hardest config in two and three processes: in step, and right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.distributed.cases import (
    CASES,
    batch_of,
    build,
    freeze_norms,
    gradients,
    joined,
    losses_of,
    relative_error,
)
from tests.distributed.processes import found_in, torchrun
from tests.distributed.worker import STEPS

LARGEST_ERROR = 1e-6
STATISTICS = ("running_mean", "running_var")


@pytest.fixture(autouse=True)
def _as_many_threads_as_the_processes() -> Iterator[None]:
    """Sums over threads are added up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def expected_gradients(name: str, empty: list[bool]) -> dict[str, Tensor]:
    """Compute in this process what all processes' first gradient must be."""
    case = CASES[name]
    model = build(name, case.gradient_dtype)
    batches = [batch_of(r, 0, none, model.with_mask) for r, none in enumerate(empty)]
    if case.gradient == "global":
        freeze_norms(model)
        return gradients(model, losses_of(model, joined(batches), seed=0))
    parts = []
    for rank, batch in enumerate(batches):
        # Anew, because the batch norms have changed their statistics.
        model = build(name, case.gradient_dtype)
        parts.append(gradients(model, losses_of(model, batch, seed=rank)))
    # A detector whose processes all have the same would pass whatever is averaged.
    key = max(parts[0], key=lambda key: parts[0][key].abs().max().item())
    assert relative_error(parts[0][key], parts[1][key]) > 0.01
    return {key: sum(part[key] for part in parts) / len(parts) for key in parts[0]}


def assert_one_gradient(name: str, found: list[dict], empty: list[bool]) -> None:
    first = found[0]["gradients"]
    for other in found[1:]:
        assert first.keys() == other["gradients"].keys()
        for key, gradient in other["gradients"].items():
            assert torch.equal(gradient, first[key]), (name, key)
    if CASES[name].gradient == "neither":
        return
    expected = expected_gradients(name, empty)
    assert first.keys() == expected.keys()
    errors = {key: relative_error(first[key], expected[key]) for key in first}
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= LARGEST_ERROR, (name, worst, errors[worst])


def assert_one_model(name: str, found: list[dict]) -> None:
    """Assert that all processes have trained, and have the same in the end."""
    start = build(name).state_dict()
    for own in found:
        assert len(own["losses"]) == STEPS, name
        assert len({tuple(sorted(values)) for values in own["losses"]}) == 1, name
        values = torch.tensor([list(values.values()) for values in own["losses"]])
        assert values.isfinite().all(), name
        assert own["state"].keys() == own["own_state"].keys() == start.keys()
        for key, value in own["own_state"].items():
            assert value.isfinite().all(), (name, key)
            # mmengine averages these at the end of an epoch, and before a test.
            if not key.endswith(STATISTICS):
                assert torch.equal(value, found[0]["own_state"][key]), (name, key)
        for key, value in own["state"].items():
            assert torch.equal(value, found[0]["state"][key]), (name, key)
        pair = own["optimizer"], found[0]["optimizer"]
        torch.testing.assert_close(*pair, rtol=0, atol=0)
    # They have had different images.
    totals = {own["losses"][0]["loss"] for own in found}
    assert len(totals) == len(found), name
    trained = [key for key in start if key in found[0]["gradients"]]
    moved = [k for k in trained if not torch.equal(start[k], found[0]["state"][k])]
    assert len(moved) > 0.9 * len(trained), (name, set(trained) - set(moved))


def train_and_check(folder: Path, names: list[str], empty: list[bool]) -> None:
    """Train cases in processes, each of which has objects or is `empty`."""
    ranks = ",".join(str(rank) for rank, none in enumerate(empty) if none)
    tasks = [f"{name}:{ranks}" for name in names]
    torchrun(len(empty), "-m", "tests.distributed.worker", folder, *tasks)
    for name, task in zip(names, tasks, strict=True):
        found = found_in(folder, len(empty), task)
        assert_one_model(name, found)
        assert_one_gradient(name, found, empty)


def test_one_of_two_processes_has_no_object(tmp_path: Path) -> None:
    names = ["s-alpha", "auxiliary-retinanet", "augfpn-assigned", "cfg-auxiliary-fcos"]
    train_and_check(tmp_path, names, [False, True])


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_two_processes(tmp_path: Path) -> None:
    train_and_check(tmp_path, [*CASES], [False, False])
    # What the batch norms of DRFPN have seen is each process's own until an epoch ends.
    found = found_in(tmp_path, 2, "drfpn-cascade-mask:")
    one, other = (own["own_state"] for own in found)
    differing = {key for key in one if not torch.equal(one[key], other[key])}
    assert differing and all("channel_refinement" in key for key in differing)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_one_of_three_processes_has_no_object(tmp_path: Path) -> None:
    # One per kind of loss that a process without objects leaves out.
    names = ["cfg-auxiliary", "cfg-auxiliary-fcos", "augfpn-cascade-mask", "drfpn-fcos"]
    train_and_check(tmp_path, names, [False, False, True])
