"""Facts computed from facts: the same for a model's files, a row of a table, a test case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from steelyard import compute
from steelyard.analyzers import known_models, openness
from steelyard.analyzers.licenses import terms
from steelyard.analyzers.lineage import following
from steelyard.facts import Fact, FactBook

_STEPS: Final[tuple[Callable[[FactBook], Iterable[Fact]], ...]] = (
    terms.derive,
    following.derive,
    known_models.derive,
    compute.derive,
    openness.derive,
)
"""What computes facts from facts, each after those that it builds on."""


def derive(book: FactBook) -> tuple[Fact, ...]:
    """Return the facts that follow from those in `book`, which stays as it is."""
    working = book.copy()
    found: list[Fact] = []
    for step in _STEPS:
        new = list(step(working))
        working.extend(new)
        found += new
    return tuple(found)
