"""Detectors for testing: which files are taken, how often they are read, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.apis import init_detector

from fpn_necks.detectors import class_names, load_detector
from tests.inference.small_detectors import NAMES, write_detector


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_detector(tmp_path_factory.mktemp("home"), NAMES[0])


def test_is_mmdets_detector_from_a_file_that_is_read_once(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[object] = []
    load = torch.load
    monkeypatch.setattr(
        torch,
        "load",
        lambda file, **options: reads.append(file) or load(file, **options),
    )
    model = load_detector(*files, device="cpu")
    assert len(reads) == 1
    expected = init_detector(*map(str, files), device="cpu")
    assert model.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    assert not model.training
    assert tuple(model.dataset_meta["classes"]) == expected.dataset_meta["classes"]


def test_home_and_the_last_checkpoint_of_a_work_dir(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(files[0].parent))
    config = f"~/{files[0].name}"
    content = torch.load(files[1], weights_only=True)
    torch.save(content, tmp_path / "epoch_1.pth")
    content["state_dict"]["bbox_head.retina_reg.bias"] += 1
    torch.save(content, tmp_path / "epoch_2.pth")  # of another training, say
    with pytest.raises(FileNotFoundError, match="there is no last_checkpoint; name"):
        load_detector(config, tmp_path, "cpu")
    (tmp_path / "last_checkpoint").write_text("/moved/epoch_1.pth")
    for checkpoint in (f"~/{files[1].name}", tmp_path):
        model = load_detector(config, checkpoint, "cpu")
        bias = model.bbox_head.retina_reg.bias
        assert torch.equal(bias + 1, content["state_dict"]["bbox_head.retina_reg.bias"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = (", "never closed"),
        ("lr = 1", "it has no model with a backbone"),
        (
            "model = dict(type='NoSuch', backbone=dict())",
            "there is no type .NoSuch. in the",
        ),
        ("1 / 0", "division by zero"),
    ],
)
def test_a_broken_config_is_named(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ValueError, match="broken.py cannot be built: .*" + reason) as e:
        load_detector(tmp_path / "broken.py", None)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("found", "number", "offered", "names"),
    [
        (None, 2, ("a", "b"), ("a", "b")),
        (None, 2, ("a", "b", "c"), ("class 0", "class 1")),
        (("a",), 3, ("x", "y", "z"), ("a", "class 1", "class 2")),
        (("a", "b", "c"), 2, (), ("a", "b", "c")),
        ("person", 1, (), ("person",)),
        (None, 0, (), ()),
    ],
)
def test_class_names(
    found: object, number: int, offered: tuple[str, ...], names: tuple[str, ...]
) -> None:
    assert class_names(found, number, offered) == names
