"""Checkpoints that would run code: refused by all that reads one, and nothing runs.

torch before 2.6 unpickles everything unless it is told not to; newer versions do so
with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1, which stands for the older ones here.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from packaging.version import Version

import fpn_necks  # noqa: F401  allow-lists the types on import
from fpn_necks.checkpoints import (
    load_restricted,
    read_checkpoint,
    require_safe_checkpoint,
)
from fpn_necks.cli import main
from fpn_necks.detectors import load_detector
from fpn_necks.released.detectors import convert_checkpoint
from fpn_necks.reproduction.run import Launch, Run, run_all
from fpn_necks.visualization.fusion_factors import read_factors
from fpn_necks.warm_start import load_fpn_detector, read_state_dict
from tests.full_disk import tree
from tests.stack import IS_FORK
from tests.tiny_detectors import load_config, set_statistic_factors, shrink

TORCH = Version(torch.__version__.split("+")[0])


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


def write_payload(path: Path, name: str, marker: Path, old: bool) -> Path:
    content = dict(
        state_dict=OrderedDict(a=torch.ones(2), b=PAYLOADS[name](marker)),
        meta=dict(epoch=1, iter=1),
    )
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.fixture(params=["safe by default", "unsafe by default"])
def default(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", raising=False)
    if request.param == "unsafe by default":
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    return request.param


def read_old(path: Path) -> Any:
    """As with torch before 2.4."""
    with path.open("rb") as file:
        return load_restricted(file)


def work_dir_of(path: Path) -> Path:
    folder = path.parent / "work_dir"
    folder.mkdir(exist_ok=True)
    (folder / "iter_1.pth").write_bytes(path.read_bytes())
    return folder


def start_run(folder: Path, load_from: str | None = None) -> None:
    """Start a run of `reproduce`; its weights are refused before any process."""

    def must_not_start(command: object, output: Path) -> int:
        raise AssertionError("it has started")

    facts = dict(seed=0, evaluate=False, settings="", world_size=1)
    run = Run("row", folder, Config(dict(load_from=load_from)), facts)
    for reason in run_all([run], Launch(), lambda _: None, must_not_start).values():
        raise ValueError(reason)


def resume(path: Path) -> None:
    """What `fpn-necks reproduce run` does in a folder with a last checkpoint."""
    folder = work_dir_of(path)
    (folder / "last_checkpoint").write_text(str(folder / "iter_1.pth"))
    start_run(folder)


def start_from(path: Path) -> None:
    start_run(path.parent / "start", str(path))


def convert(path: Path) -> None:
    convert_checkpoint("highfpn", path, path.parent / "converted.pth")


def draw(path: Path) -> None:
    (path.parent / "config.py").write_text("lr = 0.1\n")
    load_detector(path.parent / "config.py", path)


READERS: dict[str, Callable[[Path], object]] = {
    "read_checkpoint": read_checkpoint,
    "torch before 2.4": read_old,
    "require_safe_checkpoint": require_safe_checkpoint,
    "warm start": read_state_dict,
    "released checkpoint": convert,
    "drawing": draw,
    "factors of a work dir": lambda path: read_factors(work_dir_of(path)),
    "resuming": resume,
    "load_from": start_from,
}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_runs(payload: str, old: bool, default: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = write_payload(tmp_path / "evil.pth", payload, marker, old)
    mean = HistoryBuffer.mean
    for name, reader in READERS.items():
        if name == "resuming" and old:
            continue  # mmengine writes no such files: it starts anew
        with pytest.raises((ValueError, pickle.UnpicklingError)) as caught:
            reader(path)
        assert not marker.exists(), name
        assert HistoryBuffer.mean is mean
        if name != "torch before 2.4":
            assert "cannot be loaded: for safety, files that" in str(caught.value)
            assert "\n" not in str(caught.value)
    assert not (tmp_path / "converted.pth").exists()


def test_the_payloads_work(tmp_path: Path) -> None:
    """Unpickled without care they do what they say: the tests above can fail."""
    for name in ("os.system", "eval", "exec", "open", "nested file", "torch.save"):
        marker = tmp_path / name.replace(" ", "_")
        path = write_payload(tmp_path / "evil.pth", name, marker, False)
        torch.load(path, weights_only=False)
        assert marker.exists(), name


@pytest.mark.skipif(TORCH < Version("2.6"), reason="mmdet's own loading is not safe")
@pytest.mark.skipif(IS_FORK, reason="the fork's mmengine falls back to unsafe loading")
@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_mmdet_refuses_them_too(
    payload: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", raising=False)
    marker = tmp_path / "ran"
    path = write_payload(tmp_path / "evil.pth", payload, marker, old)
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(torch.nn.Linear(2, 2), str(path))
    assert not marker.exists()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.py"
    shrink(load_config("retinanet_r50_s-alpha-fpn_1x_coco")).dump(path)
    return path


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("convert", ["asff", "{evil}", "{out}/new.pth"]),
        ("warm-start", ["{config}", "{evil}", "{out}/new.pth"]),
        (
            "visualize",
            ["{config}", "{evil}", "{image}", "--what", "features", "--out", "{out}"],
        ),
        (
            "visualize",
            ["{config}", "{work}", "--what", "fusion-factors", "--out", "{out}"],
        ),
        ("detect", ["{config}", "{evil}", "{image}", "{out}"]),
    ],
)
def test_command_lines(
    command: str,
    words: list[str],
    default: str,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    marker = tmp_path / "ran"
    evil = write_payload(tmp_path / "evil.pth", "os.system", marker, False)
    image = tmp_path / "image.png"
    image.write_bytes(b"never read")
    places = dict(config=config, evil=evil, out=tmp_path / "out", image=image)
    places["work"] = work_dir_of(evil)
    arguments = [word.format(**places) for word in words]
    before = tree(tmp_path)
    assert main([command, *arguments]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and "files that import posix.system are" in line
    assert tree(tmp_path) == before


def test_torchscript(default: str, tmp_path: Path) -> None:
    """Archives with TorchScript's bytecode; torch would run parts of it on loading."""
    path = tmp_path / "script.pth"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    for reader in (read_checkpoint, read_state_dict, require_safe_checkpoint):
        with pytest.raises(ValueError, match="for safety, TorchScript archives"):
            reader(path)


def write_code(folder: Path, code: bytes) -> Path:
    """Write a checkpoint with a pickle of one's own."""
    path = folder / "evil.pth"
    torch.save({}, folder / "plain.pth")
    with (
        zipfile.ZipFile(folder / "plain.pth") as plain,
        zipfile.ZipFile(path, "w") as evil,
    ):
        for name in plain.namelist():
            content = code if name.endswith("data.pkl") else plain.read(name)
            evil.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "owner",
    [
        "mmengine.logging.history_buffer HistoryBuffer",
        "torch._utils _rebuild_tensor_v2",
    ],
)
def test_classes_and_functions_keep_their_state(owner: str, tmp_path: Path) -> None:
    """What may be imported may not be changed, by BUILD with a dict of attributes."""
    module, name = owner.split()
    code = f"\x80\x02c{module}\n{name}\n".encode("latin-1")
    path = write_code(tmp_path, code + b"}X\x04\x00\x00\x00evilK\x01sb.")
    with pytest.raises(ValueError, match="cannot be loaded"):
        read_checkpoint(path)
    with pytest.raises(pickle.UnpicklingError, match="given a state"):
        read_old(path)
    assert not hasattr(HistoryBuffer, "evil")
    assert not hasattr(torch._utils._rebuild_tensor_v2, "evil")


def test_extension_numbers(tmp_path: Path) -> None:
    """A number in the place of a name, of copyreg's table."""
    copyreg.add_extension("os", "system", 77)
    try:
        code = b"\x80\x02\x82" + struct.pack("B", 77) + b"X\x01\x00\x00\x001\x85R."
        path = write_code(tmp_path, code)
        with pytest.raises(ValueError, match="cannot be loaded"):
            read_checkpoint(path)
        with pytest.raises(pickle.UnpicklingError, match="extension"):
            read_old(path)
    finally:
        copyreg.remove_extension("os", "system", 77)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_what_is_harmless_loads(old: bool, default: str, tmp_path: Path) -> None:
    """A checkpoint as mmengine writes it, with log history and optimizer."""
    state = OrderedDict(weight=torch.ones(2, 2), bias=torch.zeros(2).half())
    state._metadata = OrderedDict({"": dict(version=1)})
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = dict(
        meta=dict(epoch=1, best_score=np.float64(0.5), classes=("a",)),
        state_dict=state,
        optimizer=optimizer.state_dict(),
        message_hub=dict(loss=HistoryBuffer([1.0, 3.0], [1, 1])),
    )
    path = tmp_path / "x.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    for reader in (read_checkpoint, read_old):
        loaded = reader(path)
        assert loaded["message_hub"]["loss"].mean() == 2.0
        assert loaded["meta"] == content["meta"]
        assert (
            loaded["optimizer"]["param_groups"] == content["optimizer"]["param_groups"]
        )
        assert loaded["state_dict"].keys() == state.keys()
        for name, tensor in state.items():
            assert torch.equal(loaded["state_dict"][name], tensor)
            assert loaded["state_dict"][name].dtype == tensor.dtype
    report = load_fpn_detector(torch.nn.Linear(2, 2), path)
    assert set(report.loaded) == {"weight", "bias"}


def test_detectors_load_where_the_default_is_unsafe(
    default: str, config: Path, tmp_path: Path
) -> None:
    model = init_detector(str(config), None, device="cpu")
    set_statistic_factors(model)
    path = tmp_path / "x.pth"
    history = dict(loss=HistoryBuffer([1.0], [1]))
    meta = dict(dataset_meta=dict(classes=("a", "b")))
    content = dict(state_dict=model.state_dict(), meta=meta, message_hub=history)
    torch.save(content, path)
    loaded = load_detector(config, path)
    assert loaded.dataset_meta["classes"] == ("a", "b")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
