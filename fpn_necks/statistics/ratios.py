"""From counts per level to fusion factors (S-α paper, Eq. 2 and Alg. 1)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from fpn_necks.layers.arguments import check_int

RELEASED_LIMITS = (0.2, 2.0)
"""The range to which the code released with the paper clamps α."""


def fusion_factors(
    counts: Sequence[int],
    num_connections: int,
    limits: tuple[float, float] | None = None,
    level_names: Sequence[str] | None = None,
) -> list[float]:
    """Compute one α per top-down connection: the ratio of neighbouring counts.

    α_i^{i+1} = N_{i+1} / N_i; the highest connection's numerator sums all higher
    levels, so α_4^5 = (N_5 + N_6) / N_4. A zero numerator gives 0, a zero denominator
    gives 1, plain FPN, also when both are zero: without objects there is nothing to
    weigh. Warnings name the levels without objects that matter for a factor, and say so
    if the factors do not fit the method.

    Args:
        counts: per pyramid level, highest resolution first, at least 0.
        num_connections: number of top-down connections, at least 0.
        limits: smallest and largest α; ``None`` is unlimited.
        level_names: names for messages; by default ``'level 0'`` and so on.

    Returns:
        ``num_connections`` factors, highest resolution first.

    Raises:
        ValueError: there are fewer levels than the connections join, a count is
            negative, or no level has any object.
    """
    counts = [int(count) for count in counts]
    check_int("num_connections", num_connections, minimum=0)
    if len(counts) < num_connections + 1:
        raise ValueError(
            f"counts must have at least {num_connections + 1} levels for "
            f"{num_connections} connections, got {len(counts)}: {counts}"
        )
    if min(counts) < 0:
        raise ValueError(f"counts must be at least 0, got {counts}")
    if sum(counts) == 0:
        raise ValueError(
            f"counts must not be zero on every level, got {counts}: there is no box to "
            "derive fusion factors from"
        )
    names = level_names or [f"level {i}" for i in range(len(counts))]
    factors = []
    for i in range(num_connections):
        last = i == num_connections - 1
        upper = sum(counts[i + 1 :]) if last else counts[i + 1]
        factors.append(upper / counts[i] if counts[i] else 1.0)
        joined = f"the fusion factor of its connection with {names[i]}"
        if counts[i] == 0:
            warnings.warn(
                f"{names[i]} has no object, so the fusion factor of its connection "
                f"with {names[i + 1]} is undefined; 1 is used",
                stacklevel=2,
            )
        elif upper == 0:
            levels = f"{names[i + 1]}{' and higher levels' * last}"
            warnings.warn(f"no object on {levels}: {joined} is 0", stacklevel=2)
    low, high = limits or (0.0, math.inf)
    clamped = [min(max(factor, low), high) for factor in factors]
    counted = ", ".join(f"{factor:.3g}" for factor in factors)
    counted = f"the training set gives the fusion factors {counted}"
    if clamped != factors:
        counted += f", clamped to [{low:g}, {high:g}]"
    if any(factor >= 1 for factor in factors):
        warnings.warn(
            f"{counted}: S-α suits datasets whose objects lie on the finest levels, "
            "where every α is below 1; compare with a plain FPN (fusion_factor=1.0)",
            stacklevel=2,
        )
    elif clamped != factors:
        warnings.warn(
            f"{counted}: the levels above have hardly any object", stacklevel=2
        )
    return clamped
