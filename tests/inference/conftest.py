"""The real detectors, with random weights, that several files test with."""

from __future__ import annotations

import pytest
from mmdet.apis import init_detector
from torch import nn

from tests.inference.small_detectors import NAMES, write_detector


@pytest.fixture(scope="package", params=NAMES)
def detector(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> nn.Module:
    files = write_detector(tmp_path_factory.mktemp("detector"), request.param)
    return init_detector(*map(str, files), device="cpu")
