"""What is different between two models: one value for each thing that a person would name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from steelyard.lineage.relation import Comparison


class Area(StrEnum):
    """Which part of a model a difference concerns; in the reader's order."""

    WEIGHTS = "weights"
    TEMPLATE = "template"
    TOKENIZER = "tokenizer"
    LICENSE = "license"
    LINEAGE = "lineage"
    CARD = "card"
    FILES = "files"


class Kind(StrEnum):
    """What became of a part."""

    ADDED = "added"
    REMOVED = "removed"
    RESHAPED = "reshaped"
    RETYPED = "retyped"
    RENAMED = "renamed"
    CHANGED = "changed"
    MOVED = "moved"
    """How far numbers are from what they were."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is different."""

    area: Area
    kind: Kind
    subject: str
    """What it is: a tensor, a token, a field, a file."""
    old: str | None = None
    """What it was, where that can be said in a few words."""
    new: str | None = None
    lines: tuple[str, ...] = ()
    """For texts at hand, the difference line by line, as `diff -u` writes it."""


@dataclass(frozen=True, slots=True)
class Differences:
    """Everything that is different between two models."""

    old: str
    new: str
    found: tuple[Difference, ...]
    comparison: Comparison | None = None
    """How far the weights moved, where both were at hand."""
    notes: tuple[str, ...] = ()
    """What could not be compared, and what differs though the models are the same."""

    @property
    def same(self) -> bool:
        """Tell whether nothing is different."""
        return not self.found

    def of(self, area: Area) -> tuple[Difference, ...]:
        """Return what is different in one area."""
        return tuple(each for each in self.found if each.area is area)
