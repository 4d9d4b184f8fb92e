"""Compare matrices without a known role: by their rows, with matrices and layers of their shape.

Detectors, recognizers and exports to ONNX have no names that tell roles. What a matrix is, its
first rows tell, against a model at hand (`anonymous`) or against what a sketch keeps of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from steelyard.lineage.relating.anonymous import Placement
from steelyard.lineage.relating.fixed_points import NOTHING, SURE, Agreement, agree, corrected
from steelyard.lineage.relating.measured import Measured, Units, block_of, order_of_both
from steelyard.lineage.relation import Component

TENSOR: Final = "tensor:"
"""Begins the name of a component that is one tensor without a known role."""


def of_placements(
    layers: Sequence[str], placements: Sequence[Placement], told: Iterable[str]
) -> list[Component]:
    """Tell of matrices that were placed: each by itself, or as the layers that must hold them.

    Args:
        layers: The child's layers.
        placements: What became of its matrices without a name.
        told: Layers of which something is said already.
    """
    left = [item for item in placements if item.agreement.items]
    lost = [item for item in left if item.base is None]
    if not layers:
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
    log10_p = corrected(nearest.log10_p, len(lost))
    return [
        Component(name, None, log10_p, nearest.agreement.agreeing, nearest.agreement.items)
        for name in layers
        if name not in told
    ]


def among(child: Measured, base: Measured) -> list[Component]:
    """Tell of the child's matrices without a name, or of its layers where the base has none named.

    Nothing is told where both models have layers whose role is known.
    """
    ours, theirs = child.units(), base.units()
    if ours and theirs:
        return []
    if ours:
        return _layers_among(child, ours, base)
    if theirs:
        return _tensors_as_layers(child, base, theirs)
    return _tensors_among(child.nameless(), base.nameless())


@dataclass(frozen=True, slots=True)
class _Fit:
    """What fits one group of units best."""

    found: Agreement
    units: Units | None
    key: int = -1
    tried: int = 0

    @property
    def log10_p(self) -> float:
        return corrected(self.found.log10_p, self.tried)


def _best(mine: Units, others: Iterable[tuple[int, Units]]) -> _Fit:
    """Find what one group fits best, of those of its shape."""
    best = _Fit(NOTHING, None)
    tried = 0
    for key, other in others:
        if other.shape != mine.shape:
            continue
        agreement = agreement_of(mine, other)
        tried += agreement.items > 0
        if agreement.items and (best.units is None or agreement.log10_p < best.found.log10_p):
            best = _Fit(agreement, other, key)
    return _Fit(best.found, best.units, best.key, tried)


def agreement_of(mine: Units, other: Units) -> Agreement:
    """Count the units that are most like the unit of the same number, where numbers may agree."""
    block = block_of(order_of_both(mine, other))
    return NOTHING if block == 0 else agree(mine.weights, other.weights, block=block)


def _layers_among(child: Measured, ours: Mapping[int, Units], base: Measured) -> list[Component]:
    """Look for each of the child's layers among the base's matrices."""
    theirs = base.nameless()
    places = _layers_of(theirs, base.layers)
    parts: list[Component] = []
    for layer, mine in ours.items():
        fit = _best(mine, enumerate(theirs))
        if fit.units is not None:
            origin = places.get(fit.key, TENSOR + fit.units.name)
            parts.append(_component(child.layers[layer], origin, fit))
    return parts


def _tensors_as_layers(
    child: Measured, base: Measured, theirs: Mapping[int, Units]
) -> list[Component]:
    """Look for each of the base's layers among the child's matrices."""
    ours = child.nameless()
    places = _layers_of(ours, child.layers)
    fits = {layer: _best(other, enumerate(ours)) for layer, other in theirs.items()}
    tried = sum(fit.tried for fit in fits.values())
    if not tried:
        return []
    parts: list[Component] = []
    nearest: _Fit | None = None
    for layer, fit in fits.items():
        if fit.units is None:
            continue
        paid = _Fit(fit.found, fit.units, fit.key, tried)
        if paid.log10_p <= SURE:
            name = places.get(fit.key, TENSOR + fit.units.name)
            parts.append(_component(name, base.layers[layer], paid))
        elif nearest is None or paid.log10_p < nearest.log10_p:
            nearest = paid
    told = {part.name for part in parts}
    if nearest is not None and nearest.units is not None:
        # A layer that none of the base's was found in comes from none of them.
        lost = child.layers or ((TENSOR + nearest.units.name,) if not parts else ())
        parts += [_component(name, "", nearest) for name in lost if name not in told]
    order = {name: place for place, name in enumerate(child.layers)}
    return sorted(parts, key=lambda part: order.get(part.name, len(order)))


def _tensors_among(ours: Sequence[Units], theirs: Sequence[Units]) -> list[Component]:
    """Look for each of the child's matrices, as it lies, among the base's as they lie or turned."""
    parts = []
    for mine in ours:
        if mine.turned:
            continue
        fit = _best(mine, enumerate(theirs))
        if fit.units is not None:
            parts.append(_component(TENSOR + mine.name, fit.units.name, fit))
    return parts


def _layers_of(units: Sequence[Units], layers: Sequence[str]) -> dict[int, str]:
    """Give the matrices of a shape to the layers in order, where there are as many of both."""
    kinds: dict[tuple[tuple[int, int], bool], list[int]] = {}
    for key, each in enumerate(units):
        kinds.setdefault((each.shape, each.turned), []).append(key)
    return {
        key: name
        for keys in kinds.values()
        if len(keys) == len(layers)
        for key, name in zip(keys, layers, strict=True)
    }


def _component(name: str, base: str, fit: _Fit) -> Component:
    origin = base if base and fit.log10_p <= SURE else None
    return Component(name, origin, fit.log10_p, fit.found.agreeing, fit.found.items)
