"""A machine that goes down leaves half a checkpoint: training goes on from a whole one.

Files are damaged here as crashes do it. A process that really ends while it writes one
is in test_restart.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from fpn_necks.checkpoints import last_checkpoint
from fpn_necks.reproduction.planning import Launch, Request, choose_rows, plan_runs
from fpn_necks.reproduction.running import run_all
from tests.reproduction.tiny_table import in_this_process, small_options, tiny_table
from tests.tiny_sets import write_coco_set


def write_checkpoints(folder: Path, *names: str) -> None:
    for name in names:
        torch.save(dict(state_dict=dict(w=torch.randn(1000))), folder / name)
        (folder / "last_checkpoint").write_text(str(folder / name))


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": cut,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_goes_on_from_one_that_is_whole(tmp_path: Path, damage: str) -> None:
    write_checkpoints(tmp_path, "epoch_9.pth", "epoch_10.pth", "epoch_11.pth")
    torch.save({}, tmp_path / "best_coco_bbox_mAP_epoch_12.pth")  # no optimizer in it
    assert last_checkpoint(tmp_path) == tmp_path / "epoch_11.pth"
    DAMAGES[damage](tmp_path / "epoch_11.pth")
    said = "the last checkpoint is damaged or gone; epoch_10.pth is taken"
    with pytest.warns(UserWarning, match=said):
        assert last_checkpoint(tmp_path) == tmp_path / "epoch_10.pth"


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "gone"])
def test_its_name_is_damaged(tmp_path: Path, damage: str) -> None:
    write_checkpoints(tmp_path, "iter_500.pth", "iter_1000.pth")
    DAMAGES[damage](tmp_path / "last_checkpoint")
    with pytest.warns(UserWarning, match="iter_1000.pth is taken"):
        assert last_checkpoint(tmp_path) == tmp_path / "iter_1000.pth"


def test_none_is_whole(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None  # nothing has been saved
    # With max_keep_ckpts=1 mmengine has removed the one before.
    write_checkpoints(tmp_path, "epoch_1.pth")
    cut(tmp_path / "epoch_1.pth")
    with pytest.warns(UserWarning, match="there is no other"):
        assert last_checkpoint(tmp_path) is None


def test_a_moved_folder(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    write_checkpoints(tmp_path / "before", "epoch_1.pth")
    (tmp_path / "before").rename(tmp_path / "after")
    found = last_checkpoint(tmp_path / "after")
    assert found == tmp_path / "after" / "epoch_1.pth"


@pytest.mark.long
def test_a_run_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "set"
    write_coco_set(data, num_images=4)
    table = tiny_table(tmp_path)
    request = Request(tmp_path / "work", overrides=small_options(data))
    (run,) = plan_runs(table, choose_rows(table, ["fpn"]), request)
    assert run_all([run], Launch(), lambda line: None, in_this_process).finished
    (run.folder / "result.json").unlink()
    cut(run.folder / "epoch_2.pth")

    # mmengine alone: what one gets with tools/train.py --resume.
    run.config.work_dir = str(run.folder)
    run.config.resume = True
    with pytest.raises(RuntimeError, match="PytorchStreamReader failed"):
        Runner.from_cfg(run.config).train()

    outcome = run_all([run], Launch(), lambda line: None, in_this_process)
    assert outcome.finished, outcome.failed
    logs = "".join(path.read_text() for path in sorted(run.folder.rglob("*.log")))
    assert len(re.findall(r"Epoch\(train\)\s+\[1\]\[2/2\]", logs)) == 1
    assert len(re.findall(r"Epoch\(train\)\s+\[2\]\[2/2\]", logs)) == 2
    whole = torch.load(run.folder / "epoch_2.pth", weights_only=False)
    assert whole["meta"]["iter"] == 4
