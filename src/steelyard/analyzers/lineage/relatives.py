"""The relatives of a model among known ones, and which of them is its base."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Final

from steelyard.analyzers.lineage.names import same
from steelyard.analyzers.lineage.words import is_whole
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.relation import Related, Relatedness

if TYPE_CHECKING:
    from steelyard.lineage.known.registry import Registry
    from steelyard.lineage.reading.weights import StoredWeights
    from steelyard.lineage.relating.sketches import Sketch

_AS_NEAR: Final = 1.05
"""How much farther a relative may be and count as equally near: sketches round to eight bits."""
_SHOWN: Final = frozenset({Related.RELATED, Related.SHARES_COMPONENT})
_MOST_READ: Final = 10_000
"""Entries of one registry whose names are compared one by one; beyond, only equal names count."""


@dataclass(frozen=True, slots=True)
class Relative:
    """A known model whose weights are in this one, all of them or a part."""

    entry: Entry
    related: Relatedness | None
    """What the sketches tell; None where the model is known by its identity alone."""
    log10_p: float | None
    agreement: float
    whole: bool
    """Whether the model as a whole is related, not a component."""
    identical: bool
    """The same identity. A sketch alone cannot tell it: what it leaves out may have changed."""

    @property
    def change(self) -> float | None:
        """Return the relative change over all that was sampled; None where it is not known."""
        return 0.0 if self.identical else change_of(self.related)


def change_of(related: Relatedness | None) -> float | None:
    """Return the relative change of the parts that have an origin in the base."""
    parts = related.components if related is not None else ()
    found = [part.change for part in parts if part.base and part.change is not None]
    return sqrt(sum(change**2 for change in found) / len(found)) if found else None


def relatives(
    sketch: Sketch, weights: StoredWeights, identity: str | None, registries: Sequence[Registry]
) -> list[Relative]:
    """Return every relative: by identity first, then as a search of the registries ranks them.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If a registry is damaged, or weights do not fit their headers.
    """
    from steelyard.lineage.known.registry import search

    layered = bool(weights.layers or weights.unnamed())
    found: dict[tuple[str, str], Relative] = {}
    for match in search(sketch, registries, child=weights).matches:
        entry = match.entry
        equal = identity is not None and entry.identity == identity
        whole = equal or is_whole(match.related, layered=layered)
        found[entry.key] = Relative(
            entry, match.related, match.log10_p, match.agreement, whole, equal
        )
    for registry in registries if identity else ():
        for entry in registry.with_identity(identity or ""):
            found.setdefault(
                entry.key, Relative(entry, None, None, 1.0, whole=True, identical=True)
            )
    return list(found.values())


def nearest(found: Iterable[Relative], own: Sequence[str], named: Sequence[str]) -> Relative | None:
    """Choose the base: the nearest whole relative; of equally near ones, one that is named.

    Args:
        found: All relatives.
        own: Names of the model itself; what is made from it is no base of it.
        named: Names that its documents give for its base.
    """
    whole = [one for one in found if one.whole and not _made_from(one, own)]
    if not whole:
        return None
    best = min(whole, key=_distance)
    near = [one for one in whole if _as_near(one, best)]
    # Beside what was made from it stands the root, which documents most likely mean.
    return min(
        near,
        key=lambda one: (
            not any(same(one.entry.name, name) for name in named),
            one.entry.base is not None,
            _distance(one),
        ),
    )


def _made_from(one: Relative, own: Sequence[str]) -> bool:
    base = one.entry.base
    return base is not None and not one.identical and any(same(base, name) for name in own)


def _distance(one: Relative) -> tuple[bool, float, float, tuple[str, str]]:
    change = one.change
    return not one.identical, 1.0 if change is None else change, -one.agreement, one.entry.key


def _as_near(one: Relative, best: Relative) -> bool:
    if one.identical or best.identical:
        return one.identical == best.identical
    if one.change is None or best.change is None:
        return one is best
    return one.change <= best.change * _AS_NEAR


def refuted(
    declared: Iterable[str],
    found: Sequence[Relative],
    sketch: Sketch,
    weights: StoredWeights,
    registries: Sequence[Registry],
) -> Iterator[str]:
    """Yield declared bases that are known, that could be compared, and that do not show.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If a registry is damaged.
    """
    for name in sorted(declared):
        if any(same(one.entry.name, name) for one in found):
            continue
        verdicts = {
            verdict
            for registry in registries
            for verdict in _verdicts(name, sketch, weights, registry)
        }
        if Related.NOT_FOUND in verdicts and not verdicts & _SHOWN:
            yield name


def _verdicts(
    name: str, sketch: Sketch, weights: StoredWeights, registry: Registry
) -> list[Related]:
    """Compare with every entry that bears a name, however unlike it looks."""
    from steelyard.lineage.known.registry import search
    from steelyard.lineage.relating.relatedness import relate

    verdicts: list[Related] = []

    def test(child: Sketch, base: Sketch) -> Relatedness:
        said = relate(child, base)
        verdicts.append(said.verdict)
        return said

    if len(registry) > _MOST_READ:
        names = [name] if registry.find(name) else []
    else:
        names = [entry.name for entry in registry if same(entry.name, name)]
    if names:
        search(sketch, [registry.select(names)], child=weights, test=test)
    return verdicts
