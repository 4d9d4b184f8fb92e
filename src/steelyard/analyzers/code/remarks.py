"""One thing of note in a file, and how remarks become facts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from steelyard.analyzers.base import few, shortened
from steelyard.facts import Basis, Evidence, Fact

_MOST_EVIDENCE: Final = 50


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing of note, and where in its file it stands."""

    kind: str
    """Which fact it belongs to; each question has its own."""
    what: str
    """One line for a person, without the file's name."""
    offset: int | None = None
    field: str | None = None
    line: int | None = None


Located = tuple[str, Remark]
"""A file and a remark about it."""


def fact_of(name: str, found: Iterable[Located]) -> Fact:
    """Gather remarks under one name, each said with its file; the first are the evidence."""
    kept = list(found)
    evidence = tuple(
        Evidence(
            file=path,
            offset=remark.offset,
            line=remark.line,
            field=shortened(remark.field) if remark.field else None,
            quote=shortened(remark.what),
        )
        for path, remark in kept[:_MOST_EVIDENCE]
    )
    return Fact(name, few(f"{path}: {r.what}" for path, r in kept), Basis.MEASURED, evidence)
