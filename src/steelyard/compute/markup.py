"""Take tables and markup out of Markdown, as far as figures about training need it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_LONGEST: Final = 4000
_MOST_ROWS: Final = 500
_MOST_CELLS: Final = 40
_POWER = re.compile(r"10\s?<sup>\s?(\d{2})\s?</sup>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,300}>")
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()]{0,500}\)")
_RULE = re.compile(r"[\s|:-]+")
_RAISED = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789"
)
_RAISED_POWER = re.compile("10([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]{2})")
_CELL = re.compile(r"<t[dh]\b", re.IGNORECASE)
_ROW = re.compile(r"<tr\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    line: int
    cells: Sequence[str]
    head: Sequence[str]
    """The cells of the table's first row; empty for that row itself."""


def plain(text: str) -> str:
    """Take emphasis, links, tags and escapes off a text, which becomes no longer."""
    text = _POWER.sub(r"10^\1", text[:_LONGEST])
    text = _RAISED_POWER.sub(lambda match: "10^" + match[1].translate(_RAISED), text)
    text = _TAG.sub(" ", _LINK.sub(r"\1", text))
    text = text.replace("\\times", "\u00d7").replace("&nbsp;", " ").replace("$", "")
    return text.replace("**", "").replace("__", "").replace("`", "").replace("\\", "")


def rows(lines: Iterable[tuple[int, str]]) -> tuple[list[Row], list[tuple[int, str]]]:
    """Tell tables from text: return the rows of all tables, and the numbered lines that are none.

    Tables are those of Markdown (pipes) and of HTML. Sizes are bounded; what is beyond is dropped.
    """
    found: list[Row] = []
    text: list[tuple[int, str]] = []
    head: Sequence[str] = ()
    markup: list[tuple[int, str]] = []
    last, inside = -1, False
    for number, line in lines:
        lowered = line[:_LONGEST].lower()
        inside = inside or "<table" in lowered
        if inside:
            markup.append((number, line[:_LONGEST]))
            if "</table" in lowered:
                found += _html(markup)
                markup, inside = [], False
        elif line.count("|") >= 2:
            head = head if last == number - 1 else ()
            last = number
            if not _RULE.fullmatch(line[:_LONGEST]) and len(found) < _MOST_ROWS:
                cells = _cells(line)
                found.append(Row(number, cells, head))
                head = head or cells
        else:
            text.append((number, line))
    return found + _html(markup), text


def _cells(line: str) -> list[str]:
    parts = line[:_LONGEST].strip().removeprefix("|").removesuffix("|").split("|", _MOST_CELLS)
    return [" ".join(plain(part).split()) for part in parts]


def _html(lines: Sequence[tuple[int, str]]) -> list[Row]:
    """Read an HTML table row by row, each at the line where it starts."""
    found: list[Row] = []
    pending: list[str] = []
    start, head = 0, list[str]()
    for number, line in [*lines, (0, "<tr")]:
        before, *starts = _ROW.split(line)
        pending.append(before)
        for rest in starts:
            parts = _CELL.split(" ".join(pending)[: 4 * _LONGEST])[1:]
            cells = [" ".join(plain("<td" + part).split()) for part in parts[:_MOST_CELLS]]
            if cells and len(found) < _MOST_ROWS:
                found.append(Row(start, cells, head))
                head = head or cells
            pending, start = [rest], number
    return found
