"""Safe loading: mmengine's checkpoints load, everything else is still refused."""

import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

import fpn_necks  # noqa: F401  allow-lists the types on import
from fpn_necks.checkpoints import (
    CHECKPOINT_TYPES,
    allow_checkpoint_types,
    last_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from tests.full_disk import limit_writing, tree

needs_safe_loading = pytest.mark.skipif(
    not hasattr(torch.serialization, "add_safe_globals"),
    reason="this torch has no allow-list; it refuses training logs",
)


@pytest.fixture(autouse=True)
def allowed() -> Iterator[None]:
    """After mmengine's fork has loaded a checkpoint the types are forgotten."""
    allow_checkpoint_types()
    yield
    allow_checkpoint_types()


class AsksFor:
    """Pickles as a call of getattr."""

    def __init__(self, owner: object, name: str) -> None:
        self.call = (owner, name)

    def __reduce__(self):
        return getattr, self.call


@needs_safe_loading
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (HistoryBuffer, "__init__"),
        (HistoryBuffer, "register_statistics"),
        (HistoryBuffer, "_statistics_methods"),
        (np.ndarray, "mean"),
        (HistoryBuffer(), "mean"),
    ],
)
def test_getattr_is_not_opened(owner: object, name: str, tmp_path: Path) -> None:
    torch.save({"x": AsksFor(owner, name)}, tmp_path / "x.pth")
    with pytest.raises(pickle.UnpicklingError, match="only statistics|not an allowed"):
        torch.load(tmp_path / "x.pth", weights_only=True)


@needs_safe_loading
def test_history_buffers_load_in_a_new_process(tmp_path: Path) -> None:
    """Where no history has been made yet, as at the start of a resumed run."""
    content = dict(loss=HistoryBuffer([1.0, 3.0], [1, 1]), best_score=np.float64(0.5))
    torch.save(content, tmp_path / "x.pth")
    code = (
        "import sys, torch, fpn_necks;"
        "content = torch.load(sys.argv[1], weights_only=True);"
        "print(content['loss'].mean() + content['best_score'])"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "x.pth"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    # The maintained fork of mmdet says something when it is imported.
    assert result.stdout.splitlines()[-1:] == ["2.5"], result.stderr


def test_the_list_is_what_it_is_meant_to_be() -> None:
    """A new entry widens what a file may do: it must be added here on purpose."""
    assert {f"{x.__module__}.{x.__qualname__}" for x in CHECKPOINT_TYPES} == {
        "mmengine.logging.history_buffer.HistoryBuffer",
        "numpy.ndarray",
        "numpy.dtype",
        "numpy.dtypes.Float64DType",
        "numpy.dtypes.Int64DType",
        "builtins.getattr",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
    }


def test_torch_2_4_and_2_5_can_look_the_types_up() -> None:
    """They know an object by its own names and take no pair of object and name."""
    assert not any(isinstance(x, tuple) for x in CHECKPOINT_TYPES)
    for x in CHECKPOINT_TYPES:  # 2.4 reads the one, later versions the other
        assert x.__name__ == x.__qualname__


def test_torch_before_2_4_loads_as_mmengine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.serialization, "add_safe_globals", raising=False)
    content = dict(state_dict=dict(a=torch.ones(2)), log=HistoryBuffer([1.0], [1]))
    torch.save(content, tmp_path / "x.pth")
    with pytest.warns(UserWarning, match="only files that you trust"):
        assert read_checkpoint(tmp_path / "x.pth")["log"].current() == 1


class TestLastCheckpoint:
    @pytest.fixture
    def work_dir(self, tmp_path: Path) -> Path:
        for i in (10, 9, 11):  # by time of writing 11 is the last, by name 9
            torch.save(dict(state_dict={}), tmp_path / f"epoch_{i}.pth")
        torch.save({}, tmp_path / "best_coco_bbox_mAP_epoch_12.pth")
        (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_10.pth"))
        return tmp_path

    def test_what_mmengine_recorded(self, work_dir: Path, tmp_path: Path) -> None:
        assert last_checkpoint(work_dir) == work_dir / "epoch_10.pth"
        # A copy has its own.
        copy = shutil.copytree(work_dir, tmp_path / "copy")
        assert last_checkpoint(copy) == copy / "epoch_10.pth"
        (work_dir / "last_checkpoint").unlink()
        assert last_checkpoint(work_dir) is None

    @pytest.mark.parametrize("content", [b"", b"half", b"\0" * 40])
    def test_damaged(self, content: bytes, work_dir: Path) -> None:
        (work_dir / "epoch_10.pth").write_bytes(content)
        with pytest.warns(UserWarning, match="or gone; epoch_11.pth is taken"):
            assert last_checkpoint(work_dir) == work_dir / "epoch_11.pth"
        (work_dir / "last_checkpoint").write_bytes(content)
        with pytest.warns(UserWarning, match="or gone; epoch_11.pth is taken"):
            assert last_checkpoint(work_dir) == work_dir / "epoch_11.pth"
        for path in work_dir.glob("*.pth"):
            path.write_bytes(content)
        with pytest.warns(UserWarning, match="there is no other"):
            assert last_checkpoint(work_dir) is None


@pytest.mark.parametrize("room", [0, 100])
def test_a_full_disk_leaves_the_old_checkpoint(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.pth"
    path.write_bytes(b"old")
    limit_writing(monkeypatch, room)
    with pytest.raises(
        OSError, match="out.pth.*(No space|cannot be)|No space.*out.pth"
    ):
        write_checkpoint(dict(state_dict=dict(a=torch.ones(500))), path, True)
    assert tree(tmp_path) == {"out.pth": b"old"}
