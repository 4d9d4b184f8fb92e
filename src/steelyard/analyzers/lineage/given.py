"""A model beside the one that the user takes for its base: a full comparison, as facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from steelyard.analyzers import card
from steelyard.analyzers.lineage import words
from steelyard.analyzers.lineage.names import distilled, documented, given_name, same, split, titles
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact, FactBook
from steelyard.lineage.reading.weights import StoredWeights
from steelyard.lineage.relation import Comparison, EditKind, EncodingKind, Related

_KEPT: Final = frozenset(
    {
        EditKind.IDENTICAL,
        EditKind.VOCAB_EXTENDED,
        EditKind.VOCAB_TRIMMED,
        EditKind.VOCAB_PERMUTED,
    }
)
"""What a quantization may show: converters pad and order vocabularies."""
_RELATIONS: Final = {"finetune": EditKind.FINETUNE, "merge": EditKind.MERGE}


@dataclass(frozen=True, slots=True)
class _Name:
    """What to call a given base."""

    text: str
    public: bool
    """Whether others know it by that name, so that documents can be asked to mention it."""
    others: tuple[str, ...] = ()
    """Further names that its documents give it."""


def compared(
    model: Model, base: Model, book: FactBook, weights: StoredWeights, budget: int | None
) -> Iterator[Fact]:
    """Yield what a comparison with a given base tells.

    Args:
        model: The model.
        base: What the user takes for its base.
        book: What is known of the model.
        weights: The model's weights.
        budget: Most bytes to read of both; None or 0 for the comparison's own.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    from steelyard.lineage.comparing import BUDGET, compare

    name = _name_of(base, model, book)
    called = (name.text, model.source.spec)
    said = compare(base, model, names=called, budget=budget or BUDGET)
    told = None
    if name.public:
        told = any(documented(one, model, book) for one in (name.text, *name.others))
    layered = bool(weights.layers or weights.unnamed())
    yield from facts_of(said, model, book, layered=layered, told=told)


def facts_of(
    said: Comparison, model: Model, book: FactBook, *, layered: bool, told: bool | None
) -> Iterator[Fact]:
    """Yield what a comparison says of its child.

    Args:
        said: The comparison.
        model: The child.
        book: What is known of it.
        layered: Whether it has more than an embedding and a head.
        told: Whether its documents mention the base; None where that cannot be asked.
    """
    file = model.main.files[0] if model.main else None
    where = (Evidence(file=file), Evidence(field=f"compared with {said.base}"))

    def fact(name: str, value: bool | float | str | frozenset[str], note: str = "") -> Fact:
        return Fact(name, value, Basis.MEASURED, where, note)

    related = said.related
    if related.verdict is Related.NOT_FOUND:
        note = "compared with the base that was given"
        yield fact("lineage.declared_refuted", frozenset({said.base}), note)
        yield fact("lineage.distilled", distilled(model))
    if related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL):
        return
    if not words.is_whole(related, layered=layered):
        yield fact("lineage.siblings", frozenset({said.base}), words.sibling(related, said.base))
        return
    yield fact("lineage.base", said.base, f"{words.shared(related.components)} agree")
    yield fact("lineage.evidence", -related.log10_p, "; ".join(related.assumptions))
    if told is not None:
        yield fact("lineage.documented", told)
    encoding = words.encoded(said.encoding)
    if encoding is not None:
        yield fact("lineage.encoding", encoding)
    if said.edits:
        kinds = frozenset(edit.kind.value for edit in said.edits)
        yield fact("lineage.edits", kinds, "; ".join(edit.summary for edit in said.edits))
        same_numbers = kinds == {EditKind.IDENTICAL.value}
        yield fact("lineage.identical", same_numbers and said.encoding.kind is EncodingKind.SAME)
    shown = _shown(said, book)
    if shown is not None:
        yield fact("lineage.relation_shown", shown)


def _shown(said: Comparison, book: FactBook) -> bool | None:
    """Tell whether the declared relation is what the comparison shows; None if it cannot tell."""
    declared = book.value("lineage.declared_base")
    named = declared if isinstance(declared, frozenset) else frozenset()
    if not said.edits or not any(same(name, said.base) for name in named):
        return None
    relation = book.value("lineage.declared_relation")
    kinds = {edit.kind for edit in said.edits}
    if relation == "quantized":
        quantized = said.encoding.kind in (EncodingKind.QUANTIZED, EncodingKind.DEQUANTIZED)
        return kinds <= _KEPT and quantized
    sought = _RELATIONS.get(str(relation))
    if sought is None:
        return None
    if kinds == {EditKind.IDENTICAL}:
        return False
    return True if sought in kinds else None


def _name_of(base: Model, model: Model, book: FactBook) -> _Name:
    """Call a base as documents of its child call it, else as its own do, else by its folder."""
    titled = FactBook(card.analyze(base))
    own = tuple(name for name in titles(base, titled) if split(name)[1])
    declared = book.value("lineage.declared_base")
    for name in sorted(declared) if isinstance(declared, frozenset) else ():
        if any(split(name)[1] == split(one)[1] for one in own):
            return _Name(name, public=True, others=own)
    public = [given_name(base), titled.value("model.name")]
    known = [name for name in public if isinstance(name, str)]
    for name in known:
        if documented(name, model, book):
            return _Name(name, public=True, others=own)
    if known:
        return _Name(known[-1], public=True, others=own)
    return _Name(own[0] if own else base.source.spec, public=False)
