"""What a license grants and which conditions it attaches, as facts.

`knowledge/license_terms.yaml` says what each text says; this joins it to the license that governs
the weights. What follows from the terms in some law is for rules to say. A license that the
catalog does not hold yields nothing: its terms are unknown, and never guessed from its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from steelyard.analyzers.licenses.catalog import GRANTS, Clause, Confidence, Entry, Grant, catalog
from steelyard.analyzers.licenses.names import read_license
from steelyard.facts import Basis, Evidence, Fact, FactBook, Truth, conjoin

_GOVERNING: Final = ("license.effective", "license.declared")
_UNNAMED: Final = "other"
_LONGEST: Final = 300
_MEANS: Final[Mapping[Grant, bool]] = {"no": False, "conditional": True, "yes": True}
_LEAST_FIRST: Final[Sequence[Grant]] = ("no", "conditional", "yes")
_LEAST_SURE_FIRST: Final[Sequence[Confidence]] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class LicenseTerms:
    """What a license, or an expression of several, grants and which conditions it attaches."""

    names: tuple[str, ...]
    """The entries of the catalog."""
    grants: Mapping[str, Grant]
    """What `access`, `use`, `modify` and `distribute` are given as."""
    restrictions: Mapping[str, tuple[Clause, ...]]
    """The clauses by kind, a choice of `license.restrictions`; one for each license that has it."""
    osi_approved: Truth
    """Whether each license is approved; None where that is not known."""
    confidence: Confidence
    """That of the least sure entry."""
    notes: tuple[str, ...] = ()
    """How the terms were chosen or joined, where that is not plain."""


def derive(book: FactBook) -> Iterator[Fact]:
    """Yield the terms of the license in effect, else of the declared one; nothing if unknown.

    Where that is `other`, the license goes by `license.name`.
    """
    source = next((name for name in _GOVERNING if name in book), "license.name")
    if book.value(source) == _UNNAMED:
        source = "license.name"
    text = book.value(source)
    terms = terms_of(text) if isinstance(text, str) else None
    if terms is not None:
        yield from _facts(terms, source)


def terms_of(expression: str) -> LicenseTerms | None:
    """Return the terms of a license or of an SPDX expression; None where any part is unknown.

    `A AND B` has the conditions of both and grants what both grant. `A OR B` leaves the licensee
    the choice, so it has the terms of the least restrictive. `A WITH B` has the terms of `A`: an
    exception only adds permissions. A list (`A, B`) does not say how its licenses join, so it is
    known only where both readings give the same terms.
    """
    if not expression.strip() or len(expression) > _LONGEST:
        return None
    stated = read_license(expression)
    return (
        _named(expression)
        or _listed(expression)
        or _parsed(expression)
        or (_parsed(stated.value) if stated is not None and stated.ids else None)
    )


def _facts(terms: LicenseTerms, source: str) -> Iterator[Fact]:
    where = (Evidence(parents=(source,)),)
    chosen = "; ".join(terms.notes)
    sure = "" if terms.confidence == "high" else f"confidence {terms.confidence}"
    said = "; ".join(part for part in (chosen, sure) if part)

    def fact(name: str, value: bool | str | frozenset[str], note: str = said) -> Fact:
        return Fact(f"license.{name}", value, Basis.DERIVED, where, note)

    yield fact("terms", " AND ".join(terms.names))
    for grant, given in terms.grants.items():
        limits = f"{said}; {given}" if said else given
        yield fact(grant, _MEANS[given], limits if given == "conditional" else said)
    clauses = [
        f"{kind} ({clause.at}): {clause.says}"
        for kind, found in terms.restrictions.items()
        for clause in found
    ]
    yield fact(
        "restrictions", frozenset(terms.restrictions), "; ".join(filter(None, [said, *clauses]))
    )
    if terms.osi_approved is not None:
        yield fact("osi_approved", terms.osi_approved)


def _named(text: str) -> LicenseTerms | None:
    """Look up one license by any of its names, or a family whose members have the same terms."""
    key = _key(text)
    known = _index()
    if key in _ambiguous():
        return None
    if key in known:
        return known[key]
    stated = read_license(text)
    if stated is None:
        return None
    if stated.prefixes and not stated.ids:
        return _family(text, stated.prefixes)
    return known.get(_key(stated.ids[0])) if len(stated.ids) == 1 else None


def _family(text: str, prefixes: tuple[str, ...]) -> LicenseTerms | None:
    """Return the terms that all licenses share that a name may mean; None where they differ."""
    members = [
        terms
        for entry, terms in _entries()
        if any(license_id.startswith(prefixes) for license_id in entry.ids)
    ]
    if not members or len({_essence(terms) for terms in members}) > 1:
        return None
    meant = ", ".join(name for terms in members for name in terms.names)
    return replace(
        _all_of(members),
        names=(text,),
        osi_approved=_shared_approval(members),
        notes=(f"{text} leaves open which is meant; all that are known have these terms: {meant}",),
    )


def _listed(text: str) -> LicenseTerms | None:
    parts = [terms_of(part) for part in text.split(",")] if "," in text else []
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    every, any_of = _all_of(known), _least_of(known)
    if _essence(every) != _essence(any_of):
        return None
    return replace(every, osi_approved=_shared_approval(known))


def _parsed(text: str) -> LicenseTerms | None:
    from license_expression import ExpressionError, Licensing  # takes 40 ms

    try:
        return _of_tree(Licensing().parse(text))
    except (ExpressionError, AssertionError, IndexError, RecursionError):
        # The library's parser stumbles over some unbalanced texts: `( ) mit mit`, `( or mit`.
        return None


def _of_tree(node: Any) -> LicenseTerms | None:
    """Evaluate what the library parsed: a symbol, one with an exception, or an operation."""
    if hasattr(node, "license_symbol"):
        base = _named(str(node.license_symbol.key))
        note = f"without what {node.exception_symbol.key} adds"
        return replace(base, notes=(*base.notes, note)) if base is not None else None
    if hasattr(node, "key"):
        return _named(str(node.key))
    parts = [_of_tree(part) for part in getattr(node, "args", ())]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    return _least_of(known) if node.operator.strip() == "OR" else _all_of(known)


def _all_of(parts: Sequence[LicenseTerms]) -> LicenseTerms:
    """Join licenses that all apply."""
    kinds = dict.fromkeys(kind for part in parts for kind in part.restrictions)
    return LicenseTerms(
        names=_unique(name for part in parts for name in part.names),
        grants={
            grant: min((part.grants[grant] for part in parts), key=_LEAST_FIRST.index)
            for grant in GRANTS
        },
        restrictions={
            kind: tuple(dict.fromkeys(c for part in parts for c in part.restrictions.get(kind, ())))
            for kind in kinds
        },
        osi_approved=conjoin(part.osi_approved for part in parts),
        confidence=min((part.confidence for part in parts), key=_LEAST_SURE_FIRST.index),
        notes=_unique(note for part in parts for note in part.notes),
    )


def _least_of(parts: Sequence[LicenseTerms]) -> LicenseTerms:
    """Choose among licenses of which the licensee may take any one."""
    chosen = min(parts, key=_weight)
    others = [" AND ".join(part.names) for part in parts if part is not chosen]
    note = f"the licensee may choose {' AND '.join(chosen.names)} instead of {', '.join(others)}"
    return replace(chosen, notes=(*chosen.notes, note))


def _weight(terms: LicenseTerms) -> tuple[list[int], list[int], tuple[str, ...]]:
    """Order terms from the least restrictive: by what is granted, then by the heaviest kinds."""
    order = catalog().burden
    refused = [-_LEAST_FIRST.index(terms.grants[grant]) for grant in GRANTS]
    heaviest = sorted((order.index(kind) for kind in terms.restrictions), reverse=True)
    return sorted(refused, reverse=True), heaviest, terms.names


def _essence(terms: LicenseTerms) -> object:
    """Return what must be equal for two licenses to have the same terms."""
    return frozenset(terms.restrictions), tuple(terms.grants.items())


def _shared_approval(parts: Iterable[LicenseTerms]) -> Truth:
    """Return whether all are approved, or none is; None where they differ."""
    found = {part.osi_approved for part in parts}
    return found.pop() if len(found) == 1 else None


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


@cache
def _entries() -> Sequence[tuple[Entry, LicenseTerms]]:
    return [(entry, _terms(name, entry)) for name, entry in catalog().licenses.items()]


def _terms(name: str, entry: Entry) -> LicenseTerms:
    clauses = {kind: (clause,) for kind, clause in entry.restrictions.items()}
    return LicenseTerms((name,), entry.grants, clauses, entry.osi_approved, entry.confidence)


@cache
def _index() -> Mapping[str, LicenseTerms]:
    return {
        _key(called): terms
        for entry, terms in _entries()
        for called in (*terms.names, entry.name, *entry.ids)
    }


@cache
def _ambiguous() -> frozenset[str]:
    return frozenset(map(_key, catalog().ambiguous))


_PREFIX: Final = re.compile(r"^licenseref-(?:scancode-)?")
_BREAKS: Final = re.compile(r"[\s_/()\[\]\"',:-]+")
_IGNORED: Final = frozenset({"the", "a", "license", "licence", "agreement", "version"})
_VERSION: Final = re.compile(r"v(?=\d)")


def _key(text: str) -> str:
    """Reduce a name to what tells it from others: `Llama 3.1 Community License` and its like."""
    words = _BREAKS.split(_PREFIX.sub("", text.strip().lower()))
    return " ".join(_VERSION.sub("", word) for word in words if word and word not in _IGNORED)
