"""The currency of the program: one claim about a model, its basis and its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from steelyard.facts.interval import Interval

Value = bool | int | float | Interval | date | str | frozenset[str]
"""What a fact can say. A quantity that is not exactly known is an `Interval`."""


class Basis(StrEnum):
    """How a fact is known, strongest first."""

    MEASURED = "measured"
    """Read from the model's own bytes."""
    DERIVED = "derived"
    """Computed from other facts."""
    DECLARED = "declared"
    """A document or a person says so."""
    ASSUMED = "assumed"
    """A default, which the report names as such."""

    @property
    def strength(self) -> int:
        """Rank the basis: a larger number is stronger."""
        return len(Basis) - list(Basis).index(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a fact comes from. Every field that does not apply is None."""

    file: str | None = None
    """File within the source; None for what a person said or what was computed."""
    offset: int | None = None
    """First byte in the file."""
    line: int | None = None
    """Line in the file, counted from 1."""
    field: str | None = None
    """Field of a structured document: dotted (`license`, `model-index.0.results`)."""
    digest: str | None = None
    """Digest of the bytes that were read: `algorithm:hex`."""
    parents: tuple[str, ...] = ()
    """Names of the facts that this one was computed from."""
    quote: str | None = None
    """The words themselves, shortened."""

    @property
    def place(self) -> str:
        """Name the place for a person: `README.md:3`, `config.json hidden_size`, `a + b`."""
        if self.file is None:
            return " + ".join(self.parents) if self.parents else (self.field or "")
        if self.line is not None:
            return f"{self.file}:{self.line}"
        if self.field is not None:
            return f"{self.file} {self.field}"
        if self.offset is not None:
            return f"{self.file} at byte {self.offset}"
        return self.file


@dataclass(frozen=True, slots=True)
class Fact:
    """One claim: `name` is `value`, known by `basis`, shown by `evidence`."""

    name: str
    """An entry of the vocabulary."""
    value: Value
    basis: Basis
    evidence: tuple[Evidence, ...] = ()
    note: str = ""
    """How it was found, when the evidence alone does not tell."""
