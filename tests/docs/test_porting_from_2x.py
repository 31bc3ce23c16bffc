"""docs/porting_from_2x.md: its config trains, with its neck."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config

from fpn_necks.checkpoints import write_checkpoint
from fpn_necks.warm_start import load_fpn_detector
from tests.docs.code_blocks import modules_taken_back
from tests.tiny_detectors import make_tiny, train_and_test_a_step
from tests.tiny_sets import write_coco_set

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "porting_from_2x.md").read_text()
NEW_NECK, NEW_CONFIG = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def new_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """Write the page's neck as a module, which its config imports."""
    register_all_modules()
    (tmp_path / "context_fpn.py").write_text(NEW_NECK)
    (tmp_path / "my_config.py").write_text(NEW_CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    with modules_taken_back({"context_fpn"}):
        yield Config.fromfile(tmp_path / "my_config.py")


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
