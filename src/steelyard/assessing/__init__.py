"""What follows from facts alone: for a model that is planned, or for many rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from steelyard.analyzers.derived import derive
from steelyard.analyzers.stated import by_user
from steelyard.facts import FactBook, Value
from steelyard.rules import Finding, Pack, Rulebook, conclude, load_packs, rules_on


@dataclass(frozen=True, slots=True)
class Assessment:
    """What rules say about facts."""

    book: FactBook
    """What was stated, and what was derived, assumed and concluded from it."""
    findings: tuple[Finding, ...]


def law_packs(packs: Iterable[Pack]) -> tuple[Pack, ...]:
    """Return the packs that hold law: those with a rule of some jurisdiction."""
    return tuple(pack for pack in packs if any(rule.is_law for rule in pack.rules))


def assess(
    facts: Mapping[str, Value] | FactBook, *, as_of: date, packs: Iterable[Pack] | None = None
) -> Assessment:
    """Apply the law of a day to facts.

    Args:
        facts: What is known, by name of the vocabulary, or a book of claims.
        as_of: The day as of which rules are applied.
        packs: Rules to apply; by default all law that ships with Steelyard.

    Raises:
        FactError: If a fact does not fit the vocabulary.
        PackError: If a rule pack is wrong.
    """
    rulebook = rules_on(law_packs(load_packs()) if packs is None else packs, as_of)
    return assess_with(rulebook, facts)


def assess_with(rulebook: Rulebook, facts: Mapping[str, Value] | FactBook) -> Assessment:
    """Apply rules that are already bound to a day."""
    book = facts.copy() if isinstance(facts, FactBook) else FactBook(by_user(facts))
    book.extend(derive(book))
    said = conclude(rulebook, book)
    return Assessment(said.book, said.findings)


def assess_rows(
    rows: Iterable[Mapping[str, Value]], *, as_of: date, packs: Iterable[Pack] | None = None
) -> Iterator[Assessment]:
    """Assess many sets of facts under the law of one day, one after the other."""
    rulebook = rules_on(law_packs(load_packs()) if packs is None else packs, as_of)
    for facts in rows:
        yield assess_with(rulebook, facts)
