"""Two processes, one of which never sees an object: no hang, the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn

from tests.auxiliary.cases import build, detector_config, sample

# Losses that only need the images of their own process. Those of FCOS are divided by
# means over all processes, by mmdet's reduce_mean: there the gradient is not the mean
# of what each process would have alone.
LOCAL = ("retinanet-dense", "faster-rcnn-augfpn-assigned")
REDUCED = ("fcos-dense",)
ITERATIONS = 6
IMAGES_PER_PROCESS = 2

WORKER = """
import sys
from pathlib import Path

import torch

from tests.distributed.processes import leave_group
from tests.auxiliary.test_distributed import train

# mmengine's own start wants a GPU wherever torch was built with CUDA.
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
folder = Path(sys.argv[1])
torch.save({name: train(name, rank) for name in sys.argv[2:]}, folder / f"{rank}.pth")
leave_group()
"""


def data_of(rank: int, iteration: int, masks: bool) -> tuple[Tensor, list]:
    """Return a process's images: those of the second process are always empty."""
    content = "nothing" if rank else ("objects", "others", "small")[iteration % 3]
    samples = [sample(content, masks), sample("nothing", masks)]
    generator = torch.Generator().manual_seed(10 * iteration + rank)
    size = samples[0].batch_input_shape
    return torch.randn(IMAGES_PER_PROCESS, 3, *size, generator=generator), samples


def detector(name: str) -> nn.Module:
    """Build a detector whose batch norm does not change."""
    model = build(detector_config(name))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def first_losses(model: nn.Module, rank: int) -> dict:
    """Return the losses of a process's first batch, with the same samples always."""
    inner = getattr(model, "module", model)
    torch.manual_seed(rank)
    return model(*data_of(rank, 0, inner.with_mask), mode="loss")


def train(name: str, rank: int) -> dict:
    """Train in this process of several.

    Returns:
        The first step's gradients, the keys of all iterations' losses, the last total
        and the weights in the end, all by name.
    """
    model = MMDistributedDataParallel(
        detector(name), broadcast_buffers=False, find_unused_parameters=False
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    keys, first = [], {}
    for iteration in range(ITERATIONS):
        if iteration == 0:
            losses = first_losses(model, rank)
        else:
            data = data_of(rank, iteration, model.module.with_mask)
            losses = model(*data, mode="loss")
        keys.append(sorted(losses))
        total, _ = model.module.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        if iteration == 0:
            first = {
                key: parameter.grad.clone()
                for key, parameter in model.module.named_parameters()
                if parameter.requires_grad
            }
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    weights = model.module.state_dict()
    return dict(gradients=first, keys=keys, total=total.item(), weights=weights)


def run(folder: Path, names: tuple[str, ...]) -> list[dict]:
    """Train detectors in two processes; return what each process found."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    result = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2",
            "--standalone", str(script), str(folder), *names,
        ],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pth") for rank in range(2)]


def assert_in_step(found: list[dict], name: str) -> None:
    """Assert that both processes have had the same losses' keys and have one model."""
    one, other = found[0][name], found[1][name]
    assert len(one["keys"]) == len(other["keys"]) == ITERATIONS
    assert all(keys == one["keys"][0] for keys in one["keys"] + other["keys"])
    assert any(key.startswith("aux.loss_cls") for key in one["keys"][0])
    assert torch.tensor([one["total"], other["total"]]).isfinite().all()
    start = detector(name).state_dict()
    assert list(one["weights"]) == list(start)
    moved = 0
    for key, value in one["weights"].items():
        if not key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert torch.equal(value, other["weights"][key]), key
            moved += key.startswith("auxiliary.") and not torch.equal(value, start[key])
    assert moved


def assert_mean_gradient(found: list[dict], name: str) -> None:
    """Assert that two processes' gradient is the mean of both, had one by one."""
    model = detector(name)
    parts = []
    for rank in range(2):
        total, _ = model.parse_losses(first_losses(model, rank))
        model.zero_grad()
        total.backward()
        parts.append({k: p.grad.clone() for k, p in model.named_parameters()})
    largest = max(gradient.abs().max() for gradient in parts[0].values())
    for key, gradient in found[0][name]["gradients"].items():
        assert torch.equal(gradient, found[1][name]["gradients"][key]), key
        expected = (parts[0][key] + parts[1][key]) / 2
        assert (gradient - expected).abs().max() <= 1e-6 * largest, key
    own = [key for key in parts[0] if key.startswith("auxiliary.")]
    assert any(not torch.equal(parts[0][key], parts[1][key]) for key in own)


def test_two_processes(tmp_path: Path) -> None:
    found = run(tmp_path, (*LOCAL, *REDUCED))
    for name in (*LOCAL, *REDUCED):
        assert_in_step(found, name)
    for name in LOCAL:
        assert_mean_gradient(found, name)
