"""docs/porting_from_2x.md: its neck runs, and its config trains."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn

from fpn_necks.checkpoints import write_checkpoint
from fpn_necks.warm_start import load_fpn_detector
from tests.docs.code_blocks import modules_taken_back
from tests.tiny_detectors import make_tiny, train_and_test_a_step
from tests.tiny_sets import write_coco_set

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "porting_from_2x.md").read_text()
NEW_NECK, NEW_CONFIG = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
WIDTHS = [8, 16, 24, 32]


@pytest.fixture
def new_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """Write the page's neck as a module, which its config imports."""
    register_all_modules()
    (tmp_path / "context_fpn.py").write_text(NEW_NECK)
    monkeypatch.syspath_prepend(tmp_path)
    with modules_taken_back({"context_fpn"}):
        yield importlib.import_module("context_fpn").ContextFPN


def test_neck_is_fpn_with_a_context(new_class: type) -> None:
    settings = dict(in_channels=WIDTHS, out_channels=16, num_outs=5)
    new, plain = new_class(**settings), MODELS.get("FPN")(**settings)
    plain.load_state_dict(new.state_dict(), strict=False)
    maps = [torch.rand(2, w, 49 // 2**i, 65 // 2**i) for i, w in enumerate(WIDTHS)]
    assert not torch.allclose(new(maps)[3], plain(maps)[3])
    nn.init.zeros_(new.context.conv.weight)
    for ours, theirs in zip(new(maps), plain(maps), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.fixture
def new_config(new_class: type, tmp_path: Path) -> Config:
    path = tmp_path / "my_config.py"
    path.write_text(NEW_CONFIG)
    return Config.fromfile(path)


def test_new_config_trains_and_old_checkpoint_loads(
    new_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco_set(tmp_path, empty_last=True)
    detector = train_and_test_a_step(make_tiny(new_config, tmp_path))
    # mmdet 2.x wrote the classes under another name, and the optimizer beside them.
    state = {key: value.clone() for key, value in detector.state_dict().items()}
    meta = dict(mmdet_version="2.28.2", CLASSES=("square", "disc"), epoch=12)
    old = dict(meta=meta, state_dict=state, optimizer=dict(state={}))
    monkeypatch.chdir(tmp_path)
    write_checkpoint(old, Path("old_detector.pth"))
    for parameter in detector.parameters():
        parameter.data.zero_()
    report = load_fpn_detector(detector, "old_detector.pth")
    assert not report.new and not report.mismatched and not report.left_over
    for key, value in detector.state_dict().items():
        assert torch.equal(value, state[key]), key
