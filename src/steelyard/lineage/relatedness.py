"""Whether two models share an origin, part by part, with a bound on being wrong.

Compared are hidden dimensions by what they hold for 64 tokens, and 64 neurons of each layer by
their weights and by their responses to those tokens (which no change of the hidden basis alters).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from steelyard.lineage.alignment import Indices, gathered, spread
from steelyard.lineage.anonymous import Placement
from steelyard.lineage.exchangeability import BLOCK, Order, joint_order
from steelyard.lineage.fixed_points import NOTHING, Agreement, agree, corrected, fisher, join
from steelyard.lineage.matrix import Floats, Matrix, Weights
from steelyard.lineage.relation import Component, Related, Relatedness
from steelyard.lineage.vocabularies import TokenMap

ROWS: Final = 64
DIMENSIONS: Final = 512
"""Hidden dimensions that are compared; any fixed part of them is as exact as all."""
FIRST_TOKEN: Final = 300
BUDGET: Final = 16_000_000
SURE: Final = -6.0
"""Power of ten below which two parts are said to share their origin."""
TENSOR: Final = "tensor:"
"""Begins the name of a component that is one tensor without a known role."""
_DECISIVE: Final = -20.0
_FEW: Final = 8
_UNITS: Final = ("mlp.up", "mlp.gate", "experts.up", "experts.gate", "attention.v")
"""Whose rows stand for a layer: the first that both models have."""
_ASSUMED: Final = (
    "if the two models had been trained from separate random starting points, the numbering of "
    "their neurons and hidden dimensions would agree by chance only"
)
_SORTED_NOTE: Final = (
    "units of {name} are sorted by size in both models: they were compared with near neighbors only"
)
_SMOOTH_NOTE: Final = (
    "units of {name} resemble their neighbors in both models, so their numbers prove nothing: "
    "they were not compared"
)


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Neurons of one layer: what they weigh, and how they respond to tokens."""

    weights: Floats
    responses: Floats
    block: int | None


def relate_weights(
    child: Weights,
    base: Weights,
    *,
    tokens: TokenMap | None = None,
    placements: Sequence[Placement] = (),
    layers: bool = True,
    budget: int = BUDGET,
) -> Relatedness:
    """Tell which parts of two models share their origin.

    Args:
        child: The model whose origin is asked.
        base: The model it may come from.
        tokens: Rows of the same tokens; by index if not given.
        placements: What became of the child's matrices without a name (`anonymous`).
        layers: Whether to compare layers where the embedding has decided already.
        budget: Most bytes to read of the layers of both.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    notes: list[str] = []
    ours, theirs = _embedded(child, base, "embedding", tokens)
    columns = _columns("embedding", ours, theirs, notes)
    head = _columns("head", *_embedded(child, base, "output_head", tokens), notes)
    parts = [
        Component(name, name if found.log10_p <= SURE else None, found.log10_p,
                  found.agreeing, found.items)
        for name, found in (("embedding", columns), ("head", head))
        if found.items
    ]  # fmt: skip
    tests = [found.log10_p for found in (columns, head) if found.items]
    if layers or not tests or min(tests) > SURE:
        compared = _Layers(child, base, ours, theirs, notes, budget)
        parts += compared.components()
        tests += compared.tests
        nameless = _nameless(child, placements, parts)
        parts += nameless
        tests += [fisher([part.log10_p for part in nameless])] if nameless else []
    total = corrected(min(tests, default=0.0), len(tests))
    return Relatedness(
        _verdict(parts, total),
        total,
        exact=True,
        components=tuple(parts),
        assumptions=(_ASSUMED,) if parts else (),
        notes=tuple(dict.fromkeys(notes)),
    )


def _verdict(parts: Sequence[Component], total: float) -> Related:
    if not parts:
        return Related.CANNOT_TELL
    if total > SURE or not any(part.base for part in parts):
        return Related.NOT_FOUND
    if len(parts) > 1 and all(part.name.startswith(TENSOR) for part in parts):
        most = sum(part.base is not None for part in parts) * 2 > len(parts)
        return Related.RELATED if most else Related.SHARES_COMPONENT
    blocks = [part for part in parts if "layers." in part.name]
    stacks = {_stack(part) for part in blocks}
    matched = {_stack(part) for part in blocks if part.base}
    return Related.RELATED if stacks == matched else Related.SHARES_COMPONENT


def _nameless(
    child: Weights, placements: Sequence[Placement], parts: Sequence[Component]
) -> list[Component]:
    """Tell of matrices without a name: each by itself, or as the layers that must hold them."""
    left = [item for item in placements if item.agreement.items]
    lost = [item for item in left if item.base is None]
    if not child.layers:
        return [
            Component(
                TENSOR + item.tensor, item.base, item.log10_p,
                item.agreement.agreeing, item.agreement.items,
            )
            for item in left
        ]  # fmt: skip
    if not lost:
        return []
    nearest = min(lost, key=lambda item: item.log10_p)
    told = {part.name for part in parts}
    log10_p = corrected(nearest.log10_p, len(lost))
    return [
        Component(name, None, log10_p, nearest.agreement.agreeing, nearest.agreement.items)
        for name in child.layers
        if name not in told
    ]


def _stack(part: Component) -> str:
    return part.name.rpartition("layers.")[0]


def _embedded(
    child: Weights, base: Weights, role: str, tokens: TokenMap | None
) -> tuple[Floats, Floats]:
    """Read 64 rows of the same tokens of both: 64 x hidden each; no rows where there are none."""
    ours, theirs = child.matrix(role), base.matrix(role)
    nothing = np.empty((0, 0), np.float32)
    if ours is None or theirs is None or len(ours.shape) != 2 or len(theirs.shape) != 2:
        return nothing, nothing
    size = min(ours.shape[0], theirs.shape[0])
    mine: Indices = np.arange(size, dtype=np.intp) if tokens is None else tokens.child
    other: Indices = mine if tokens is None else tokens.base
    inside = (mine < ours.shape[0]) & (other < theirs.shape[0])
    mine, other = mine[inside], other[inside]
    start = min(FIRST_TOKEN, max(len(mine) - ROWS, 0))
    part = slice(start, start + ROWS)
    return gathered(ours, mine[part]), gathered(theirs, other[part])


def _columns(name: str, ours: Floats, theirs: Floats, notes: list[str]) -> Agreement:
    """Compare hidden dimensions by what they hold for the same tokens."""
    if ours.shape != theirs.shape or len(ours) < 2:
        return NOTHING
    mine = np.ascontiguousarray(ours[:, :DIMENSIONS].T)
    other = np.ascontiguousarray(theirs[:, :DIMENSIONS].T)
    block = _block(name, mine, other, notes)
    return NOTHING if block == 0 else agree(mine, other, block=block)


def _block(name: str, ours: Floats, theirs: Floats, notes: list[str]) -> int | None:
    """Return the size of blocks to compare within; None for all together, 0 for not at all."""
    order = joint_order(ours, theirs)
    if order is Order.SMOOTH:
        notes.append(_SMOOTH_NOTE.format(name=name))
        return 0
    if order is Order.SORTED:
        notes.append(_SORTED_NOTE.format(name=name))
        return BLOCK
    return None


class _Layers:
    """The layers of two models, each of the child's compared with those of the base."""

    def __init__(
        self,
        child: Weights,
        base: Weights,
        ours: Floats,
        theirs: Floats,
        notes: list[str],
        budget: int,
    ) -> None:
        self._child, self._base, self._notes = child, base, notes
        self._ours, self._theirs = _normalized(ours), _normalized(theirs)
        self.tests: list[float] = []
        self._mine: dict[int, _Units] = {}
        self._other: dict[int, _Units] = {}
        role = next((r for r in _UNITS if _has(child, r) and _has(base, r)), None)
        if role is None:
            return
        mine, other = _chosen(child, base, role, budget)
        self._mine = _read(child, role, mine, self._ours)
        self._other = _read(base, role, other, self._theirs)

    def components(self) -> list[Component]:
        """Return what each compared layer of the child matches best."""
        found: list[Component] = []
        straight: list[tuple[Agreement, Agreement]] = []
        for layer, mine in self._mine.items():
            best, tried = self._best(layer, mine, straight)
            if tried == 0:
                continue
            other, agreement = best
            log10_p = corrected(agreement.log10_p, tried)
            name = self._base.layers[other] if log10_p <= SURE else None
            found.append(
                Component(
                    self._child.layers[layer], name, log10_p, agreement.agreeing, agreement.items
                )
            )
        if found:
            self.tests.append(fisher([part.log10_p for part in found]))
        for column in zip(*straight, strict=True):
            self.tests.append(join(column).log10_p)
        return found

    def _best(
        self, layer: int, mine: _Units, straight: list[tuple[Agreement, Agreement]]
    ) -> tuple[tuple[int, Agreement], int]:
        """Return the base's layer that fits best, and how many tests the choice took."""
        best, tried = (layer, NOTHING), 0
        for other in sorted(self._other, key=lambda number: abs(number - layer)):
            pair = self._agreements(self._child.layers[layer], mine, self._other[other])
            if other == layer:
                straight.append(pair)
            for agreement in pair:
                tried += agreement.items > 0
                if agreement.log10_p < best[1].log10_p or best[1].items == 0:
                    best = (other, agreement)
            if best[1].log10_p < _DECISIVE:
                # The bound pays for every layer that might have been tried.
                return best, 2 * len(self._other)
        return best, tried

    def _agreements(self, name: str, mine: _Units, other: _Units) -> tuple[Agreement, Agreement]:
        block = _smaller(mine.block, other.block)
        if mine.weights.shape == other.weights.shape:
            order = _block(name, mine.weights, other.weights, self._notes)
            if order == 0:
                return NOTHING, NOTHING
            block = _smaller(block, order)
        weights = agree(mine.weights, other.weights, block=block)
        return weights, agree(mine.responses, other.responses, block=block)


def _smaller(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else min(first, second)


def _has(weights: Weights, role: str) -> bool:
    return any(_matrix(weights, role, layer) is not None for layer in range(len(weights.layers)))


def _matrix(weights: Weights, role: str, layer: int) -> Matrix | None:
    expert = 0 if role.startswith("experts.") else None
    found = weights.matrix(role, layer, expert=expert)
    return found if found is not None and len(found.shape) == 2 else None


def _chosen(
    child: Weights, base: Weights, role: str, budget: int
) -> tuple[Iterable[int], Iterable[int]]:
    """Choose the layers to compare: all if the budget allows, else a few, evenly spread."""
    mine, other = range(len(child.layers)), range(len(base.layers))
    for count in (max(len(mine), len(other)), _FEW, 4, 2):
        picked = sorted(spread(mine, count)), sorted(spread(other, count))
        cost = sum(_cost(child, role, n) for n in picked[0])
        cost += sum(_cost(base, role, n) for n in picked[1])
        if cost <= budget:
            return picked
    return mine[:1], other[:1]


def _cost(weights: Weights, role: str, layer: int) -> int:
    matrix = _matrix(weights, role, layer)
    if matrix is None:
        return 0
    return matrix.nbytes * min(ROWS, matrix.shape[0]) // max(matrix.shape[0], 1)


def _read(
    weights: Weights, role: str, layers: Iterable[int], embedded: Floats
) -> dict[int, _Units]:
    """Read the first neurons of layers, with the norm before them folded in."""
    found: dict[int, _Units] = {}
    for layer in layers:
        matrix = _matrix(weights, role, layer)
        if matrix is None:
            continue
        rows = matrix.rows(0, ROWS)
        norm = weights.matrix("norm.attention" if role == "attention.v" else "norm.mlp", layer)
        gain = None if norm is None else norm.whole()
        if gain is not None and gain.shape == rows.shape[1:]:
            rows = rows * gain
        responses = np.empty((len(rows), 0), np.float32)
        if embedded.shape[1:] == rows.shape[1:] and len(embedded) > 1:
            responses = np.nan_to_num(rows) @ embedded.T
            responses = responses - responses.mean(axis=1, keepdims=True)
        block = BLOCK if role == "attention.v" else None
        found[layer] = _Units(rows[:, :DIMENSIONS], responses, block)
    return found


def _normalized(rows: Floats) -> Floats:
    """Divide rows by their root mean square, as a norm would."""
    clean = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
    if clean.size == 0:
        return clean
    size = np.sqrt(np.mean(np.square(clean, dtype=np.float64), axis=1, keepdims=True))
    size = size.astype(np.float32)
    result: Floats = np.divide(clean, size, out=np.zeros_like(clean), where=size > 0)
    return result
