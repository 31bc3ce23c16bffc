"""Results in words and in the columns of the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping

from .options import CORRECTED, RELEASED, Rules

# Gong et al. (arXiv 2011.02298), Tables 3 and 4.
COLUMNS = ("50_tiny", "50_tiny1", "50_tiny2", "50_tiny3", "50_small", "25_tiny")
COLUMNS += ("75_tiny",)


def paper_table(results: Mapping[str, float]) -> str:
    """Show results in per cent, as Tables 3 (MR) and 4 (AP) of the S-α paper do.

    A column is left out if it was not computed; a bucket without boxes shows a dash.
    """
    lines = []
    for metric in ("MR", "AP"):
        names = [f"{metric}{c}" for c in COLUMNS if f"{metric}{c}" in results]
        if names:
            values = [_percent(results[name]) for name in names]
            widths = [max(len(n), len(v)) for n, v in zip(names, values, strict=True)]
            lines += [_row(names, widths), _row(values, widths)]
    return "\n".join(lines)


def rules_in_words(rules: Rules) -> str:
    """Say which rules were used."""
    if rules == RELEASED:
        return "rules of the released evaluation, which published numbers follow"
    if rules == CORRECTED:
        return "corrected rules: not comparable to published numbers"
    return f"rules of its own, not comparable to published numbers: {rules}"


def _percent(value: float) -> str:
    return "-" if value < 0 else f"{100 * value:.2f}"


def _row(cells: list[str], widths: list[int]) -> str:
    return "  ".join(c.rjust(w) for c, w in zip(cells, widths, strict=True))
