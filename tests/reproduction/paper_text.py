"""Finds the numbers of a table's rows in the text that a paper was converted to."""

import re
from collections.abc import Sequence

from fpn_necks.reproduction import Row, Table

SPAN = 60  # lines that a table can cover, prose between its halves included


def numbers_of(line: str) -> list[float]:
    """Return the numbers of a line without its Markdown, LaTeX and HTML."""
    line = re.sub(r"</?\w+>|[$*\\{}]", " ", line)
    # A cell's border cut some numbers behind their point: "41.0 21.<tab>7 42.8".
    line = re.sub(r"(\d\.)\t(\d) (?=\d)", r"\1\2 ", line)
    return [float(number) for number in re.findall(r"\d+\.\d+|\d+", line)]


def is_row(line: str) -> bool:
    """Whether a line is a row of results: cells, and decimals in two of them."""
    cells = [re.sub(r"</?\w+>|[$*]", "", cell).strip() for cell in line.split("\t")]
    return sum(bool(re.match(r"[1-9]\d*\.\d", cell)) for cell in cells) >= 2


def stands_in(wanted: Sequence[float], found: Sequence[float]) -> bool:
    """Whether the wanted numbers stand among the found ones, in their order."""
    rest = iter(found)
    return all(number in rest for number in wanted)


def numbers_of_row(row: Row) -> list[float]:
    return [value for value in row.values.values() if value is not None]


def lines_of_table(table: Table, text: Sequence[str]) -> dict[str, list[int]]:
    """Return the lines that each row can be, scattered rows and empty ones left out.

    Only lines near those of the other rows count, in the rows' order: a number may
    stand anywhere in a paper, but rows are neighbours. Two rows of a figure can share
    a line, since its numbers are read in sentences.
    """
    rows = [r for r in table.rows if r.layout == "line" and numbers_of_row(r)]
    found = list(map(numbers_of, text))
    candidates = {
        row.name: [i for i, x in enumerate(found) if stands_in(numbers_of_row(row), x)]
        for row in rows
    }
    for row in rows:
        assert candidates[row.name], (
            f"{table.id}: no line has the numbers of {row.name}"
        )
    if not rows:
        return {}
    step = 0 if "-figure-" in table.id else 1
    for start in candidates[rows[0].name]:
        line, lines = start - step, {}
        for row in rows:
            later = [i for i in candidates[row.name] if i >= line + step]
            if not later or later[0] - start > SPAN:
                break
            line = later[0]
            lines[row.name] = [i for i in later if i - start <= SPAN]
        else:
            return lines
    raise AssertionError(f"{table.id}: its rows stand nowhere in this order")
