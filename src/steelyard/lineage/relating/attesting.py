"""Layers that the test of neurons left open, and what else vouches for them.

The same exact test as for neurons, on other units: the dimensions of values within their head, and
the hidden dimensions that attention writes to. Both keep their numbers when neurons do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from steelyard.lineage.matrix import Weights
from steelyard.lineage.relating.exchangeability import BLOCK, Order, joint_order
from steelyard.lineage.relating.fixed_points import NOTHING, Agreement, agree, corrected
from steelyard.lineage.relating.measured import DIMENSIONS, ROWS, SURE, unit_matrix, unit_role
from steelyard.lineage.relating.relatedness import verdict_of
from steelyard.lineage.relation import Component, Relatedness

_GLANCE: Final = 10
"""Neurons that suffice for a bound of 1e-6 where all of them agree."""
_UNITS: Final = ("attention.v", "attention.o")


def attested(
    related: Relatedness, child: Weights, base: Weights, layers: Sequence[int | None]
) -> Relatedness:
    """Test layers that no neuron vouches for by their attention.

    Args:
        related: What is known of the parts.
        child: The model whose origin is asked.
        base: The model it may come from.
        layers: The base's layer for each of the child's, as far as they were found alike.
    """
    places = {name: number for number, name in enumerate(child.layers)}
    parts = tuple(_attested(part, child, base, places, layers) for part in related.components)
    if parts == related.components:
        return related
    return replace(related, components=parts, verdict=verdict_of(parts, related.log10_p))


def _attested(
    part: Component,
    child: Weights,
    base: Weights,
    places: dict[str, int],
    layers: Sequence[int | None],
) -> Component:
    layer = places.get(part.name)
    mapped = None if layer is None else layers[layer]
    if part.base is not None or layer is None or mapped is None:
        return part
    best = min(
        (_agreement(child, base, role, layer, mapped) for role in _UNITS),
        key=lambda found: found.log10_p,
    )
    # Any layer of the base might have been chosen, by either kind of unit.
    log10_p = corrected(best.log10_p, len(_UNITS) * len(base.layers))
    if log10_p > SURE:
        return part
    return replace(
        part, base=base.layers[mapped], log10_p=log10_p, agreeing=best.agreeing, items=best.items
    )


def _agreement(child: Weights, base: Weights, role: str, layer: int, mapped: int) -> Agreement:
    ours, theirs = child.matrix(role, layer), base.matrix(role, mapped)
    if ours is None or theirs is None or ours.shape != theirs.shape or len(ours.shape) != 2:
        return NOTHING
    mine, other = ours.rows(0, ROWS), theirs.rows(0, ROWS)
    if joint_order(mine, other) is not Order.FREE:
        return NOTHING
    return agree(mine, other, block=BLOCK if role == "attention.v" else None)


def confirmed(related: Relatedness, child: Weights, base: Weights) -> Relatedness:
    """Test one layer where only what is outside of them was compared; it takes a few rows.

    A shared embedding alone does not make one model the other's child.

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
    mine, other = ours.rows(0, _GLANCE), theirs.rows(0, _GLANCE)
    found = agree(mine[:, :DIMENSIONS], other[:, :DIMENSIONS])
    origin = base.layers[layer] if found.log10_p <= SURE else None
    part = Component(child.layers[layer], origin, found.log10_p, found.agreeing, found.items)
    parts = (*related.components, part)
    return replace(related, components=parts, verdict=verdict_of(parts, related.log10_p))
