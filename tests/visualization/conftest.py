"""Detectors and an image that the tests of this folder share."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from torch import nn

from fpn_necks.detectors import load_detector
from fpn_necks.visualization.views import View, prepare
from tests.visualization.pictures import write_config, write_image, write_plain

Look = Callable[[str], tuple[nn.Module, View]]


@pytest.fixture(scope="session")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Return a detector by the name of its config, and the image as it sees it."""
    folder = tmp_path_factory.mktemp("visualization")
    image = write_image(folder)

    @functools.cache
    def build(name: str) -> tuple[nn.Module, View]:
        path = write_plain(folder) if name == "plain" else write_config(folder, name)
        model = load_detector(path, None)
        return model, prepare(model, image)

    return build
