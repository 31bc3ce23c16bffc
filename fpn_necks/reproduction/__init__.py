"""The result tables of the papers as data: what each row printed and what trains it.

The numbers are the papers'; nothing here was measured by this library.
"""

from .tables import (
    Metric,
    Paper,
    Pretraining,
    Row,
    Table,
    find_table,
    load_papers,
    load_tables,
)

__all__ = [
    "Metric",
    "Paper",
    "Pretraining",
    "Row",
    "Table",
    "find_table",
    "load_papers",
    "load_tables",
]
