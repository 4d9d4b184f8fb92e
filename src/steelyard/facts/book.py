"""A `FactBook` keeps every claim, answers with the strongest, and lists contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from steelyard.facts.fact import Basis, Fact, Value
from steelyard.facts.interval import Interval
from steelyard.facts.vocabulary import term


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Claims about one name that cannot all be true, strongest basis first."""

    name: str
    claims: tuple[Fact, ...]
    """At least two; each disagrees with at least one other."""


class FactBook:
    """All claims about one model.

    Laws: no claim is ever dropped; `resolve` answers with a claim of the strongest basis, the
    earliest of equals; the order of claims of different strength does not change an answer.
    """

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._claims: dict[str, list[Fact]] = {}
        self._resolved: dict[str, Fact | None] = {}
        self.extend(facts)

    def copy(self) -> FactBook:
        """Return a book of the same claims, to which others can be added."""
        copied = FactBook()
        copied._claims = {name: list(claims) for name, claims in self._claims.items()}
        return copied

    def add(self, fact: Fact) -> None:
        """Keep `fact`; one that says nothing new (same value, basis, evidence) once only.

        Raises:
            FactError: If its name or value does not fit the vocabulary.
        """
        term(fact.name).check(fact.value)
        claims = self._claims.setdefault(fact.name, [])
        if fact not in claims:
            claims.append(fact)
            self._resolved.pop(fact.name, None)

    def extend(self, facts: Iterable[Fact]) -> None:
        """Keep each of `facts`, in order."""
        for fact in facts:
            self.add(fact)

    def claims(self, name: str) -> tuple[Fact, ...]:
        """Return every claim about `name`, strongest basis first, else in order of arrival."""
        return tuple(sorted(self._claims.get(name, ()), key=lambda f: -f.basis.strength))

    def resolve(self, name: str) -> Fact | None:
        """Return the strongest claim about `name`; None when nothing is known.

        Sets of the strongest basis are joined: each claim may be a part of the whole.
        """
        if name not in self._resolved:
            self._resolved[name] = self._strongest(name)
        return self._resolved[name]

    def _strongest(self, name: str) -> Fact | None:
        claims = self.claims(name)
        if not claims:
            return None
        equals = [claim for claim in claims if claim.basis is claims[0].basis]
        return _joined(equals) if isinstance(claims[0].value, frozenset) else claims[0]

    def value(self, name: str) -> Value | None:
        """Return the value of the strongest claim about `name`; None when unknown."""
        fact = self.resolve(name)
        return None if fact is None else fact.value

    def contradiction(self, name: str) -> Contradiction | None:
        """Return the claims about `name` that cannot all be true; None if they can.

        An assumption gives way to every other claim, so it contradicts none.
        """
        claims = [c for c in self.claims(name) if c.basis is not Basis.ASSUMED]
        against = [c for c in claims if any(not agree(c.value, o.value) for o in claims)]
        return Contradiction(name, tuple(against)) if against else None

    def contradictions(self) -> tuple[Contradiction, ...]:
        """Return all contradictions, by name."""
        found = (self.contradiction(name) for name in sorted(self._claims))
        return tuple(c for c in found if c is not None)

    def __iter__(self) -> Iterator[Fact]:
        """Yield the strongest claim for each name, by name."""
        for name in sorted(self._claims):
            fact = self.resolve(name)
            if fact is not None:
                yield fact

    def __contains__(self, name: object) -> bool:
        """Tell whether anything is claimed about `name`."""
        return name in self._claims


def agree(a: Value, b: Value) -> bool:
    """Tell whether two values of one name can both be true.

    Amounts agree when their ranges overlap. Sets always do: each may be a part of the whole.
    Everything else agrees only when equal.
    """
    if isinstance(a, frozenset) and isinstance(b, frozenset):
        return True
    if _is_amount(a) and _is_amount(b):
        return Interval.of(a).overlaps(b)
    return a == b


def _joined(claims: Sequence[Fact]) -> Fact:
    """Join claims of one basis about a set into one claim."""
    if len(claims) == 1:
        return claims[0]
    members = (claim.value for claim in claims if isinstance(claim.value, frozenset))
    evidence = dict.fromkeys(item for claim in claims for item in claim.evidence)
    notes = "; ".join(dict.fromkeys(claim.note for claim in claims if claim.note))
    return replace(
        claims[0], value=frozenset().union(*members), evidence=tuple(evidence), note=notes
    )


def _is_amount(value: Value) -> TypeGuard[Interval | int | float]:
    return isinstance(value, Interval | int | float) and not isinstance(value, bool)
