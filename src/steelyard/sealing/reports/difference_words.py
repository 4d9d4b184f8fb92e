"""What is different between two models, in words: one heading an area, one line a thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from steelyard.lineage.relation import EditKind
from steelyard.reports.pairs.edits import edit_words
from steelyard.reports.text import counted, plain
from steelyard.sealing.differences import Area, Difference, Differences, Kind

TITLES: Final = {
    Area.WEIGHTS: "Weights",
    Area.TEMPLATE: "Chat template",
    Area.TOKENIZER: "Tokenizer",
    Area.LICENSE: "License",
    Area.LINEAGE: "Lineage",
    Area.CARD: "Card",
    Area.FILES: "Files",
}
_NOUNS: Final = {
    Area.WEIGHTS: "tensor",
    Area.TOKENIZER: "token",
    Area.CARD: "part",
    Area.FILES: "file",
}
_FEW: Final = 12
"""Things of one kind that are named; of more, the first ones and their number."""
_NAME: Final = 300
_VALUE: Final = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report."""

    kind: str
    text: str
    lines: tuple[str, ...] = ()
    """A text's difference line by line."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is said of one area."""

    title: str
    lines: tuple[Line, ...]


def headline(said: Differences) -> str:
    """Say in a sentence whether two models are the same, and where they differ."""
    if said.same:
        return f"{_name(said.old)} and {_name(said.new)} are the same"
    names = [TITLES[area].lower() for area in Area if said.of(area)]
    return f"{_name(said.old)} and {_name(said.new)} differ in {_joined(names)}"


def parts(said: Differences) -> tuple[Part, ...]:
    """Say what is different, area by area."""
    return tuple(Part(TITLES[area], tuple(_lines(area, said))) for area in Area if said.of(area))


def notes(said: Differences) -> tuple[str, ...]:
    """Return what a person should know besides."""
    return tuple(plain(note, 500) for note in dict.fromkeys(said.notes))


def _lines(area: Area, said: Differences) -> Iterable[Line]:
    found = said.of(area)
    for kind in Kind:
        alike = [each for each in found if each.kind is kind]
        if area is Area.WEIGHTS and kind is Kind.MOVED:
            yield from _moved(said)
            continue
        whole = [each for each in alike if each.subject == "identity"]
        yield from (_line(each) for each in whole)
        rest = [each for each in alike if each.subject != "identity"]
        yield from (_line(each) for each in rest[:_FEW])
        if len(rest) > _FEW:
            noun = _NOUNS.get(area, "more")
            count = counted(len(rest) - _FEW, noun) if area in _NOUNS else str(len(rest) - _FEW)
            yield Line(kind.value, f"and {count} more")


def _moved(said: Differences) -> Iterable[Line]:
    """Say how far the weights moved, as a comparison of the two models says it."""
    if said.comparison is None:
        return
    for edit in said.comparison.edits:
        if edit.kind is EditKind.IDENTICAL:
            # The identity knows better: what changed lies between the rows of the sample.
            yield Line(Kind.MOVED.value, "in none of the rows that were sampled")
            return
        told = edit_words(edit)
        yield Line(Kind.MOVED.value, f"{told.label}: {told.text}")
    changes = sorted(change.relative for change in said.comparison.changes)
    if changes and changes[-1] > 0:
        middle, most = _percent(changes[len(changes) // 2]), _percent(changes[-1])
        sampled = "1 matrix" if len(changes) == 1 else f"{len(changes):,} matrices"
        text = f"by {middle} of their size in the middle, {most} at most ({sampled} sampled)"
        yield Line(Kind.MOVED.value, text)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _line(each: Difference) -> Line:
    subject = _name(each.subject)
    if each.kind is Kind.RENAMED:
        return Line(each.kind.value, f"{subject} (was {_name(each.old or '')})")
    values = [_value(value) for value in (each.old, each.new) if value is not None]
    text = subject if not values else f"{subject}: {' → '.join(values)}"
    if each.kind is Kind.ADDED and values:
        text = f"{subject}: {values[-1]}"
    return Line(each.kind.value, text, each.lines)


def _name(text: str) -> str:
    # A token may be white space or control characters alone, which must be seen.
    return plain(text, _NAME) or repr(text)[:_NAME]


def _value(text: str) -> str:
    return plain(text, _VALUE) or repr(text)[:_VALUE]


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
