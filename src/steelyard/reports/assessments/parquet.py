"""Results of a table as Parquet, for data frames and query engines."""

from __future__ import annotations

import io
from collections.abc import Sequence

from steelyard.errors import ConfigError
from steelyard.reports.assessments.rows import AssessedTable, Cell


def render(table: AssessedTable) -> bytes:
    """Return one row for each row.

    Raises:
        ConfigError: If pyarrow, which writes it, is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "Parquet is written by pyarrow, which is not installed",
            fix='install it: pip install "steelyard[parquet]"',
        ) from None
    rows = table.lines
    columns = list(dict.fromkeys(name for row in rows for name in row))
    data = {name: [row.get(name) for row in rows] for name in columns}
    arrays = {name: pyarrow.array(_of_one_kind(values)) for name, values in data.items()}
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), stream)
    return stream.getvalue()


def _of_one_kind(values: Sequence[Cell]) -> Sequence[Cell]:
    """Make a column of numbers floats, so that one large number does not break it."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    known = [v for v in values if v is not None]
    if len(numbers) < len(known) or all(isinstance(v, int) and v < 2**53 for v in numbers):
        return values
    return [None if v is None else float(v) for v in values]
