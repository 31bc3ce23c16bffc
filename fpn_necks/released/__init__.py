"""For people who hold the authors' checkpoints: the same numbers from our modules.

``build`` takes the constructor arguments of a released class and returns our module set
to compute the same; ``convert`` renames a released state dict so that the module loads
it. ``fpn-necks convert`` does whole detectors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from . import asff, augfpn, drfpn, soft_roi
from .method import ReleasedMethod

METHODS: dict[str, ReleasedMethod] = {
    "asff": asff.METHOD,
    "drfpn": drfpn.METHOD,
    "highfpn": augfpn.HIGHFPN,
    "highfpn-retinanet": augfpn.HIGHFPN_RETINANET,
    "soft-roi": soft_roi.METHOD,
}
"""Every released class that is served, by the name of its method."""


def build(method: str, **released_arguments: Any) -> nn.Module:
    """Return our module, set to equal the class that the authors released.

    Args:
        method: one of ``METHODS``.
        **released_arguments: the arguments of the released class's constructor.

    Raises:
        TypeError: the released class has no such argument, or its type is wrong.
        ValueError: the method is unknown, or a value is not allowed.
    """
    return find_method(method).build(**released_arguments)


def convert(method: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of a released state dict to those of our module.

    Args:
        method: one of ``METHODS``.
        state_dict: of the released class alone, without a prefix.

    Raises:
        ValueError: the method is unknown; or names are missing or unknown, all of which
            the message lists.
    """
    names = checked_names(method, state_dict)
    return {names[name]: tensor for name, tensor in state_dict.items()}


def checked_names(method: str, released: Collection[str]) -> dict[str, str]:
    """Return our name for every name of a released state dict; see `convert`."""
    names = find_method(method).names(released)
    unknown = sorted(set(released) - set(names))
    # Checkpoints of PyTorch below 0.4.1 do not count batches.
    missing = sorted(
        name
        for name in names
        if name not in released and not name.endswith("num_batches_tracked")
    )
    if unknown or missing:
        raise ValueError(
            f"this is no state dict of the released {method}: "
            f"missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
        )
    return names


def find_method(method: str) -> ReleasedMethod:
    """Return an entry of ``METHODS``, or raise a ValueError that lists them."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {sorted(METHODS)}, got {method!r}")
    return METHODS[method]
