"""The results of a run in a page of the documentation, between two markers."""

from __future__ import annotations

from pathlib import Path

from fpn_necks.reproduction.results import write_text

BEGIN = "<!-- results: written by tools/check_gpu.py --write-page -->"
END = "<!-- end of the results -->"


def check_page(path: Path) -> str:
    """Return a page's text.

    Raises:
        ValueError: it does not have both markers once, in order.
        OSError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    if (
        text.count(BEGIN) != 1
        or text.count(END) != 1
        or text.find(BEGIN) > text.find(END)
    ):
        raise ValueError(f"{path} must have the lines '{BEGIN}' and '{END}', once each")
    return text


def write_page(path: Path, results: str) -> None:
    """Put results between a page's markers, in the place of what is there.

    Raises:
        ValueError: see ``check_page``.
        OSError: the page cannot be read or written.
    """
    text = check_page(path)
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_text(path, f"{before}{BEGIN}\n\n{results.strip()}\n\n{END}{after}")
