"""Search registries for the relatives of a model: signatures name candidates, tests decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from steelyard.lineage.known.entries import Entry
from steelyard.lineage.known.search import KINDS, Parts, candidates, signature, threshold
from steelyard.lineage.matrix import Weights
from steelyard.lineage.reading.remembering import Remembering
from steelyard.lineage.relating.fixed_points import SURE, corrected
from steelyard.lineage.relating.relatedness import relate
from steelyard.lineage.relating.sketch_format import KeptUnits
from steelyard.lineage.relating.sketches import Sketch, same_tokens, sketch_of
from steelyard.lineage.relation import Related, Relatedness

if TYPE_CHECKING:
    # A registry can be searched by itself, so it imports this module.
    from steelyard.lineage.known.registry import Registry

TESTED: Final = 24
"""Entries of a registry that are tested exactly: those whose signatures agree best."""
_UNLIKELY: Final = 8
"""Entries of a large registry that are tested though nothing of their signatures agrees; a small
one is tested whole."""
_REREAD: Final = 4
"""Candidates with another tokenizer at whose tokens a child is read though nothing agrees yet."""
_UNITS_SIGNED: Final = 16
_LAYERS_SIGNED: Final = KINDS.count("neurons")
_VERDICTS: Final = (Related.RELATED, Related.SHARES_COMPONENT)

Test = Callable[[Sketch, Sketch], Relatedness]


@dataclass(frozen=True, slots=True)
class Match:
    """A relative that was found."""

    entry: Entry
    related: Relatedness
    """What the two sketches tell, its p-value that of this one pair."""
    log10_p: float
    """The p-value corrected for the number of entries that were searched."""
    agreement: float
    """How alike the signatures are: 1 the same, 0 by chance."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and how far it looked."""

    matches: tuple[Match, ...]
    """Related entries first, then those that share a component; the nearest first."""
    entries: int
    """Entries that were searched."""
    tested: int
    """Entries that were tested exactly."""
    alike: int
    """Entries whose signatures agree more than chance allows."""


def parts_of(sketch: Sketch) -> Parts:
    """Return what of a sketch goes into its signature.

    Of units the first 16, so that sketches with more and with fewer of them agree; of matrices
    without a role the two largest, as exports list them in any order.
    """
    tensors = [each for each in sketch.tensors if not each.turned]
    first = (sketch.units or sorted(tensors, key=_largest_first))[:_LAYERS_SIGNED]
    embedding = None if sketch.embedding is None else sketch.embedding.values.floats
    return Parts(
        embedding,
        [each.weights.floats[:_UNITS_SIGNED] for each in first],
        [each.responses.floats[:_UNITS_SIGNED] for each in first if each.responses is not None],
    )


def _largest_first(kept: KeptUnits) -> tuple[int, float]:
    rows, columns = kept.shape
    return -rows * columns, -float(np.linalg.norm(kept.weights.floats.astype(np.float64)))


def search(
    sketch: Sketch,
    registries: Sequence[Registry],
    *,
    child: Weights | None = None,
    tested: int = TESTED,
    test: Test = relate,
) -> Found:
    """Find the relatives of a model in registries.

    Signatures name the candidates; each is tested exactly, and its p-value is multiplied by the
    number of tests, as if every entry had been tested.

    Args:
        sketch: Of the model whose origin is asked.
        registries: Where to look; of the same entry in several, the first counts.
        child: The model itself, if it is at hand: where a candidate has another tokenizer, it is
            sketched again at the candidate's tokens.
        tested: Most entries of each registry to test; one that has no more is tested whole.
        test: The exact test, of child and base.

    Raises:
        SourceError: If bytes of the child cannot be fetched.
        CheckpointError: If an entry is damaged.
    """
    bits = signature(parts_of(sketch))
    total = sum(len(registry) for registry in registries)
    tests = total if child is None else 2 * total
    again = None if child is None else _Again(sketch, child)
    found: dict[tuple[str, str, str | None], Match] = {}
    alike = done = 0
    for registry in registries:
        least = threshold(len(registry))
        best, hits, agreeing = candidates(bits, registry.shelf.signatures, tested)
        alike += hits
        if len(registry) > tested:
            best = best[: max(hits, _UNLIKELY)]
        for index, agreement in zip(best, agreeing[: len(best)], strict=True):
            base = registry.sketch(int(index))
            if base is None:
                continue
            done += 1
            related = test(sketch, base)
            if again is not None:
                related = again.surer(base, related, test, hit=bool(agreement > least))
            log10_p = corrected(related.log10_p, tests)
            if related.verdict in _VERDICTS and log10_p <= SURE:
                entry = registry.entry(int(index))
                match = Match(entry, related, log10_p, float(agreement))
                found.setdefault((*entry.key, entry.identity), match)
    return Found(tuple(sorted(found.values(), key=_rank)), total, done, alike)


class _Again:
    """The child, to be sketched again at the tokens of a candidate that has another tokenizer."""

    def __init__(self, sketch: Sketch, child: Weights) -> None:
        self._sketch, self._child = sketch, Remembering(child)
        self._left = _REREAD

    def surer(self, base: Sketch, related: Relatedness, test: Test, *, hit: bool) -> Relatedness:
        """Return what is told at the candidate's tokens, where that tells more.

        All is read again where something agrees already; of the first few other candidates, the
        embedding alone, which may take 64 reads of a row.
        """
        unknown = self._sketch.tokens is None and base.tokens is not None
        if base.embedding is None or (not unknown and same_tokens(self._sketch, base)):
            return related
        matched = {part.name for part in related.components if part.base}
        agrees = hit or bool(matched)
        # A tokenizer that nobody asked for yet is read only where it may tell something.
        if unknown and (not agrees or "embedding" in matched):
            return related
        self._left -= not agrees
        if self._left < 0:
            return related
        found = test(sketch_of(self._child, like=base, layers=agrees), base)
        if not agrees and any(part.base for part in found.components):
            found = test(sketch_of(self._child, like=base), base)
        return min(found, related, key=_told)


def _told(related: Relatedness) -> tuple[int, float]:
    return -sum(part.base is not None for part in related.components), related.log10_p


def _rank(match: Match) -> tuple[int, float, float, float, tuple[str, str]]:
    """Order matches: what is related first, then what changed least."""
    place = _VERDICTS.index(match.related.verdict)
    changes = [part.change for part in match.related.components if part.change is not None]
    farthest = max(changes, default=math.inf)
    return place, farthest, -match.agreement, match.log10_p, match.entry.key
