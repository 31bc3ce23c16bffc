"""A real detector, with random weights, that several files test with."""

from __future__ import annotations

import pytest
from mmdet.apis import init_detector
from torch import nn

from tests.inference.small_detectors import NAMES, write_detector


@pytest.fixture(scope="package")
def detector(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """Of two stages; tests/cli/test_detect.py has one of one."""
    files = write_detector(tmp_path_factory.mktemp("detector"), NAMES[1])
    return init_detector(*map(str, files), device="cpu")
