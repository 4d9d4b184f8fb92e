"""Openness from facts: usage information, the Model Openness Framework, OSAID, G7 tiers, the index.

What no fact tells is left out: unknown is neither open nor closed.
"""

from __future__ import annotations

from collections.abc import Iterable

from steelyard.analyzers.openness.index import score
from steelyard.analyzers.openness.verdicts import (
    PERMISSIVE,
    index_of,
    mof_of,
    osaid_of,
    tier_of,
)
from steelyard.facts import Basis, Evidence, Fact, FactBook, Value

_USAGE = (
    ("input_modalities", ("model.modalities.input",)),
    ("output_modalities", ("model.modalities.output",)),
    ("capabilities", ("card.sections",)),
    ("limitations", ("card.limitations",)),
    ("integration", ("card.library", "card.sections")),
)
"""What guidelines C(2025) 7719, section 4, ask of usage information, and the facts that show it."""


def derive(book: FactBook) -> Iterable[Fact]:
    """Yield what follows about openness."""
    known = book.copy()
    for facts in (_usage(known), _architecture(known)):
        for fact in facts:
            known.add(fact)
            yield fact
    yield from _mof(known)
    yield from _osaid(known)
    tier = tier_of(known)
    if tier is not None:
        yield _derived("openness.g7_tier", tier, ("weights.public", "license.restrictions",
                                                  "code.public", "data.public"))  # fmt: skip
    dimensions = index_of(known)
    if any(item.state for item in dimensions):
        total = score(dimensions)
        value = total.low if total.exact else total
        yield _derived("openness.index_score", value, ("openness.components",))


def _usage(book: FactBook) -> Iterable[Fact]:
    """Tell whether usage information is public, where there is a card that could say it."""
    if book.value("card.present") is not True:
        return
    missing = frozenset(key for key, names in _USAGE if not _shown(key, names, book))
    parents = ("card.present", *dict.fromkeys(name for _, names in _USAGE for name in names))
    evidence = (Evidence(parents=parents),)
    yield Fact("usage_info.missing", missing, Basis.DERIVED, evidence)
    if "usage_info.public" not in book and book.value("weights.public") is not False:
        note = "the card beside the weights is taken as public as they are"
        yield Fact("usage_info.public", not missing, Basis.DERIVED, evidence, note)


def _shown(key: str, names: tuple[str, ...], book: FactBook) -> bool:
    sections = book.value("card.sections")
    found = sections if isinstance(sections, frozenset) else frozenset()
    match key:
        case "capabilities":
            return bool(found & {"uses", "direct_use", "model_details"})
        case "integration":
            return "card.library" in book or "how_to_get_started" in found
        case "limitations":
            return book.value("card.limitations") is True
    value = book.value(names[0])
    return bool(value)


def _architecture(book: FactBook) -> Iterable[Fact]:
    known = "model.architecture" in book and book.resolve("model.architecture")
    if "architecture.public" in book or not known or known.basis is Basis.DECLARED:
        return
    if book.value("weights.public") is not False:
        note = "the configuration beside the weights describes it"
        evidence = (Evidence(parents=("model.architecture",)),)
        yield Fact("architecture.public", True, Basis.DERIVED, evidence, note)


def _mof(book: FactBook) -> Iterable[Fact]:
    found = mof_of(book)
    if found is None:
        return
    parents = ("openness.components", "license.effective")
    yield _derived("openness.mof_class", found.reached, parents)
    missing = frozenset(judgment.part.name for judgment in found.missing)
    yield _derived("openness.mof_missing", missing, parents)


def _osaid(book: FactBook) -> Iterable[Fact]:
    elements = osaid_of(book)
    for name, state in elements.items():
        if state is not None:
            yield _derived(f"openness.osaid.{name}", state, ("openness.components",))
    restrictions = book.value("license.restrictions")
    if isinstance(restrictions, frozenset) and not restrictions <= PERMISSIVE:
        note = "the license restricts the four freedoms"
        evidence = (Evidence(parents=("license.restrictions",)),)
        yield Fact("openness.osaid", False, Basis.DERIVED, evidence, note)
    elif None not in elements.values() or "not_met" in elements.values():
        met = all(state == "met" for state in elements.values())
        yield _derived("openness.osaid", met, tuple(f"openness.osaid.{e}" for e in elements))


def _derived(name: str, value: Value, parents: tuple[str, ...]) -> Fact:
    return Fact(name, value, Basis.DERIVED, (Evidence(parents=parents),))
