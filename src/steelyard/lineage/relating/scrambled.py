"""Models whose hidden space and neurons were both scrambled: told by two views of each neuron.

Where neither neurons nor hidden dimensions kept their order, no label is left to test. What is
left is how neurons respond to tokens (`two_views`): 128 neurons of each layer of the child are
matched to those of the base once by each view, and it is counted how often both name the same.

Independent models agree more often than chance would have it, for some neurons respond to the
same tokens in every language model, so there is no exact bound. A count is set beside those of
pairs that are known to be independent (`knowledge/scrambled_null.yaml`); what comes out is called
not exact, and is never combined with the exact p-value.

Source: matching neurons through gate and up is the unconstrained test of Zhu, Ahmed, Kuditipudi,
Liang, "Independence Tests for Language Models" (2025), arXiv 2502.12292; the rank among known
pairs is a conformal p-value (Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World",
2005).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import log10
from typing import Final

import numpy as np

from steelyard import knowledge
from steelyard.lineage.aligning.alignment import Indices, spread
from steelyard.lineage.aligning.matching import cosine, find_columns, same_index
from steelyard.lineage.aligning.norms import folded
from steelyard.lineage.aligning.vocabularies import TokenMap
from steelyard.lineage.floats import median
from steelyard.lineage.matrix import Floats, Weights
from steelyard.lineage.relating.two_views import (
    TOKENS,
    Embedded,
    Seen,
    Views,
    agreeing,
    as_read,
    cost,
    embedded,
    pair_up,
    see,
    viewed,
    views_of,
)
from steelyard.lineage.relation import Component, Related, Relatedness

NEURONS: Final = 128
"""Neurons of each layer of the child that look for their like."""
FOUND: Final = 48
"""Of 128 neurons, as many must agree in each of two layers. Scrambled copies reach 128; the most
of any independent pair is in `knowledge/scrambled_null.yaml`, and far below."""
LEVEL: Final = -2.0
"""Power of ten that the rank among independent pairs must reach as well."""
LAYERS: Final = 2
"""One layer alone could be a shared component, or a coincidence."""
_HELD: Final = 512_000_000
"""Most bytes of profiles of the base's neurons that are held at a time."""
_COLUMNS: Final = 512
"""Hidden dimensions that are looked for among all of the base's."""
_TWINS: Final = 0.8
"""Views of a neuron that are this much alike are one view, and agreeing in both says no more."""
_IN_ORDER: Final = 0.4
"""Least median |cosine| of the same tokens where the hidden space is in order."""
_NEARLY_ALL: Final = 0.95
_SAME_ANGLES: Final = 0.75
"""Correlation of the inner products of tokens, without their lengths, after a rotation; independent
models that learned from the same text reach 0.66."""
_STEADY: Final = 0.995
_RESCALED: Final = 0.02
"""Neurons that kept their direction were scaled if their lengths spread more than this, as in
`edits.disguise`."""
_ASSUMED: Final = (
    "calibrated, not proved: in none of {count} pairs of independent models did neurons respond to "
    "the same tokens this much alike, and this pair is taken to be of their kind"
)
_TOO_LARGE: Final = (
    "whether hidden space and neurons were both scrambled was not tested: that takes reading "
    "{needed:,.0f} MB, and {allowed:,.0f} MB were allowed"
)


@dataclass(frozen=True, slots=True, eq=False)
class Scrambled:
    """What two views of the neurons tell of a pair of models."""

    found: bool
    """Whether the child is a scrambled relative of the base."""
    log10_p: float
    """Rank among independent pairs as a power of ten: calibrated, not exact."""
    components: tuple[Component, ...] = ()
    """The child's layers that were compared; none of them exact."""
    layers: tuple[int | None, ...] = ()
    """The base's layer for each layer of the child; empty if not found."""
    neurons: Mapping[int, Indices] = field(default_factory=dict)
    """By layer of the child: the base's neuron for each neuron of the child, -1 for none."""
    means: tuple[str, ...] = ()
    """How it was scrambled, in the words of `Edit`."""
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def beside(self, exact: Relatedness) -> Relatedness:
        """Set this beside what the exact test said, which found nothing.

        Nothing is combined: where this finds a relative, its rank stands alone, as not exact.
        """
        notes = (*exact.notes, *self.notes)
        if not self.found:
            return replace(exact, notes=notes)
        told = {part.name for part in self.components}
        kept = tuple(part for part in exact.components if part.name not in told)
        return Relatedness(
            Related.RELATED,
            self.log10_p,
            exact=False,
            components=(*kept, *self.components),
            assumptions=self.assumptions,
            notes=notes,
        )


def judge(
    child: Weights, base: Weights, tokens: TokenMap | None, *, budget: int
) -> Scrambled | None:
    """Tell whether a model is another with hidden space and neurons both scrambled.

    Args:
        child: The model whose origin is asked.
        base: The model it may come from.
        tokens: Rows of the same tokens; by index if not given.
        budget: Most bytes to read of both, norms aside. Two whole layers of the base's neurons
            must fit (2 GB at 70 billion parameters); where they do not, nothing is found and a
            note says why.

    Returns:
        What the test tells; None where it does not apply: no embedding of 128 tokens, no two
        dense feed-forward layers of 64 neurons in each, one with and one without a gate, or views
        that are one.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    views = views_of(child, base)
    if views is None or min(len(viewed(child, views)), len(viewed(base, views))) < LAYERS:
        return None
    before = child.bytes_read + base.bytes_read
    rows = embedded(child, base, tokens)
    if rows is None:
        return None
    budget -= child.bytes_read + base.bytes_read - before
    plan = _plan(child, base, views, budget)
    if plan is None:
        return Scrambled(found=False, log10_p=0.0, notes=(_too_large(child, base, views, budget),))
    pair = _Pair(child, base, views, rows, *plan)
    if any(seen.twins > _TWINS for seen in (*pair.ours.values(), *pair.theirs.values())):
        return None
    return pair.judged(budget - pair.cost)


def statistic(child: Weights, base: Weights, tokens: TokenMap | None) -> tuple[float, float] | None:
    """Return the agreements, of 128, of the best layer and of the second; None as for `judge`.

    What calibration pairs are measured by (`benchmarks/lineage_null.py`).
    """
    views = views_of(child, base)
    rows = embedded(child, base, tokens)
    if views is None or rows is None:
        return None
    layers = viewed(child, views), viewed(base, views)
    if min(map(len, layers)) < LAYERS:
        return None
    counts = sorted(_Pair(child, base, views, rows, *layers).counts())
    return counts[-1], counts[-LAYERS]


class _Pair:
    """Two models, seen layer by layer."""

    def __init__(
        self,
        child: Weights,
        base: Weights,
        views: Views,
        rows: Embedded,
        mine: Sequence[int],
        other: Sequence[int],
    ) -> None:
        self.child, self.base, self.views, self.rows = child, base, views, rows
        self.tokens = as_read(rows.child, child), as_read(rows.base, base)
        self.ours = {n: see(child, views, n, self.tokens[0], NEURONS) for n in mine}
        self.theirs = {n: see(base, views, n, self.tokens[1], None) for n in other}
        self.cost = cost(child, views, mine, NEURONS) + cost(base, views, other, None)
        self.best = {n: self._best(n) for n in mine}

    def _best(self, layer: int) -> tuple[int, int]:
        """Return the base's layer that a layer agrees with most, that of its index first."""
        near = sorted(self.theirs, key=lambda other: abs(other - layer))
        ours = self.ours[layer]
        tried = [(other, agreeing(ours, self.theirs[other], self.views)) for other in near]
        return max(tried, key=lambda item: item[1])

    def counts(self) -> list[float]:
        """Return the agreements of each layer, of 128."""
        return [self._of_128(layer) for layer in self.best]

    def _of_128(self, layer: int) -> float:
        return self.best[layer][1] * NEURONS / len(self.ours[layer])

    def judged(self, left: int) -> Scrambled:
        """Tell what was found; `left` bytes may be read for the map of neurons."""
        best, second = null(self.views)
        log10_p = rank(sorted(self.counts())[-LAYERS], second)
        reached = {n: self.best[n][0] for n in self.best if self._of_128(n) >= FOUND}
        found = len(set(reached.values())) >= LAYERS and log10_p <= LEVEL
        parts = tuple(
            Component(
                self.child.layers[n],
                self.base.layers[reached[n]] if found and n in reached else None,
                rank(self._of_128(n), best),
                self.best[n][1],
                len(self.ours[n]),
                exact=False,
            )
            for n in self.best
        )
        if not found:
            return Scrambled(found, log10_p, parts)
        layers = self._layers(reached)
        neurons = dict(self._neurons(reached, left))
        means = (*self._hidden_means(layers), *self._neuron_means(neurons, reached))
        assumed = (_ASSUMED.format(count=len(second)),)
        return Scrambled(found, log10_p, parts, layers, neurons, means, assumed)

    def _layers(self, reached: Mapping[int, int]) -> tuple[int | None, ...]:
        """Map all layers; those not compared lie in order where all that were compared do."""
        count = len(self.child.layers)
        ordered = count == len(self.base.layers) and all(reached.get(n, n) == n for n in self.best)
        return tuple(
            reached.get(n, n if ordered and n not in self.best else None) for n in range(count)
        )

    def _neurons(self, reached: Mapping[int, int], left: int) -> Iterable[tuple[int, Indices]]:
        """Map the neurons of the child's layers: all while the budget lasts, else the first."""
        for layer, other in reached.items():
            needed = cost(self.child, self.views, [layer], None)
            whole = needed <= left
            left -= needed if whole else 0
            ours = self.ours[layer]
            if whole:
                ours = see(self.child, self.views, layer, self.tokens[0], None)
            up = self.child.matrix("mlp.up", layer)
            found = np.full(len(ours) if up is None else up.shape[0], -1, np.intp)
            found[: len(ours)] = pair_up(ours, self.theirs[other], self.views)
            yield layer, found

    def _hidden_means(self, layers: Sequence[int | None]) -> Iterable[str]:
        """Tell what became of the hidden space: reordered, rotated, its norms folded."""
        if folded(self.child, self.base, layers):
            yield "folded_norms"
        ours, theirs = self.rows.child, self.rows.base
        if ours.shape != theirs.shape or same_index(ours, theirs) > _IN_ORDER:
            return
        if float(np.mean(find_columns(ours[:, :_COLUMNS], theirs) >= 0)) > _NEARLY_ALL:
            yield "hidden_permutation"
        elif _angles(*self.tokens) > _SAME_ANGLES:
            yield "hidden_rotation"

    def _neuron_means(
        self, neurons: Mapping[int, Indices], reached: Mapping[int, int]
    ) -> Iterable[str]:
        """Tell whether neurons were reordered, and whether each has a factor of its own."""
        moved = rescaled = False
        for layer, found in neurons.items():
            known = np.flatnonzero(found[: len(self.ours[layer])] >= 0)
            moved |= bool(np.mean(found[known] != known) > 1 - _NEARLY_ALL) if len(known) else False
            rescaled |= _scaled(self.ours[layer], self.theirs[reached[layer]], known, found[known])
        if moved:
            yield "neuron_permutation"
        if rescaled:
            yield "rescaled"


def _angles(ours: Floats, theirs: Floats) -> float:
    """Return how well the inner products of tokens agree: 1 after any rotation."""
    mine, other = (rows - rows.mean(axis=0) for rows in (ours, theirs))
    # Tokens with themselves agree in any two models, so only pairs of tokens tell.
    pairs = np.triu_indices(len(mine), 1)
    return cosine((mine @ mine.T)[pairs], (other @ other.T)[pairs])


def _scaled(ours: Seen, theirs: Seen, mine: Indices, other: Indices) -> bool:
    cosines = np.abs(np.einsum("ij,ij->i", ours.first[mine], theirs.first[other]))
    lengths = ours.lengths[mine], theirs.lengths[other]
    usable = (lengths[0] > 0) & (lengths[1] > 0)
    if np.count_nonzero(usable) < 8 or median(cosines) <= _STEADY:
        return False
    return float(np.std(np.log(lengths[0][usable]) - np.log(lengths[1][usable]))) > _RESCALED


def _plan(
    child: Weights, base: Weights, views: Views, budget: int
) -> tuple[list[int], list[int]] | None:
    """Choose the layers to compare, as many as can be read; None for fewer than two of each."""
    mine, other = viewed(child, views), viewed(base, views)
    room = max(_HELD // (4 * TOKENS * max(base.sizes.feed_forward or 1, 1)), LAYERS)
    for count in range(min(max(len(mine), len(other)), room), LAYERS - 1, -1):
        picked = sorted(spread(mine, count)), sorted(spread(other, count))
        if _priced(child, base, views, picked) <= budget:
            return picked
    return None


def _priced(
    child: Weights, base: Weights, views: Views, layers: tuple[list[int], list[int]]
) -> int:
    return cost(child, views, layers[0], NEURONS) + cost(base, views, layers[1], None)


def _too_large(child: Weights, base: Weights, views: Views, budget: int) -> str:
    picked = viewed(child, views)[:LAYERS], viewed(base, views)[:LAYERS]
    needed = _priced(child, base, views, picked)
    return _TOO_LARGE.format(needed=needed / 1e6, allowed=max(budget, 0) / 1e6)


def rank(count: float, null_counts: Sequence[float]) -> float:
    """Return the conformal p-value of a count among those of independent pairs, as a power of ten.

    `(1 + #{k: A_k >= A}) / (K + 1)`: never 0, never above 1.
    """
    above = sum(other >= count for other in null_counts)
    return log10((1 + above) / (len(null_counts) + 1))


@cache
def null(views: Views) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the agreements, of 128, of known independent pairs: of the best layer, the second."""
    groups = knowledge.load("scrambled_null")[views]
    best, second = (
        tuple(
            float(count)
            for group in groups
            for count, pairs in group[key].items()
            for _ in range(pairs)
        )
        for key in ("best", "second")
    )
    return best, second
