"""Small configs of whole runs for the tests of costs."""

from typing import Any

from mmengine.config import Config

from tests.tiny_detectors import load_config, shrink

SIZE = (64, 96)


def tiny_config(name: str, **options: Any) -> Config:
    """Return a shipped config, narrow, with options by key (``__`` is the dot)."""
    config = shrink(load_config(name))
    config.merge_from_dict({k.replace("__", "."): v for k, v in options.items()})
    return config
