"""Results in words and in the columns of the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping

# Gong et al. (arXiv 2011.02298), Tables 3 and 4.
COLUMNS = "50_tiny 50_tiny1 50_tiny2 50_tiny3 50_small 25_tiny 75_tiny".split()


def paper_table(results: Mapping[str, float], released: bool) -> str:
    """Show results in per cent, as Tables 3 (MR) and 4 (AP) of the S-α paper do.

    The first line names the rules. A column is left out if it was not computed; a
    bucket without boxes shows a dash.
    """
    rules = "corrected rules: not comparable to published numbers"
    if released:
        rules = "rules of the released evaluation, which published numbers follow"
    lines = [f"{rules}; per cent"]
    for metric in ("MR", "AP"):
        names = [f"{metric}{c}" for c in COLUMNS if f"{metric}{c}" in results]
        values = ["-" if (v := results[n]) < 0 else f"{100 * v:.2f}" for n in names]
        if names:
            lines.append("  ".join(names))
            cells = zip(names, values, strict=True)
            lines.append("  ".join(value.rjust(len(name)) for name, value in cells))
    return "\n".join(lines)
