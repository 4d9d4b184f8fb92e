"""One model among known ones: what it is or comes from, and what documents say of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from steelyard.analyzers.lineage import words
from steelyard.analyzers.lineage.names import (
    distilled,
    documented,
    given_name,
    is_package_of,
    offered_as,
    same,
    titles,
)
from steelyard.analyzers.lineage.relatives import Relative, nearest, refuted, relatives
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact, FactBook
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.reading.weights import StoredWeights
from steelyard.lineage.relation import EditKind

if TYPE_CHECKING:
    from steelyard.lineage.known.registry import Registry

_REMOTE_BUDGET: Final = 4_000_000
"""Bytes that a sketch reads of layers over a network: fewer layers, each still decisive."""
_MOST_SIBLINGS: Final = 8
_TRAINED: Final = frozenset({"finetune", "merge"})
"""Relations that change the numbers of a base."""


def known(
    model: Model,
    book: FactBook,
    weights: StoredWeights,
    registries: Sequence[Registry],
    *,
    local: bool,
    told: bool,
) -> Iterator[Fact]:
    """Yield what registries tell of a model.

    Args:
        model: The model.
        book: What is known of it already.
        weights: Its weights.
        registries: Where to look.
        local: The weights lie on this machine.
        told: The base is known already, so that only the rest is wanted.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If a registry is damaged, or weights do not fit their headers.
    """
    from steelyard.lineage.relating.sketches import sketch_of

    sketch = sketch_of(weights) if local else sketch_of(weights, budget=_REMOTE_BUDGET)
    identity = book.value("model.identity")
    digest = identity if isinstance(identity, str) else None
    found = relatives(sketch, weights, digest, registries)
    among = _Among(model, book, found)
    gone = refuted(among.declared, found, sketch, weights, registries)
    yield from among.refuted(frozenset(gone))
    yield from among.siblings()
    if not told:
        yield from among.origin()


class _Among:
    """A model whose relatives are known."""

    def __init__(self, model: Model, book: FactBook, found: Sequence[Relative]) -> None:
        self._model, self._book, self._found = model, book, found
        self._file = Evidence(file=model.main.files[0] if model.main else "")
        self._own = tuple(titles(model, book))
        self.declared = self._set("lineage.declared_base")

    def _set(self, name: str) -> frozenset[str]:
        value = self._book.value(name)
        return value if isinstance(value, frozenset) else frozenset()

    def refuted(self, names: frozenset[str]) -> Iterator[Fact]:
        """Yield the declared bases that were compared and do not show."""
        if names:
            note = "compared with what a registry of known models holds under that name"
            where = (self._file,)
            yield Fact("lineage.declared_refuted", names, Basis.MEASURED, where, note)
            yield Fact("lineage.distilled", distilled(self._model), Basis.MEASURED)

    def siblings(self) -> Iterator[Fact]:
        """Yield models that share a component and not the rest, each with what it is."""
        parts = [one for one in self._found if not one.whole]
        for one in parts[:_MOST_SIBLINGS]:
            if one.related is not None:
                note = words.sibling(one.related, one.entry.name)
                names = frozenset({one.entry.name})
                yield self._fact("lineage.siblings", names, one.entry, note)

    def origin(self) -> Iterator[Fact]:
        """Yield which known model this is, and from which it comes."""
        whole = [one for one in self._found if one.whole]
        itself = nearest([one for one in whole if self._is_itself(one)], (), ())
        if itself is not None:
            entry = itself.entry
            yield self._fact("lineage.known_as", entry.name, entry, _agreeing(itself))
            yield from _license(entry, "lineage.known_as")
            # Others may come from this one as well as it from them: its own documents tell.
            whole = [one for one in whole if _is_base(one, itself)]
        named = (*self.declared, *self._set("lineage.base_hint"))
        base = nearest(whole, self._own, named)
        if base is not None:
            yield from self._from(base, license_too=itself is None)
        elif itself is not None:
            yield from self._numbers(itself)

    def _is_itself(self, one: Relative) -> bool:
        name, given = one.entry.name, given_name(self._model)
        called = any(same(own, name) for own in self._own)
        packed = one.identical and given is not None and is_package_of(given, name)
        return (called or packed) and self._renamed(one.entry) is None

    def _fact(
        self, name: str, value: bool | float | str | frozenset[str], entry: Entry, note: str = ""
    ) -> Fact:
        field = f"registry entry {entry.title}"
        where = Evidence(field=field, digest=entry.identity, quote=entry.note)
        return Fact(name, value, Basis.MEASURED, (self._file, where), note)

    def _from(self, base: Relative, *, license_too: bool) -> Iterator[Fact]:
        """Yield what the weights show of their base, and whether documents name it."""
        entry = base.entry
        yield self._fact("lineage.base", entry.name, entry, _agreeing(base))
        yield from self._numbers(base)
        if base.identical and (renamed := self._renamed(entry)) is not None:
            yield self._fact("lineage.renamed", renamed, entry)
        roots = [one.entry.name for one in self._found if one.whole and _is_base(one, base)]
        told = any(documented(name, self._model, self._book) for name in (entry.name, *roots))
        yield self._fact("lineage.documented", told, entry)
        if license_too:
            yield from _license(entry, "lineage.base")

    def _numbers(self, base: Relative) -> Iterator[Fact]:
        """Yield how sure a relative is, and whether the numbers are its own or how far from it."""
        entry, related = base.entry, base.related
        if base.log10_p is not None and related is not None:
            assumed = "; ".join(related.assumptions)
            yield self._fact("lineage.evidence", -base.log10_p, entry, assumed)
        if base.identical:
            yield from self._identical(entry)
        elif base.change is not None:
            yield from self._changed(entry, base.change)

    def _changed(self, entry: Entry, change: float) -> Iterator[Fact]:
        note = "over the rows of the sketch" if change else "in the rows of the sketch, to 8 bits"
        yield self._fact("lineage.change", change, entry, note)
        if not change:
            return
        yield self._fact("lineage.identical", False, entry)
        encoding = self._book.value("weights.encoding")
        if isinstance(encoding, str) and words.within_rounding(change, encoding):
            note = "the weights change as rounding makes them"
            yield self._fact("lineage.encoding", f"quantized to {encoding}", entry, note)

    def _identical(self, entry: Entry) -> Iterator[Fact]:
        yield self._fact("lineage.identical", True, entry, "the identity is the same")
        yield self._fact("lineage.encoding", "same", entry)
        where = (Evidence(parents=("lineage.identical",)),)
        yield Fact("lineage.edits", frozenset({EditKind.IDENTICAL.value}), Basis.DERIVED, where)
        relation = self._book.value("lineage.declared_relation")
        if relation in _TRAINED and any(same(name, entry.name) for name in self.declared):
            yield self._fact("lineage.relation_shown", False, entry)

    def _renamed(self, entry: Entry) -> str | None:
        names = [entry.name, *([entry.base] if entry.base else [])]
        return offered_as(self._model, self.declared, other_than=names)


def _is_base(one: Relative, of: Relative) -> bool:
    """Tell whether a relative is the one that another's entry names as its base."""
    return of.entry.base is not None and same(one.entry.name, of.entry.base)


def _agreeing(one: Relative) -> str:
    """Say what shows the relationship."""
    return f"{words.shared(one.related.components)} agree" if one.related is not None else ""


def _license(entry: Entry, parent: str) -> Iterator[Fact]:
    if entry.license is not None:
        where = (Evidence(parents=(parent,)), Evidence(field=f"registry entry {entry.title}"))
        yield Fact("lineage.base.license", entry.license, Basis.DERIVED, where)
