"""mmcv's conv block, with errors that say which setting is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcv.cnn import ConvModule

ConvSettings = Mapping[str, Any]
"""``conv_cfg``, ``norm_cfg`` and ``act_cfg`` as mmcv's ``ConvModule`` takes them."""


def conv_block(*args: Any, **settings: Any) -> ConvModule:
    """Build mmcv's ``ConvModule``, whose own errors are asserts without a message.

    Args:
        *args: those of ``ConvModule``.
        **settings: those of ``ConvModule``.

    Raises:
        TypeError: ``conv_cfg``, ``norm_cfg`` or ``act_cfg`` is no dict.
        ValueError: mmcv cannot build what they describe.
    """
    named = {k: v for k, v in settings.items() if k.endswith("_cfg")}
    for name, value in named.items():
        if not isinstance(value, Mapping | None):
            raise TypeError(f"{name} must be a dict or None, got {value!r}")
    plain = {k: None if v is None else dict(v) for k, v in named.items()}
    try:
        return ConvModule(*args, **(settings | plain))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in plain.items())
        raise ValueError(
            f"{shown}: mmcv cannot build a conv block of them: "
            f"{type(error).__name__}: {error}"
        ) from error
