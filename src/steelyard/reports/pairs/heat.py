"""The picture in characters: a heat line for each role, one character for each layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from steelyard.reports.pairs.figures import share
from steelyard.reports.pairs.parts import stack_name
from steelyard.reports.pairs.picture import LEVELS, Origin, Picture, StackPicture, level

_BLOCKS: Final = "·▁▂▃▄▅▆▇█"
_LETTERS: Final = ".:-=+*%#@"
_SHORT: Final = ("equal", "to 0.1", "0.3", "1", "3", "10", "30", "100", "more")
_LONGEST_LABEL: Final = 20
_EQUAL_OUTSIDE: Final = "equal outside"
"""The label of weights outside of layers that did not change."""
_BAND: Final = 10
"""Bands hold a multiple of this many layers, and so do the numbers above them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a label and what stands beside it."""

    label: str
    text: str
    levels: tuple[int | None, ...] = ()
    """For each character of a heat line, its level; empty for other lines."""
    heading: bool = False


def glyphs(*, only_ascii: bool) -> str:
    """Return a character for each level."""
    return _LETTERS if only_ascii else _BLOCKS


def legend(*, only_ascii: bool) -> str:
    """Explain the characters."""
    shown = zip(glyphs(only_ascii=only_ascii), _SHORT, strict=True)
    return "  ".join(["in %:", *(f"{glyph} {text}" for glyph, text in shown)])


def lines(said: Picture, *, width: int, only_ascii: bool) -> tuple[Line, ...]:
    """Draw the picture in lines of `width` characters; none where there is nothing to see."""
    loud = any(not stack.is_quiet for stack in said.stacks)
    if not loud and not any(value for _, value in said.singles):
        return ()
    room = width - label_width(said)
    drawn: list[Line] = []
    for stack in said.stacks:
        if not stack.is_quiet:
            drawn += _stack(stack, room, only_ascii)
        elif stack.equal:
            drawn.append(Line(_cut(stack_name(stack.name)), "equal in every role", heading=True))
    marks = glyphs(only_ascii=only_ascii)
    for name, value in said.singles:
        if value:
            grade = level(value)
            drawn.append(Line(_cut(name), f"{marks[grade]} {share(value)}", (grade,)))
    equal = [name for name, value in said.singles if not value]
    if equal:
        drawn.append(Line(_EQUAL_OUTSIDE, ", ".join(equal)))
    return tuple(drawn)


def label_width(said: Picture) -> int:
    """Return the width of the column of labels, with the space after it."""
    labels = [name if value else _EQUAL_OUTSIDE for name, value in said.singles]
    for stack in said.stacks:
        labels += [stack_name(stack.name), *(row.role for row in stack.rows), "layer map"]
    return max((len(_cut(name)) for name in labels), default=0) + 2


def _cut(text: str) -> str:
    """Shorten a label; of a tensor's name, the end tells more."""
    if len(text) <= _LONGEST_LABEL:
        return text
    if "." in text and " " not in text:
        return f"…{text[1 - _LONGEST_LABEL :]}"
    return f"{text[: _LONGEST_LABEL - 1]}…"


def _stack(stack: StackPicture, room: int, only_ascii: bool) -> Iterable[Line]:
    count = len(stack.columns)
    bands = -(-count // max(room, _BAND))
    wide = -(-count // bands)
    if bands > 1:
        wide = min(-(-wide // _BAND) * _BAND, max(room // _BAND, 1) * _BAND)
    for start in range(0, count, wide):
        yield Line(_cut(stack_name(stack.name)), _ruler(stack, start, wide), heading=True)
        yield from _band(stack, start, wide, only_ascii)
    if stack.equal:
        yield Line("equal", ", ".join(stack.equal) if stack.rows else "every role")
    if stack.map:
        yield Line("layer map", stack.map)
    if stack.each > 1:
        yield Line("", f"each character stands for {stack.each} layers, the largest change of them")


def _band(stack: StackPicture, start: int, wide: int, only_ascii: bool) -> Iterable[Line]:
    columns = stack.columns[start : start + wide]
    if any(column.origin not in (Origin.SAME, None) for column in columns):
        yield Line("origin", "".join(column.origin or " " for column in columns))
    marks = glyphs(only_ascii=only_ascii)
    for row in stack.rows:
        levels = tuple(
            None if value is None else level(value) for value in row.values[start : start + wide]
        )
        text = "".join(" " if grade is None else marks[grade] for grade in levels)
        yield Line(_cut(row.role), text, levels)


def _ruler(stack: StackPicture, start: int, wide: int) -> str:
    """Number every tenth column, by its first layer."""
    columns = stack.columns[start : start + wide]
    ruler = ""
    for number in range(0, len(columns), _BAND):
        ruler = f"{ruler:{number}}{columns[number].first}"
    return ruler


def origin_legend(said: Picture) -> str:
    """Explain the line of origins, where there is one."""
    found = {column.origin for stack in said.stacks for column in stack.columns}
    if not found & {Origin.MOVED, Origin.NONE}:
        return ""
    return "= the base's layer of that number  > another of its layers  x none of them"


assert len(_BLOCKS) == len(_LETTERS) == len(_SHORT) == LEVELS  # noqa: S101  they are one scale
