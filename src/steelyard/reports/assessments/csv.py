"""Results of a table as CSV."""

from __future__ import annotations

import csv
import io

from steelyard.reports.assessments.rows import AssessedTable, Cell

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(table: AssessedTable) -> str:
    """Return one line for each row, after a header.

    Text that a spreadsheet would run as a formula is quoted by an apostrophe.
    """
    rows = table.lines
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_safe(name) for name in columns])
    writer.writerows([[_safe(row.get(name)) for name in columns] for row in rows])
    return stream.getvalue()


def _safe(value: Cell) -> Cell:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
