"""The line about where a model is from: as the weights show it, and as documents say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from steelyard.facts import Basis, FactBook
from steelyard.reports.claims import fact_text, places
from steelyard.reports.descriptions import Statement
from steelyard.reports.text import plain

_LABEL: Final = "From"
_RELATIONS: Final = {
    "finetune": "fine-tune of",
    "quantized": "quantization of",
    "merge": "merge of",
    "adapter": "adapter for",
}
_PLAIN: Final = frozenset({"F64", "F32", "F16", "BF16"})


def origin(book: FactBook) -> Iterable[Statement]:
    """Tell where a model is from, in one line; what was measured first."""
    declared = _declared(book)
    shown = _shown(book)
    if shown is None:
        if declared is not None:
            yield declared
        return
    text, names = shown
    stated = declared is not None and "lineage.declared_base" in book
    if declared is not None and stated and not _says_the_same(book, names):
        text = f"{text}; declared: {declared.text}"
    yield Statement(_LABEL, text, Basis.MEASURED.value)


def _shown(book: FactBook) -> tuple[str, frozenset[str]] | None:
    """Say what the weights show, and which models that names; None where they show nothing."""
    base, known = book.resolve("lineage.base"), book.resolve("lineage.known_as")
    names = frozenset(fact_text(fact) for fact in (base, known) if fact is not None)
    if base is not None and base.basis is Basis.MEASURED:
        return _changed(book, fact_text(base)), names
    if known is not None and known.basis is Basis.MEASURED:
        return _changed(book, fact_text(known)), names
    siblings = book.resolve("lineage.siblings")
    if siblings is not None and siblings.basis is Basis.MEASURED and siblings.value:
        names = siblings.value if isinstance(siblings.value, frozenset) else frozenset()
        return plain(siblings.note, 300), names
    return None


def _changed(book: FactBook, name: str) -> str:
    """Say what became of a model's weights."""
    if book.value("lineage.identical") is True:
        return f"identical to {name}"
    encoding, edits = book.value("lineage.encoding"), book.resolve("lineage.edits")
    recoded = plain(encoding) if isinstance(encoding, str) else "same"
    recoded = "" if recoded.startswith("same") else recoded
    if edits is not None and edits.value != frozenset({"identical"}):
        said = plain(edits.note, 300) or fact_text(edits)
        return f"{name}, {said}" + (f"; {recoded}" if recoded else "")
    if recoded:
        return f"{name}, {recoded}"
    change = book.resolve("lineage.change")
    if change is None or not isinstance(change.value, int | float):
        return name
    if change.value:
        return f"{name}, changed by {change.value:.2%}"
    if book.value("weights.encoding") in _PLAIN:
        return f"{name}, unchanged where it was sampled"
    # A known model may be kept as a quantization of it: equal to that is not unchanged.
    known = "; ".join(plain(where.quote, 200) for where in change.evidence if where.quote)
    return f"{name}, as the registry has it" + (f" ({known})" if known else "")


def _declared(book: FactBook) -> Statement | None:
    """Say what documents call the base, or what hints at it."""
    base = book.resolve("lineage.declared_base")
    if base is not None and base.value:
        verb = _RELATIONS.get(str(book.value("lineage.declared_relation")), "based on")
        return Statement(_LABEL, f"{verb} {fact_text(base)}", base.basis.value, places(base, 1))
    hint = book.resolve("lineage.base_hint")
    if hint is not None and hint.value:
        text = f"most likely {fact_text(hint)}"
        return Statement(_LABEL, text, hint.basis.value, places(hint, 1))
    return None


def _says_the_same(book: FactBook, names: Iterable[str]) -> bool:
    """Tell whether documents name what the weights show, whoever offers it there."""
    own = {_last(name) for name in names}
    for fact in ("lineage.declared_base", "lineage.base_hint"):
        value = book.value(fact)
        if isinstance(value, frozenset) and value:
            return {_last(name) for name in value} <= own
    return True


def _last(name: str) -> str:
    return name.lower().replace(":", "/", 1).rpartition("/")[2]
