"""Facts from files that people write: YAML with one set of facts, CSV with one in each row."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from steelyard.analyzers.stated import read_value
from steelyard.errors import ConfigError, FactError
from steelyard.facts import Value, term, vocabulary
from steelyard.rules.lines import Path as Place
from steelyard.rules.lines import Tree, read_yaml

_LARGEST: Final = 2_000_000
_MOST_COLUMNS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table of facts."""

    label: str
    """What the table calls it: its first column that is no fact, else its number."""
    facts: Mapping[str, Value]
    """Empty cells are left out: what they would say is unknown."""
    other: Mapping[str, str]
    """The columns that are no facts."""


def read_facts(path: Path) -> dict[str, Value]:
    """Read one set of facts from YAML: `training.compute: 4e25`, or nested by subject.

    Raises:
        ConfigError: If the file cannot be read or is no table of facts.
        PackError: If it is not YAML; with file and line.
        FactError: If a name or a value does not fit the vocabulary; with file and line.
    """
    text = read_text(path)
    tree, lines = read_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigError(
            "the file holds no facts", fix="write one `name: value` a line", file=str(path)
        )
    if set(tree) == {"facts"} and isinstance(tree["facts"], dict):
        pairs = list(_flatten(tree["facts"], ("facts",)))
    else:
        pairs = list(_flatten(tree, ()))
    facts: dict[str, Value] = {}
    for name, value, place in pairs:
        try:
            facts[name] = read_value(name, value)
        except FactError as error:
            error.file, error.line = str(path), lines.get(place)
            raise
    return facts


def _flatten(
    tree: Mapping[str, Tree], at: Place, prefix: str = ""
) -> Iterator[tuple[str, object, Place]]:
    for key, value in tree.items():
        place = (*at, key)
        if isinstance(value, dict):
            yield from _flatten(value, place, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value, place


def read_text(path: Path) -> str:
    """Read a file of moderate size that a person wrote.

    Raises:
        ConfigError: If it cannot be read, is too large or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ConfigError(f"more than {_LARGEST:,} bytes", file=str(path))
        return data.decode("utf-8-sig")
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError("the file cannot be read", why=why, file=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError("the file is not UTF-8", why=error.reason, file=str(path)) from None


def read_rows(path: Path) -> Iterator[Row]:
    """Read a table, row by row: columns are names of facts, others are carried along.

    A cell is written as for `--fact`: `1e25`, `9e24..1.2e25`, `yes`, `text,image`. An empty cell
    is unknown.

    Raises:
        ConfigError: If the file cannot be read or is no table.
        FactError: If a column or a cell does not fit the vocabulary; with file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _rows(stream, path)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError("the table cannot be read", why=why, file=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError("the table is not UTF-8", why=error.reason, file=str(path)) from None


def _rows(stream: TextIO, path: Path) -> Iterator[Row]:
    reader = csv.reader(stream, strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        _check(header, path)
        for number, cells in enumerate(reader, 1):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise ConfigError(
                    f"{len(cells)} cells in a table of {len(header)} columns",
                    fix="quote cells that hold a comma",
                    file=str(path),
                    line=reader.line_num,
                )
            yield _row(header, cells, number, path, reader.line_num)
    except csv.Error as error:
        raise ConfigError(
            "the table does not parse", why=str(error), file=str(path), line=reader.line_num
        ) from None


def _check(header: list[str], path: Path) -> None:
    if not header or len(header) > _MOST_COLUMNS or len(set(header)) < len(header):
        raise ConfigError(
            "the table has no header, too many columns, or a column twice",
            fix="name each column once, after a fact: see steelyard facts",
            file=str(path),
            line=1,
        )
    for column in header:
        if "." in column and column not in vocabulary():
            near = difflib.get_close_matches(column, vocabulary(), n=3)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise FactError(
                f"there is no fact named {column!r}",
                fix=f"{hint}all names: steelyard facts; other columns have no dot",
                file=str(path),
                line=1,
            )
    if not any(column in vocabulary() for column in header):
        raise ConfigError(
            "no column of the table is a fact",
            fix="name columns after facts, such as training.compute: see steelyard facts",
            file=str(path),
            line=1,
        )


def _row(header: list[str], cells: list[str], number: int, path: Path, line: int) -> Row:
    facts: dict[str, Value] = {}
    other: dict[str, str] = {}
    for column, cell in zip(header, cells, strict=True):
        if column not in vocabulary():
            other[column] = cell
        elif cell.strip():
            try:
                facts[column] = term(column).parse(cell)
            except FactError as error:
                error.file, error.line = str(path), line
                raise
    return Row(next(iter(other.values()), "") or str(number), facts, other)
