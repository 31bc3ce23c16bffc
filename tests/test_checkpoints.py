"""Safe loading: mmengine's checkpoints load, everything else is still refused."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

import fpn_necks  # noqa: F401  allow-lists the types on import
from fpn_necks.checkpoints import (
    allow_checkpoint_types,
    checkpoint_types,
    history_statistic,
)

needs_safe_loading = pytest.mark.skipif(
    not hasattr(torch.serialization, "add_safe_globals"),
    reason="this torch has no allow-list; it loads as it always did",
)


@pytest.fixture(autouse=True)
def allowed() -> None:
    """After mmengine's fork has loaded a checkpoint the types are forgotten."""
    allow_checkpoint_types()


class RunsCommand:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class AsksFor:
    """Pickles as a call of getattr."""

    def __init__(self, owner: object, name: str) -> None:
        self.call = (owner, name)

    def __reduce__(self):
        return getattr, self.call


@needs_safe_loading
def test_history_buffers_load(tmp_path: Path) -> None:
    buffer = HistoryBuffer()
    for value in (1.0, 2.5, 4.0):
        buffer.update(value)
    torch.save(
        {"message_hub": {"loss": buffer}, "best_score": np.float64(0.5)},
        tmp_path / "x.pth",
    )
    loaded = torch.load(tmp_path / "x.pth", weights_only=True)
    assert loaded["message_hub"]["loss"].mean() == pytest.approx(2.5)
    assert loaded["best_score"] == 0.5
    assert (
        torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "x.pth") == []
    )


@needs_safe_loading
def test_code_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"state_dict": RunsCommand(marker)}, tmp_path / "x.pth")
    with pytest.raises(pickle.UnpicklingError, match="posix.system"):
        torch.load(tmp_path / "x.pth", weights_only=True)
    assert not marker.exists()


@needs_safe_loading
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (HistoryBuffer, "__init__"),
        (HistoryBuffer, "register_statistics"),
        (HistoryBuffer, "_statistics_methods"),
        (np.ndarray, "tofile"),
    ],
)
def test_getattr_is_not_opened(owner: object, name: str, tmp_path: Path) -> None:
    torch.save({"x": AsksFor(owner, name)}, tmp_path / "x.pth")
    with pytest.raises(pickle.UnpicklingError, match="only statistics"):
        torch.load(tmp_path / "x.pth", weights_only=True)


@needs_safe_loading
def test_history_buffers_load_in_a_new_process(tmp_path: Path) -> None:
    """Where no history has been made yet, as at the start of a resumed run."""
    torch.save({"loss": HistoryBuffer([1.0, 3.0], [1, 1])}, tmp_path / "x.pth")
    code = (
        "import sys, torch, fpn_necks;"
        "print(torch.load(sys.argv[1], weights_only=True)['loss'].mean())"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "x.pth"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    # The maintained fork of mmdet says something when it is imported.
    assert result.stdout.splitlines()[-1:] == ["2.0"], result.stderr


def test_statistics_are_looked_up() -> None:
    assert history_statistic(HistoryBuffer, "mean") is HistoryBuffer.mean
    with pytest.raises(pickle.UnpicklingError, match="'mean' of"):
        history_statistic(HistoryBuffer(), "mean")


def test_the_list_is_what_it_is_meant_to_be() -> None:
    """A new entry widens what a file may do: it must be added here on purpose."""
    names = {
        t[1] if isinstance(t, tuple) else t.__qualname__ for t in checkpoint_types()
    }
    assert names == {
        "HistoryBuffer",
        "ndarray",
        "dtype",
        "Float64DType",
        "Int64DType",
        "builtins.getattr",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
    }
