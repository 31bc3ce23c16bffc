"""Looking at what modules compute, for the time of a ``with`` block and no longer."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def observe(
    modules: Mapping[Hashable, nn.Module], look: Callable[[Any, tuple, Any], None]
) -> Iterator[None]:
    """Call a function with what modules get and return inside the ``with`` block.

    It is called at once, before a later step can change the tensors in place. Models
    are not edited, and outside the block nothing of this exists.

    Args:
        modules: by a name of one's own.
        look: gets the name, the positional inputs and the output of every call.
    """

    def hook(name: Hashable, _module: nn.Module, inputs: tuple, output: Any) -> None:
        look(name, inputs, output)

    with ExitStack() as stack:
        for name, module in modules.items():
            handle = module.register_forward_hook(partial(hook, name))
            stack.callback(handle.remove)
        yield


def find_modules(
    model: nn.Module, kind: type[Module], missing: str | None = None
) -> dict[str, Module]:
    """Return the modules of a class by their path below the model, in its order.

    Raises:
        ValueError: there is none, and `missing` says what to call that.
    """
    found = {path: m for path, m in model.named_modules() if isinstance(m, kind)}
    if missing and not found:
        raise ValueError(f"the {type(model).__name__} {missing}")
    return found


def level_number(image_size: tuple[int, int], map_size: tuple[int, int]) -> int:
    """Return log2 of a map's stride, which is the number in C3 or P3.

    Args:
        image_size: height and width in pixels of what the network sees.
        map_size: height and width of the map, at least 1.

    Example:
        >>> level_number((800, 1344), (100, 168))
        3
    """

    def mismatch(number: int) -> int:
        # Sides are rounded up on the way: 160 pixels are two cells of 128.
        return sum(
            abs(-(-pixels // 2**number) - cells)
            for pixels, cells in zip(image_size, map_size, strict=True)
        )

    return min(range(max(image_size).bit_length() + 1), key=mismatch)


def level_numbers(
    image_size: tuple[int, int], map_sizes: Sequence[tuple[int, int]]
) -> list[int]:
    """Return different numbers for the maps of one pyramid, the finest the lowest.

    Two maps of one size (a dilated stage, or the smallest levels of a small image)
    have one stride; the second is counted on, as C5 of a backbone that ends at stride
    16.

    Example:
        >>> level_numbers((800, 1344), [(100, 168), (50, 84), (50, 84)])
        [3, 4, 5]
    """
    order = sorted(range(len(map_sizes)), key=lambda i: -math.prod(map_sizes[i]))
    numbers = [0] * len(map_sizes)
    last = -1
    for i in order:
        last = numbers[i] = max(level_number(image_size, map_sizes[i]), last + 1)
    return numbers
