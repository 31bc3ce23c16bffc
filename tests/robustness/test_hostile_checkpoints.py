"""Checkpoints that would run code: refused by all that reads one, and nothing runs.

torch before 2.6 unpickles everything unless it is told not to; newer versions do so
with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1, which stands for the older ones here.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from fpn_necks.checkpoints import read_checkpoint
from fpn_necks.cli import main
from fpn_necks.reproduction import run as running
from fpn_necks.reproduction.run import Launch, Run
from tests.full_disk import tree
from tests.test_checkpoints import needs_safe_loading
from tests.tiny_detectors import load_config, shrink


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class WithState:
    """Pickles as an object that gets a state."""

    def __init__(self, owner: Any, state: Any) -> None:
        self.parts = owner, state

    def __reduce__(self) -> tuple:
        return _same, (self.parts[0],), self.parts[1]


def _same(value: Any) -> Any:
    return value


def _load_unsafely(file: io.BytesIO) -> Any:
    return torch.load(file, weights_only=False)


class Model(torch.nn.Module):
    """Not a state dict: a whole model, whose class would be imported."""


def nested(marker: Path) -> Calls:
    """torch.load as part of a file, of another file within."""
    inner = io.BytesIO()
    torch.save(Calls(os.system, f"touch {marker}"), inner)
    return Calls(_load_unsafely, Calls(io.BytesIO, inner.getvalue()))


PAYLOADS: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda marker: Calls(os.system, f"touch {marker}"),
    "eval": lambda marker: Calls(eval, f"open({str(marker)!r}, 'w')"),
    "exec": lambda marker: Calls(exec, f"open({str(marker)!r}, 'w')"),
    "open": lambda marker: Calls(open, str(marker), "w"),
    "numpy": lambda marker: Calls(np.ndarray.tofile, np.ones(3), str(marker)),
    "getattr chain": lambda marker: Calls(
        getattr, Calls(getattr, HistoryBuffer, "__init__"), "__globals__"
    ),
    "getattr of a module": lambda marker: Calls(getattr, Calls(__import__, "os"), "x"),
    "nested file": nested,
    "torch.save": lambda marker: Calls(torch.save, {}, str(marker)),
    "whole model": lambda marker: Model(),
    "state of a class": lambda marker: WithState(HistoryBuffer, {"mean": eval}),
}
both_formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def write_payload(path: Path, name: str, marker: Path, zipped: bool = True) -> Path:
    content = dict(
        state_dict=OrderedDict(a=torch.ones(2), b=PAYLOADS[name](marker)),
        meta=dict(epoch=1, iter=1),
    )
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.fixture(autouse=True)
def unsafe_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@both_formats
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_runs(payload: str, zipped: bool, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = write_payload(tmp_path / "evil.pth", payload, marker, zipped)
    mean = HistoryBuffer.mean
    with pytest.raises(ValueError, match="for safety, files that [^\n]+$"):
        read_checkpoint(path)
    assert not marker.exists() and HistoryBuffer.mean is mean


def test_the_payloads_work(tmp_path: Path) -> None:
    """Unpickled without care they do what they say: the tests above can fail."""
    for name in ("os.system", "eval", "exec", "open", "nested file", "torch.save"):
        marker = tmp_path / name.replace(" ", "_")
        torch.load(write_payload(tmp_path / "evil.pth", name, marker))
        assert marker.exists(), name


def test_torchscript(tmp_path: Path) -> None:
    """Archives with TorchScript's bytecode; torch would run parts of it on loading."""
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "script.pth")
    with pytest.raises(ValueError, match="for safety"):
        read_checkpoint(tmp_path / "script.pth")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.py"
    shrink(load_config("retinanet_r50_s-alpha-fpn_1x_coco")).dump(path)
    return path


@pytest.mark.parametrize(
    "words",
    [
        "convert asff {evil} {out}/new.pth",
        "warm-start {config} {evil} {out}/new.pth",
        "visualize {config} {evil} {image} --what features --out {out}",
        "visualize {config} {work} --what fusion-factors --out {out}",
        "detect {config} {evil} {image} {out}",
    ],
)
def test_command_lines(
    words: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = dict(config=config, out=tmp_path / "out", image=tmp_path / "image.png")
    places["image"].write_bytes(b"never read")
    places["work"] = tmp_path / "work_dir"
    places["work"].mkdir()
    places["evil"] = places["work"] / "iter_1.pth"
    write_payload(places["evil"], "os.system", tmp_path / "ran")
    before = tree(tmp_path)
    assert main([word.format(**places) for word in words.split()]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and "files that import posix.system are" in line
    assert tree(tmp_path) == before


def test_reproduce_resumes_from_nothing_unsafe(tmp_path: Path) -> None:
    path = write_payload(tmp_path / "iter_1.pth", "os.system", tmp_path / "ran")
    (tmp_path / "last_checkpoint").write_text(str(path))

    def must_not_start(command: object, output: Path) -> int:
        raise AssertionError("it has started")

    facts = dict(seed=0, evaluate=False, settings="", world_size=1)
    run = Run("row", tmp_path, Config(), facts)
    with mock.patch.object(running, "execute_command", must_not_start):
        (reason,) = running.run_all([run], Launch()).values()
    assert "for safety, files that import posix.system are refused" in reason
    assert not (tmp_path / "ran").exists()


@needs_safe_loading
@both_formats
def test_what_is_harmless_loads(zipped: bool, tmp_path: Path) -> None:
    """A checkpoint as mmengine writes it, with log history and optimizer."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = dict(
        meta=dict(best_score=np.float64(0.5), dataset_meta=dict(classes=("a", "b"))),
        state_dict=layer.state_dict() | dict(half=torch.zeros(2).half()),
        optimizer=optimizer.state_dict(),
        message_hub=dict(loss=HistoryBuffer([1.0, 3.0], [1, 1])),
    )
    path = tmp_path / "x.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    loaded = read_checkpoint(path)
    assert loaded["message_hub"]["loss"].mean() == 2.0
    assert loaded["meta"] == content["meta"]
    assert loaded["optimizer"]["param_groups"] == content["optimizer"]["param_groups"]
    torch.testing.assert_close(
        loaded["state_dict"], dict(content["state_dict"]), rtol=0, atol=0
    )
