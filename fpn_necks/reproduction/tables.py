"""Finds the tables that come with the package.

Each paper is a YAML file in the folder ``tables`` beside this module; its fields are
those of the records, and ``reading.py`` says what is wrong with one.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from .reading import read_paper
from .records import Paper, Table


def tables_folder() -> Path:
    """Return the folder of the shipped tables, one YAML file per paper."""
    return Path(__file__).resolve().parent / "tables"


def load_papers(folder: Path | None = None) -> list[Paper]:
    """Read and check all papers.

    Args:
        folder: Folder of the YAML files; default: the shipped ones.

    Returns:
        The papers in the order of their files' names.

    Raises:
        ValueError: If a file breaks a rule, or an id stands for two tables; the message
            names file, table, row and field.
        FileNotFoundError: If the folder has no YAML file.
    """
    folder = folder or tables_folder()
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise FileNotFoundError(f"no tables (*.yaml) in {folder}")
    papers, places = [], {}
    for file in files:
        paper = read_paper(file)
        papers.append(paper)
        for table in paper.tables:
            if table.id in places:
                raise ValueError(
                    f"{file.name}, table '{table.id}', field 'id': "
                    f"{places[table.id]} has a table of this id already"
                )
            places[table.id] = file.name
    return papers


def load_tables(folder: Path | None = None) -> dict[str, Table]:
    """Read all tables; arguments and errors as ``load_papers``.

    Returns:
        The tables by their ids, in the order of the papers.
    """
    return {table.id: table for paper in load_papers(folder) for table in paper.tables}


def find_table(table_id: str, folder: Path | None = None) -> Table:
    """Return one table.

    Args:
        table_id: Such as ``s-alpha-table-3``.
        folder: As in ``load_papers``.

    Raises:
        ValueError: If there is no such table, with the most similar ids.
    """
    tables = load_tables(folder)
    if table_id in tables:
        return tables[table_id]
    similar = difflib.get_close_matches(table_id, tables, n=3, cutoff=0.5)
    known = f"did you mean {', '.join(similar)}?" if similar else ", ".join(tables)
    raise ValueError(f"there is no table '{table_id}': {known}")
