"""Neurons by what they do with tokens, seen twice: what no change of the hidden basis alters.

A neuron's profile is its product with the embeddings of tokens. In a gated layer it is seen
through the up projection with every other token, and through the gate with the tokens between; in
a layer without a gate, by what it reads (up) and by what it writes (down). Neurons of two models
that name each other in both views agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from steelyard.lineage.aligning.alignment import Indices, gathered
from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.aligning.vocabularies import MOST_TOKENS, TokenMap
from steelyard.lineage.floats import finite, median
from steelyard.lineage.matrix import Floats, Matrix, Weights, cost_of_rows

FEWEST: Final = 64
"""Neurons, and twice as many tokens, below which chance agreement is too near to a finding."""
TOKENS: Final = 512
_RUNS: Final = 4
"""Pieces of the vocabulary that tokens are taken from: rare ones are as telling as frequent ones,
and each piece is one read."""
_PIECE: Final = 1024
_TIE: Final = 1e-6
"""Profiles that are equal up to rounding name nobody."""
_SURE: Final = 0.35
"""Least mean |cosine| of both views for a neuron to be called the base's neuron."""

Views = Literal["gated", "ungated"]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The same tokens in two models: k x hidden each, as stored."""

    child: Floats
    base: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Neurons of one layer in both views: m x n profiles of length one."""

    first: Floats
    second: Floats
    lengths: Floats
    """Of the first view before it was brought to length one: m numbers."""
    twins: float
    """Median |cosine| of what the two views of a neuron rest on; near 1, they are one view."""

    def __len__(self) -> int:
        """Count the neurons."""
        return len(self.first)


def embedded(child: Weights, base: Weights, tokens: TokenMap | None) -> Embedded | None:
    """Read up to 512 tokens of both models, by index if no map is given; None for too few."""
    ours, theirs = child.matrix("embedding"), base.matrix("embedding")
    if ours is None or theirs is None or len(ours.shape) != 2 or len(theirs.shape) != 2:
        return None
    same = np.arange(min(ours.shape[0], theirs.shape[0], MOST_TOKENS), dtype=np.intp)
    mine, other = (same, same) if tokens is None else (tokens.child, tokens.base)
    inside = (mine < ours.shape[0]) & (other < theirs.shape[0])
    mine, other = mine[inside], other[inside]
    picked = _picked(len(mine))
    if len(picked) < 2 * FEWEST:
        return None
    return Embedded(gathered(ours, mine[picked]), gathered(theirs, other[picked]))


def _picked(count: int) -> Indices:
    """Choose tokens from several pieces of a vocabulary, far from its ends."""
    each = min(TOKENS, count) // _RUNS
    starts = [count * (2 * run + 1) // (2 * _RUNS) - each // 2 for run in range(_RUNS)]
    return np.concatenate([np.arange(start, start + each, dtype=np.intp) for start in starts])


def as_read(rows: Floats, weights: Weights) -> Floats:
    """Bring embeddings to one length, as the norm before a layer does; centered if that does."""
    clean = finite(rows)
    if weights.sizes.norm == "layer":
        clean = unit(clean)
        clean = clean - clean.mean(axis=1, keepdims=True)
    return unit(clean)


def views_of(child: Weights, base: Weights) -> Views | None:
    """Tell which views of neurons both models offer."""
    kinds = {_kind(child), _kind(base)}
    return kinds.pop() if len(kinds) == 1 else None


def _kind(weights: Weights) -> Views | None:
    layers = range(len(weights.layers))
    if any(weights.matrix("mlp.gate", layer) for layer in layers):
        return "gated"
    return "ungated" if any(weights.matrix("mlp.up", layer) for layer in layers) else None


def viewed(weights: Weights, views: Views) -> list[int]:
    """Return the layers whose neurons can be seen."""
    return [layer for layer in range(len(weights.layers)) if _pair(weights, views, layer)]


def _pair(weights: Weights, views: Views, layer: int) -> tuple[Matrix, Matrix] | None:
    """Return the matrices of both views, where they fit each other and the embedding."""
    first = weights.matrix("mlp.up", layer)
    second = weights.matrix("mlp.gate" if views == "gated" else "mlp.down", layer)
    if first is None or second is None or len(first.shape) != 2:
        return None
    beside = second.shape if views == "gated" else second.shape[::-1]
    fits = beside == first.shape and first.shape[1] == weights.sizes.hidden
    return (first, second) if fits and first.shape[0] >= FEWEST else None


def cost(weights: Weights, views: Views, layers: Iterable[int], neurons: int | None) -> int:
    """Return the bytes that so many neurons (all for None) of these layers take."""
    total = 0
    for layer in layers:
        for at, matrix in enumerate(_pair(weights, views, layer) or ()):
            # What a neuron writes is a column, and any column takes the whole matrix.
            whole = neurons is None or (views == "ungated" and at == 1)
            rows = matrix.shape[0] if whole or neurons is None else neurons
            total += cost_of_rows(matrix, rows)
    return total


def see(weights: Weights, views: Views, layer: int, tokens: Floats, neurons: int | None) -> Seen:
    """Read the first neurons of a layer (all for None) and tell what they do with tokens.

    Args:
        weights: The model.
        views: Which views it offers.
        layer: One of `viewed`.
        tokens: k x hidden embeddings, as `as_read` gives them.
        neurons: How many to see.
    """
    pair = _pair(weights, views, layer)
    if pair is None:
        nothing = np.empty((0, 0), np.float32)
        return Seen(nothing, nothing, nothing.ravel(), 1.0)
    first, second = pair
    count = first.shape[0] if neurons is None else min(neurons, first.shape[0])
    reads = finite(first.rows(0, count))
    written = second.rows(0, count) if views == "gated" else second.whole()[:, :count].T
    other = finite(written)
    alike = np.abs(np.einsum("ij,ij->i", unit(reads), unit(other)))
    gain = _gain(weights, layer)
    if gain is not None:
        reads = _product(reads, gain)
        other = _product(other, gain) if views == "gated" else other
    profiles, lengths = _profiles(reads, tokens[0::2])
    return Seen(profiles, _profiles(other, tokens[1::2])[0], lengths, median(alike))


def _product(rows: Floats, gain: Floats) -> Floats:
    """Fold a gain into rows that may be as large as their type allows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return finite(rows * gain)


def _gain(weights: Weights, layer: int) -> Floats | None:
    """Return the gain of the norm before the neurons."""
    for role in ("norm.mlp", "norm.post_attention", "norm.attention"):
        norm = weights.matrix(role, layer)
        if norm is not None:
            gain = norm.whole()
            return gain if gain.shape == (weights.sizes.hidden,) else None
    return None


def _profiles(rows: Floats, tokens: Floats) -> tuple[Floats, Floats]:
    """Return centered responses of length one, and what their lengths were."""
    with np.errstate(over="ignore", invalid="ignore"):
        responses = finite(rows @ tokens.T)
        responses = responses - responses.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(responses, axis=1)
    return unit(responses), lengths


def agreeing(ours: Seen, theirs: Seen, views: Views) -> int:
    """Count the base's neurons that some neuron of ours names in both views.

    Each of theirs counts once, so that one that resembles everything is no evidence; ties name
    nobody.
    """
    named = _named(_alike(ours, theirs, views, 0)), _named(_alike(ours, theirs, views, 1))
    both = named[0][(named[0] == named[1]) & (named[0] >= 0)]
    return len(np.unique(both))


def _alike(ours: Seen, theirs: Seen, views: Views, view: int) -> Floats:
    """Return the likeness in one view: by |cosine| through up, whose sign the way out undoes."""
    alike: Floats = ours.first @ theirs.first.T if view == 0 else ours.second @ theirs.second.T
    return np.abs(alike) if view == 0 and views == "gated" else alike


def _named(alike: Floats) -> Indices:
    """Return the most alike of each row; -1 where there is none or several are."""
    if alike.shape[1] < 2:
        return np.full(len(alike), -1, np.intp)
    top: Indices = alike.argmax(axis=1).astype(np.intp)
    two = np.partition(alike, -2, axis=1)[:, -2:]
    top[(two[:, 1] - two[:, 0] <= _TIE) | (two[:, 1] <= _TIE)] = -1
    return top


def pair_up(ours: Seen, theirs: Seen, views: Views) -> Indices:
    """Find each of our neurons among theirs by both views together.

    Returns:
        One number for each of ours, -1 where the two are not each other's most alike.
    """
    where = np.full(len(ours), -1, np.intp)
    likeness = np.zeros(len(ours), np.float32)
    back = np.full(len(theirs), -1, np.intp)
    most = np.zeros(len(theirs), np.float32)
    for start in range(0, len(ours), _PIECE):
        part = slice(start, start + _PIECE)
        piece = Seen(ours.first[part], ours.second[part], ours.lengths[part], ours.twins)
        alike = (_alike(piece, theirs, views, 0) + _alike(piece, theirs, views, 1)) / 2
        where[part], likeness[part] = alike.argmax(axis=1), alike.max(axis=1)
        top, value = alike.argmax(axis=0), alike.max(axis=0)
        better = value > most
        back[better], most[better] = start + top[better], value[better]
    mutual = back[where] == np.arange(len(ours))
    where[~mutual | (likeness < _SURE)] = -1
    return where
