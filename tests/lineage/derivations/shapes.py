"""Edits that change shapes or the order of things: layers, neurons, the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import EditKind
from tests.lineage.derivations.truth import (
    Arrays,
    Derived,
    Truth,
    layer_count,
    named,
    renumbered,
    role_of,
)

BY_TOKEN = ("embedding", "output_head", "head.bias")
_INTO_NEURONS = ("mlp.up", "mlp.gate", "experts.up", "experts.gate")
_FROM_NEURONS = ("mlp.down", "experts.down")


def relayered(arrays: Arrays, order: Sequence[int]) -> Derived:
    """Take the layers in this order: fewer, repeated, or moved."""
    made = {name: array for name, array in arrays.items() if role_of(name).layer is None}
    for place, layer in enumerate(order):
        for name, array in arrays.items():
            if role_of(name).layer == layer:
                made[renumbered(name, place)] = array
    kinds = []
    if len(set(order)) < len(order) or list(order) != sorted(order):
        kinds.append(EditKind.LAYERS_REPEATED)
    if len(set(order)) < layer_count(arrays):
        kinds.append(EditKind.DEPTH_PRUNED)
    return Derived(made, Truth(tuple(kinds), layer_map=tuple(order)))


def every_second(arrays: Arrays) -> Derived:
    """Keep the layers 0, 2, 4, ..."""
    return relayered(arrays, range(0, layer_count(arrays), 2))


def with_neurons(arrays: Arrays, order: Mapping[int, Sequence[int]]) -> dict[str, Floats]:
    """Take the feed-forward neurons of each layer in this order (all experts alike)."""
    made = dict(arrays)
    for name, array in arrays.items():
        known = role_of(name)
        if known.layer is None or known.layer not in order:
            continue
        chosen = np.asarray(order[known.layer], np.intp)
        if known.role in _INTO_NEURONS:
            made[name] = array[chosen]
        elif known.role in _FROM_NEURONS and known.part == "weight":
            made[name] = np.ascontiguousarray(array[:, chosen])
    return made


def prune_width(arrays: Arrays, keep: int, *, seed: int | None = None) -> Derived:
    """Keep some neurons of each layer: the strongest, or with a seed a random choice of them."""
    chance = None if seed is None else np.random.default_rng((seed, 5))
    kept: dict[int, tuple[int, ...]] = {}
    for layer in range(layer_count(arrays)):
        up = arrays[named(arrays, "mlp.up", "experts.up", layer=layer)[0]]
        if chance is None:
            chosen = np.argsort(-np.linalg.norm(up, axis=1), kind="stable")[:keep]
        else:
            chosen = chance.choice(len(up), keep, replace=False)
        kept[layer] = tuple(sorted(chosen.tolist()))
    return Derived(with_neurons(arrays, kept), Truth((EditKind.WIDTH_PRUNED,), kept=kept))


def _by_token(arrays: Arrays, rows: Sequence[int]) -> dict[str, Floats]:
    chosen = np.asarray(rows, np.intp)
    touched = named(arrays, *BY_TOKEN, part=None)
    return {**arrays, **{name: arrays[name][chosen] for name in touched}}


def vocabulary_size(arrays: Arrays) -> int:
    """Count the rows of the embedding."""
    return len(arrays[named(arrays, "embedding")[0]])


def extend_vocabulary(arrays: Arrays, rows: int, *, seed: int = 0) -> Derived:
    """Add rows near the mean of those that are there."""
    chance = np.random.default_rng((seed, 6))
    made = dict(arrays)
    for name in named(arrays, *BY_TOKEN, part=None):
        array = arrays[name]
        drawn = chance.standard_normal((rows, *array.shape[1:]))
        fresh = array.mean(axis=0) + 0.1 * float(array.std()) * drawn
        made[name] = np.concatenate([array, fresh.astype(np.float32)])
    return Derived(made, Truth((EditKind.VOCAB_EXTENDED,), rows=rows))


def trim_vocabulary(arrays: Arrays, keep: int) -> Derived:
    """Keep the first rows."""
    made = _by_token(arrays, range(keep))
    dropped = vocabulary_size(arrays) - keep
    return Derived(made, Truth((EditKind.VOCAB_TRIMMED,), rows=-dropped))


def permute_vocabulary(arrays: Arrays, *, seed: int = 0) -> Derived:
    """Give the tokens another order."""
    order = np.random.default_rng((seed, 7)).permutation(vocabulary_size(arrays))
    return Derived(_by_token(arrays, order.tolist()), Truth((EditKind.VOCAB_PERMUTED,)))
