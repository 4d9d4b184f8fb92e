"""What follows from the known model that the weights come from: its license and its compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from steelyard.analyzers import known_models
from steelyard.analyzers.licenses.terms import terms_of
from steelyard.facts import Basis, Evidence, Fact, FactBook

_LICENSE: Final = "lineage.base.license"
_BASE: Final = "lineage.base"
_KNOWN: Final = ("lineage.known_as", _BASE)


def derive(book: FactBook) -> Iterator[Fact]:
    """Yield what the base's license and compute mean for the model; `book` stays as it is."""
    yield from _terms(book)
    yield from _compute(book)


def _terms(book: FactBook) -> Iterator[Fact]:
    """Yield the license of the known model, and which of its conditions are not passed on.

    Where the terms of either license are unknown, nothing is said of conditions.
    """
    found = book.resolve(_LICENSE)
    if found is None:
        found = _published(book)
        if found is None:
            return
        yield found
    terms = terms_of(found.value) if isinstance(found.value, str) else None
    own = book.value("license.restrictions")
    if terms is None or not isinstance(own, frozenset):
        return
    dropped = frozenset(terms.restrictions) - own
    where = (Evidence(parents=(_LICENSE, "license.restrictions")),)
    note = "; ".join(
        f"{kind} ({clause.at}): {clause.says}"
        for kind in sorted(dropped)
        for clause in terms.restrictions[kind]
    )
    yield Fact("lineage.base.dropped_restrictions", dropped, Basis.DERIVED, where, note)


def _published(book: FactBook) -> Fact | None:
    """Return the license that is published for the model, where no registry has one."""
    for name in _KNOWN:
        value = book.value(name)
        known = known_models.find(value) if isinstance(value, str) else None
        if known is not None:
            published = known_models.evidence_of(known, known.license.source)
            where = (Evidence(parents=(name,)), *published)
            return Fact(_LICENSE, str(known.license.value), Basis.DERIVED, where)
    return None


def _compute(book: FactBook) -> Iterator[Fact]:
    """Yield the published training compute of the base that was found in the weights.

    For a merge of several declared parents one of them says too little; see `known_models`.
    """
    base, declared = book.value(_BASE), book.value("lineage.declared_base")
    merged = book.value("lineage.declared_relation") == "merge"
    if merged and isinstance(declared, frozenset) and len(declared) > 1:
        return
    known = known_models.find(base) if isinstance(base, str) else None
    if known is None or known.compute is None or known.compute_range is None:
        return
    where = (Evidence(parents=(_BASE,)), *known_models.evidence_of(known, known.compute.source))
    note = f"published for {known.name}, from which the weights come"
    yield Fact("training.compute.base", known.compute_range, Basis.DERIVED, where, note)
