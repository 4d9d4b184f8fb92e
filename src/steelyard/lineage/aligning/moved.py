"""Find what stands beside what: layers, neurons, hidden dimensions, where they do not lie in order.

`relatedness` maps what kept its index; this looks for the rest by content, within a budget, and
tells by which means it was moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from steelyard.lineage.aligning.alignment import FIRST_TOKEN, Alignment, Block, Indices, gathered
from steelyard.lineage.aligning.matching import cosine, find_columns, find_rows, same_index
from steelyard.lineage.aligning.norms import folded
from steelyard.lineage.aligning.vocabularies import TokenMap
from steelyard.lineage.matrix import Floats, Matrix, Weights
from steelyard.lineage.relation import Relatedness
from steelyard.lineage.roles import UP

_ROWS: Final = 64
_FEWEST_ROWS: Final = 4
"""Rows of a layer that tell whether its neurons lie in order, where 64 of every layer cost too
much: only matrices so wide that independent rows are nearly orthogonal cost so much."""
_ALIKE: Final = 0.4
"""Least median |cosine| of rows of the same index in a pair of layers with one origin."""
_MOST_TOKENS: Final = 512
_NEARLY_ALL: Final = 0.95
_SAME_ANGLES: Final = 0.9
"""Least cosine of all inner products of tokens, from which a rotation is taken."""
_UNKNOWN: Final[Indices] = np.zeros(0, np.intp)
"""For a layer whose neurons lie elsewhere, and nobody knows where."""
_BY_INDEX: Final = ("attention.v", "attention.o", "attention.q")


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """An alignment, and by which means the child's order differs from the base's."""

    alignment: Alignment
    means: tuple[str, ...] = ()


def align(
    child: Weights,
    base: Weights,
    related: Relatedness,
    tokens: TokenMap | None,
    *,
    budget: int,
) -> Aligned:
    """Complete the map of layers and find neurons and hidden dimensions that were moved.

    Args:
        child: The model whose origin is asked.
        base: The model it comes from.
        related: What is known of its parts.
        tokens: Rows of the same tokens.
        budget: Most bytes to read for it.
    """
    layers = complete_layers(child, base, layer_map(child, base, related))
    is_folded = folded(child, base, layers)
    means = ["folded_norms"] if is_folded else []
    pairs = None if tokens is None else (tokens.child, tokens.base)
    alignment = Alignment(layers, pairs, folded=is_folded)
    hidden, moved = _hidden(child, base, alignment)
    means += [moved] if moved else []
    alignment = replace(alignment, hidden=hidden)
    if "hidden_rotation" in means:
        return Aligned(alignment, tuple(means))
    neurons = _neurons(child, base, alignment, budget)
    same_width = child.sizes.feed_forward == base.sizes.feed_forward
    if same_width and any(len(where) for where in neurons.values()):
        means.append("neuron_permutation")
    return Aligned(replace(alignment, neurons=neurons), tuple(means))


def layer_map(child: Weights, base: Weights, related: Relatedness) -> tuple[int | None, ...]:
    """Return the base's layer for each layer of the child, as far as relatedness tells.

    Layers that were not compared are taken to lie in order, where all that were compared do.
    """
    places = {name: number for number, name in enumerate(base.layers)}
    compared = {
        part.name: None if part.base is None else places.get(part.base)
        for part in related.components
    }
    ordered = len(child.layers) == len(base.layers) and all(
        compared[name] == number for number, name in enumerate(child.layers) if name in compared
    )
    return tuple(
        compared.get(name, number if ordered else None) for number, name in enumerate(child.layers)
    )


def complete_layers(
    child: Weights, base: Weights, layers: Sequence[int | None]
) -> tuple[int | None, ...]:
    """Map layers whose neurons say nothing by their attention, that of the same index first."""
    found = list(layers)
    for layer, mapped in enumerate(found):
        if mapped is not None:
            continue
        near = sorted(range(len(base.layers)), key=lambda other: abs(other - layer))
        for other in near:
            if _attention_alike(child, base, layer, other):
                found[layer] = other
                break
    return tuple(found)


def _attention_alike(child: Weights, base: Weights, layer: int, other: int) -> bool:
    for role in _BY_INDEX:
        ours, theirs = child.matrix(role, layer), base.matrix(role, other)
        if ours is None or theirs is None or ours.shape[1:] != theirs.shape[1:]:
            continue
        if same_index(ours.rows(0, _ROWS), theirs.rows(0, _ROWS)) > _ALIKE:
            return True
    return False


def _hidden(
    child: Weights, base: Weights, alignment: Alignment
) -> tuple[Indices | None, str | None]:
    """Find the order of hidden dimensions by what they hold for the same tokens."""
    ours, theirs = child.matrix("embedding"), base.matrix("embedding")
    if ours is None or theirs is None or ours.shape[1:] != theirs.shape[1:]:
        return None, None
    if same_index(*_few(ours, theirs, alignment)) > _ALIKE:
        return None, None
    mine, other = _embedded(ours, theirs, alignment)
    if len(mine) < _ROWS // 2 or same_index(mine, other) > _ALIKE:
        return None, None
    found = find_columns(mine, other)
    if np.mean(found >= 0) > _NEARLY_ALL:
        return _filled(found), "hidden_permutation"
    if not any(layer is not None for layer in alignment.layers):
        return None, None
    return None, "hidden_rotation" if _same_angles(mine, other) else None


def _few(ours: Matrix, theirs: Matrix, alignment: Alignment) -> tuple[Floats, Floats]:
    """Read the rows that `relatedness` reads, so that nothing is fetched for them."""
    size = min(ours.shape[0], theirs.shape[0])
    same: Indices = np.arange(size, dtype=np.intp)
    mine, other = (same, same) if alignment.tokens is None else alignment.tokens
    inside = (mine < ours.shape[0]) & (other < theirs.shape[0])
    mine, other = mine[inside], other[inside]
    start = min(FIRST_TOKEN, max(len(mine) - _ROWS, 0))
    part = slice(start, start + _ROWS)
    return gathered(ours, mine[part]), gathered(theirs, other[part])


def _embedded(ours: Matrix, theirs: Matrix, alignment: Alignment) -> tuple[Floats, Floats]:
    """Read rows of the same tokens from both embeddings."""
    count = min(_MOST_TOKENS, ours.shape[0], theirs.shape[0])
    if alignment.tokens is None:
        return ours.rows(0, count), theirs.rows(0, count)
    mine, other = alignment.tokens
    first = slice(0, count)
    if np.array_equal(mine[first], other[first]) and len(mine[first]):
        start, size = int(mine[0]), int(mine[first][-1] - mine[0]) + 1
        keep = mine[first] - start
        return ours.rows(start, size)[keep], theirs.rows(start, size)[keep]
    return ours.rows(0, 0), theirs.rows(0, 0)


def _same_angles(ours: Floats, theirs: Floats) -> bool:
    """Tell whether tokens have the same inner products, as after a rotation."""
    known = (np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0) for rows in (ours, theirs))
    mine, other = (rows - rows.mean(axis=0) for rows in known)
    return cosine(mine @ mine.T, other @ other.T) > _SAME_ANGLES


def _filled(found: Indices) -> Indices:
    """Give the few dimensions without a match the places that are left, in order."""
    left = iter(np.setdiff1d(np.arange(len(found)), found[found >= 0]))
    return np.array([int(item) if item >= 0 else int(next(left)) for item in found], np.intp)


def _neurons(
    child: Weights, base: Weights, alignment: Alignment, budget: int
) -> dict[Block, Indices]:
    """Find neurons by content in blocks where they do not lie at the base's index."""
    found: dict[Block, Indices] = {}
    blocks = list(_blocks(child, base, alignment.layers))
    count = _affordable(blocks, budget // 2)
    for block, ours, theirs in blocks:
        gain = _gain(base, theirs.layer) if alignment.folded else None
        if ours.shape == theirs.shape and _in_order(ours, theirs, alignment, gain, count):
            continue
        cost = ours.nbytes + theirs.nbytes
        if cost > budget and theirs.nbytes > budget:
            found[block] = _UNKNOWN
            continue
        rows = ours.whole() if cost <= budget else ours.rows(0, _ROWS)
        budget -= cost
        if alignment.hidden is not None:
            rows = rows[:, np.argsort(alignment.hidden)]
        where = find_rows(rows, theirs, gain=gain)
        known = np.mean(where >= 0) > _NEARLY_ALL
        found[block] = where if known else _UNKNOWN
    return found


def _blocks(
    child: Weights, base: Weights, layers: Sequence[int | None]
) -> Iterator[tuple[Block, Matrix, Matrix]]:
    """Yield what neurons read from, of each block, beside that of the base's block."""
    for ours in child.matrices():
        mapped = None if ours.layer is None else layers[ours.layer]
        if ours.layer is None or mapped is None or ours.role not in UP or ours.part != "weight":
            continue
        theirs = base.matrix(ours.role, mapped, expert=ours.expert)
        if theirs is not None and len(ours.shape) == len(theirs.shape) == 2:
            yield (ours.layer, ours.expert), ours, theirs


def _affordable(blocks: Sequence[tuple[Block, Matrix, Matrix]], budget: int) -> int:
    """Return how many rows of all blocks the budget allows; a few, whatever it allows."""
    cost = sum(matrix.nbytes // max(matrix.shape[0], 1) for _, *pair in blocks for matrix in pair)
    return min(max(budget // max(cost, 1), _FEWEST_ROWS), _ROWS)


def _in_order(
    ours: Matrix, theirs: Matrix, alignment: Alignment, gain: Floats | None, count: int
) -> bool:
    """Tell whether the first neurons lie at the base's index."""
    mine, other = ours.rows(0, count), theirs.rows(0, count)
    if gain is not None:
        other = other * gain
    if alignment.hidden is not None:
        other = other[:, alignment.hidden]
    return same_index(mine, other) > _ALIKE


def _gain(base: Weights, layer: int | None) -> Floats | None:
    norm = base.matrix("norm.mlp", layer)
    return None if norm is None else norm.whole()
