"""Whether two models share an origin, part by part, with a bound on being wrong.

Compared are hidden dimensions by what they hold for 64 tokens, and the first neurons of each layer
by their weights and by their responses to those tokens (which no change of the hidden basis
alters). Matrices without a known role are compared by their rows. One piece of code compares,
whether the numbers are read from weights (`relate_weights`) or were kept in sketches (`relate`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Final

import numpy as np

from steelyard.lineage.aligning.alignment import FIRST_TOKEN, Indices, spread
from steelyard.lineage.aligning.vocabularies import TokenMap
from steelyard.lineage.matrix import Weights
from steelyard.lineage.relating.anonymous import Placement
from steelyard.lineage.relating.fixed_points import NOTHING, SURE, Agreement, agree, corrected
from steelyard.lineage.relating.measured import (
    DIMENSIONS,
    ROWS,
    Columns,
    Measured,
    Reading,
    Units,
    cost_of_units,
    unit_matrix,
    unit_role,
)
from steelyard.lineage.relating.nameless import TENSOR, agreement_of, among, of_placements
from steelyard.lineage.relating.sketches import Sketch, beside
from steelyard.lineage.relating.stacks import Stack, block_within, component
from steelyard.lineage.relation import Component, Related, Relatedness

BUDGET: Final = 16_000_000
_TESTS: Final = 6
"""Tests of a pair: embedding, head, layers, neurons and responses of layers of the same number,
matrices without a name. Each is paid for, done or not, so that stopping early proves no more."""
_FEW: Final = 8
_GLANCE: Final = 10
"""Neurons that suffice for a bound of 1e-6 where all of them agree."""
_NO_LAYER: Final = (
    "no layer of the two could be compared: a shared embedding alone does not make one model the "
    "other's child"
)
_ASSUMED: Final = (
    "if the two models had been trained from separate random starting points, the numbering of "
    "their neurons and hidden dimensions would agree by chance only"
)


def relate_weights(
    child: Weights,
    base: Weights,
    *,
    tokens: TokenMap | None = None,
    placements: Sequence[Placement] = (),
    layers: bool = True,
    rows: int = ROWS,
    budget: int = BUDGET,
) -> Relatedness:
    """Tell which parts of two models share their origin.

    Args:
        child: The model whose origin is asked.
        base: The model it may come from.
        tokens: Rows of the same tokens; by index if not given.
        placements: What became of the child's matrices without a name (`anonymous`).
        layers: Whether to read more where the embedding has decided already.
        rows: Rows of the embedding (and of the head) to read.
        budget: Most bytes to read of the neurons of both; where some layers' say nothing, a few
            rows of the attention of each are read, too.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    mine, other = _same_rows(child, base, tokens, rows)
    role = unit_role(child, base)
    picked = ((), ()) if role is None else _chosen(child, base, role, budget)
    ours = Reading(child, mine, role=role, layers=picked[0])
    theirs = Reading(base, other, role=role, layers=picked[1])

    def nameless(told: Collection[str]) -> list[Component]:
        return of_placements(child.layers, placements, told)

    placed = sum(item.base is not None for item in placements) * 2 > len(placements)
    return _Pair(ours, theirs, nameless, placed=placed).related(layers=layers)


def confirmed(related: Relatedness, child: Weights, base: Weights) -> Relatedness:
    """Test one layer where only what is outside of them was compared; it takes a few rows.

    A shared embedding alone does not make one model the other's child.

    Args:
        related: What `relate_weights` told without layers.
        child: The model whose origin is asked.
        base: The model it may come from.

    Returns:
        The same with the layer as a component; `SHARES_COMPONENT` where it is no match.
    """
    layer = min(len(child.layers), len(base.layers)) // 2
    role = unit_role(child, base)
    if role is None or not child.layers or not base.layers:
        return related
    ours, theirs = unit_matrix(child, role, layer), unit_matrix(base, role, layer)
    if ours is None or theirs is None or ours.shape[1:] != theirs.shape[1:]:
        return related
    mine, other = (matrix.rows(0, _GLANCE)[:, :DIMENSIONS] for matrix in (ours, theirs))
    found = agree(mine, other)
    part = component(child.layers[layer], base.layers[layer], found.log10_p, found)
    parts = (*related.components, part)
    return replace(related, components=parts, verdict=verdict_of(parts, related.log10_p))


def relate(child: Sketch, base: Sketch) -> Relatedness:
    """Tell which parts of two models share their origin, from their sketches.

    Components carry their `change` as far as sketches tell it: 0 where they are the same, else
    to about one part in a hundred.

    Args:
        child: The model whose origin is asked.
        base: The model it may come from; sketched at the tokens of which the child was, or at
            some of them (see `sketches.sketch_of`).
    """
    ours, theirs = beside(child, base)
    pair = _Pair(ours, theirs, lambda _: among(ours, theirs))
    return pair.with_changes(pair.related(layers=True))


def _same_rows(
    child: Weights, base: Weights, tokens: TokenMap | None, rows: int
) -> tuple[Indices, Indices]:
    """Choose rows of the same tokens of both embeddings; fewer where there are fewer."""
    ours, theirs = child.matrix("embedding"), base.matrix("embedding")
    nothing = np.empty(0, np.intp)
    if ours is None or theirs is None or len(ours.shape) != 2 or len(theirs.shape) != 2:
        return nothing, nothing
    size = min(ours.shape[0], theirs.shape[0], FIRST_TOKEN + ROWS)
    mine: Indices = np.arange(size, dtype=np.intp) if tokens is None else tokens.child
    other: Indices = mine if tokens is None else tokens.base
    inside = (mine < ours.shape[0]) & (other < theirs.shape[0])
    mine, other = mine[inside], other[inside]
    start = min(FIRST_TOKEN, max(len(mine) - ROWS, 0))
    part = slice(start, start + rows)
    return mine[part], other[part]


def _chosen(
    child: Weights, base: Weights, role: str, budget: int
) -> tuple[Iterable[int], Iterable[int]]:
    """Choose the layers to compare: all if the budget allows, else a few, evenly spread."""
    mine, other = range(len(child.layers)), range(len(base.layers))
    for count in (max(len(mine), len(other)), _FEW, 4, 2):
        picked = sorted(spread(mine, count)), sorted(spread(other, count))
        cost = sum(cost_of_units(child, role, n) for n in picked[0])
        cost += sum(cost_of_units(base, role, n) for n in picked[1])
        if cost <= budget:
            return picked
    return mine[:1], other[:1]


_Nameless = Callable[[Collection[str]], list[Component]]
"""Tells of matrices without a name, given the parts of which something is said already."""


class _Pair:
    """Two models that were measured at the same tokens."""

    def __init__(
        self,
        child: Measured,
        base: Measured,
        nameless: _Nameless,
        *,
        placed: bool = False,
    ) -> None:
        """Compare nothing yet.

        Args:
            child: The model whose origin is asked.
            base: The model it may come from.
            nameless: Tells of matrices without a role, given the parts that were told before.
            placed: Whether most matrices without a name were found in the base.
        """
        self._child, self._base, self._nameless = child, base, nameless
        self._placed = placed
        self._notes: list[str] = []
        self._vouched: set[str] = set()

    def related(self, *, layers: bool) -> Relatedness:
        """Test the embedding, and the rest if it is asked for or still needed."""
        parts: list[Component] = []
        tests: list[float] = []
        for name, role in (("embedding", "embedding"), ("head", "output_head")):
            if layers or corrected(min(tests, default=0.0), _TESTS) > SURE:
                found = self._columns(name, role)
                if found.items:
                    parts.append(component(name, name, found.log10_p, found))
                    tests.append(found.log10_p)
        if layers or corrected(min(tests, default=0.0), _TESTS) > SURE:
            stack = Stack(self._child, self._base, self._notes)
            parts += stack.components()
            tests += stack.tests
            nameless = self._nameless({part.name for part in parts})
            parts += nameless
            # Matrices may share the numbering of their rows, so their tests are not independent.
            lowest = min((part.log10_p for part in nameless), default=0.0)
            tests += [corrected(lowest, len(nameless))] if nameless else []
        total = corrected(min(tests, default=0.0), _TESTS)
        if total <= SURE:
            parts = [self._vouched_for(part) for part in parts]
        verdict = verdict_of(parts, total)
        if layers and verdict is Related.RELATED and self._lacks_layers(parts):
            verdict = Related.SHARES_COMPONENT
            self._notes.append(_NO_LAYER)
        return Relatedness(
            verdict,
            total,
            exact=True,
            components=tuple(parts),
            assumptions=(_ASSUMED,) if parts else (),
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _lacks_layers(self, parts: Sequence[Component]) -> bool:
        """Tell whether both models have layers, and none of them could be compared."""
        compared = any("layers." in part.name or part.name.startswith(TENSOR) for part in parts)
        both = bool(self._child.layers and self._base.layers)
        return both and not compared and not self._placed

    def _columns(self, name: str, role: str) -> Agreement:
        """Compare hidden dimensions by what they hold for the same tokens."""
        ours, theirs = self._child.columns(role), self._base.columns(role)
        if ours is None or theirs is None or ours.values.shape != theirs.values.shape:
            return NOTHING
        block = block_within(name, ours, theirs, self._notes)
        if block == 0:
            return NOTHING
        mine, other = (np.ascontiguousarray(each.values.T) for each in (ours, theirs))
        return agree(mine, other, block=block)

    def _vouched_for(self, part: Component) -> Component:
        """Find a layer whose neurons were dropped or moved by what its attention writes.

        That tells whose the layer is, not whether the models are related: of the hidden dimensions
        it speaks of, the embedding was asked before.
        """
        places = {name: number for number, name in enumerate(self._child.layers)}
        layer = places.get(part.name)
        if part.base is not None or layer is None:
            return part
        mine, others = self._child.writers().get(layer), self._base.writers()
        if mine is None:
            return part
        for number in sorted(others, key=lambda other: abs(other - layer)):
            agreement = agreement_of(mine, others[number])
            # All layers that might have been tried are paid for, and the tests of neurons, too.
            log10_p = corrected(agreement.log10_p, 3 * len(others))
            if log10_p <= SURE:
                self._vouched.add(part.name)
                return component(part.name, self._base.layers[number], log10_p, agreement)
        return part

    def with_changes(self, related: Relatedness) -> Relatedness:
        """Tell of each part that was found how far it is from the base's."""
        sides = _Parts(self._child), _Parts(self._base)
        changed = []
        for part in related.components:
            by_writers = part.name in self._vouched
            ours = sides[0].of(part.name, by_writers=by_writers)
            pairs = product(ours, sides[1].of(part.base or "", by_writers=by_writers))
            found = [change for pair in pairs if (change := _change(*pair)) is not None]
            changed.append(replace(part, change=min(found, default=None)))
        return replace(related, components=tuple(changed))


class _Parts:
    """The samples of a model by the names of its parts."""

    def __init__(self, model: Measured) -> None:
        self._model = model
        self._units = {model.layers[layer]: each for layer, each in model.units().items()}
        self._writers = {model.layers[layer]: each for layer, each in model.writers().items()}

    def of(self, name: str, *, by_writers: bool) -> list[Columns | Units]:
        """Return what was measured of a part; of a matrix without a name, both directions."""
        if by_writers:
            return [self._writers[name]] if name in self._writers else []
        if name in ("embedding", "head"):
            found = self._model.columns("output_head" if name == "head" else name)
            return [] if found is None else [found]
        if name in self._units:
            return [self._units[name]]
        tensor = name.removeprefix(TENSOR)
        return [each for each in self._model.nameless() if each.name == tensor]


def _change(ours: Columns | Units, theirs: Columns | Units) -> float | None:
    """Return the relative change of sampled numbers; None where they do not stand side by side."""
    if isinstance(ours, Units) and isinstance(theirs, Units) and ours.shape != theirs.shape:
        return None
    mine, other = (
        (each.values if isinstance(each, Columns) else each.weights).astype(np.float64)
        for each in (ours, theirs)
    )
    count = min(len(mine), len(other))
    size = float(np.linalg.norm(other[:count]))
    if mine.shape[1:] != other.shape[1:] or size == 0:
        return None
    return float(np.linalg.norm(mine[:count] - other[:count])) / size


def verdict_of(parts: Sequence[Component], total: float) -> Related:
    """Return what the parts say together.

    Args:
        parts: What was compared.
        total: Chance of so much agreement over all tests, as a power of ten.
    """
    if not parts:
        return Related.CANNOT_TELL
    if total > SURE or not any(part.base for part in parts):
        return Related.NOT_FOUND
    tensors = [part for part in parts if part.name.startswith(TENSOR)]
    most = sum(part.base is not None for part in tensors) * 2 > len(tensors)
    if tensors and len(tensors) == len(parts):
        return Related.RELATED if most or len(parts) == 1 else Related.SHARES_COMPONENT
    blocks = [part for part in parts if "layers." in part.name and part not in tensors]
    stacks = {_stack(part) for part in blocks} | ({TENSOR} if tensors else set())
    matched = {_stack(part) for part in blocks if part.base} | ({TENSOR} if most else set())
    return Related.RELATED if stacks == matched else Related.SHARES_COMPONENT


def _stack(part: Component) -> str:
    return part.name.rpartition("layers.")[0]
