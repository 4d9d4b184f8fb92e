"""What is different between two models, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.reports.text import plain
from steelyard.sealing.differences import Differences
from steelyard.sealing.reports.difference_words import headline, notes, parts

_INDENT = "             "


def render(said: Differences, *, width: int = 80, color: bool = False) -> str:
    """Return the differences as text; `width` and `color` change nothing, as it is a list."""
    del width, color
    return "\n".join(_lines(said)) + "\n"


def _lines(said: Differences) -> Iterator[str]:
    yield headline(said)
    for part in parts(said):
        yield ""
        yield part.title
        for line in part.lines:
            yield f"  {line.kind:<9}  {line.text}"
            # Leading blanks of a template's lines mean something, so each is kept.
            yield from (f"{_INDENT}{text[:1]}{_shown(text[1:])}" for text in line.lines)
    if notes(said):
        yield ""
        yield from (f"note: {note}" for note in notes(said))


def _shown(text: str) -> str:
    blanks = len(text) - len(text.lstrip(" "))
    return " " * min(blanks, 40) + plain(text, 500)
