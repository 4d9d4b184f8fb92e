"""Layers and neurons that were dropped, repeated or moved, told from the maps of an alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from steelyard.lineage.aligning.alignment import Block, Indices
from steelyard.lineage.relation import Detail, Edit, EditKind


def depth_edits(layers: Sequence[int | None], base_layers: int) -> tuple[Edit, ...]:
    """Tell what was done to the order and number of layers.

    Args:
        layers: The base's layer for each layer of the child, in order; None for no match.
        base_layers: How many layers the base has.
    """
    known = [layer for layer in layers if layer is not None]
    if not known:
        return ()
    details: dict[str, Detail] = {"layer_map": tuple(layers), "of": base_layers}
    edits = []
    fresh = len(layers) - len(known)
    note = f"{fresh} layers match none of the base" if fresh else ""
    rising = all(before < after for before, after in pairwise(known))
    missing = base_layers - len(set(known))
    if len(set(known)) < len(known) or not rising:
        repeated = len(known) - len(set(known))
        told = f"{repeated} of {len(layers)} layers repeat" if repeated else "layers were moved"
        summary = f"{told} a layer of the base" if repeated else told
        edits.append(Edit(EditKind.LAYERS_REPEATED, summary, details, note))
    if missing > fresh:
        dropped = sorted(set(range(base_layers)) - set(known))
        listed = ", ".join(str(layer) for layer in dropped[:12]) + (", …" * (len(dropped) > 12))
        summary = f"{missing - fresh} of {base_layers} layers were dropped ({listed})"
        edits.append(Edit(EditKind.DEPTH_PRUNED, summary, details, note))
    return tuple(edits)


def width_edits(
    neurons: Mapping[Block, Indices], width: int | None, base_width: int | None
) -> tuple[Edit, ...]:
    """Tell whether neurons of the feed-forward layers were dropped.

    Args:
        neurons: By layer (and expert) of the child: the base's neuron for each of its neurons (or
            for the first of them), -1 for no match, nothing where it is not known.
        width: Neurons of each layer of the child.
        base_width: Neurons of each layer of the base.
    """
    if width is None or base_width is None or width >= base_width:
        return ()
    found = {layer: kept for layer, kept in neurons.items() if len(kept)}
    complete = found and all(len(kept) == width and np.all(kept >= 0) for kept in found.values())
    details: dict[str, Detail] = {"width": width, "of": base_width}
    if complete:
        details["kept"] = _by_layer(found)
    missed = len(neurons) - len(found)
    note = "" if complete else "which neurons were kept was told for a sample only"
    if complete and missed:
        note = (
            f"which neurons were kept was not told for {missed} layers: a larger budget reads them"
        )
    summary = f"{base_width - width:,} of {base_width:,} neurons of each layer were dropped"
    return (Edit(EditKind.WIDTH_PRUNED, summary, details, note),)


def _by_layer(found: Mapping[Block, Indices]) -> dict[str, tuple[int, ...]]:
    """Name the neurons of each layer, those of each expert where they differ."""
    named: dict[str, tuple[int, ...]] = {}
    for layer in sorted({layer for layer, _ in found}):
        inside = {expert: tuple(found[layer, expert].tolist())
                  for number, expert in found if number == layer}  # fmt: skip
        if len(set(inside.values())) == 1:
            named[str(layer)] = next(iter(inside.values()))
        else:
            for expert in sorted(inside, key=lambda item: item or 0):
                named[f"{layer}.{expert}"] = inside[expert]
    return named
