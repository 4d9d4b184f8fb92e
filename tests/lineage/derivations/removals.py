"""Abliteration: directions taken out of what blocks write to the residual stream.

Sources: Arditi et al. 2024 (arXiv 2406.11717) for one direction in all matrices and the
embedding; the tools that followed weigh it by layer, take a direction for each layer, keep the
norms of rows, take several directions, or reflect (a share of two).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import EditKind
from tests.lineage.derivations.truth import (
    Arrays,
    Derived,
    Truth,
    layer_count,
    named,
    orthonormal,
    role_of,
)

WRITING = ("attention.o", "mlp.down", "experts.down")
Directions = NDArray[np.float64]


def hidden_size(arrays: Arrays) -> int:
    """Return the width of the residual stream."""
    return int(arrays[named(arrays, "embedding")[0]].shape[1])


def directions(arrays: Arrays, *, seed: int = 0, count: int = 1) -> Directions:
    """Draw orthonormal directions of the hidden space, as columns."""
    return orthonormal(np.random.default_rng((seed, 4)), hidden_size(arrays), count)


def kernel(
    layers: int, *, peak: float, reach: float, most: float = 1.0, least: float = 0.0
) -> tuple[float, ...]:
    """Return shares by layer that fall in a line from a peak, to nothing beyond its reach."""
    found = []
    for layer in range(layers):
        away = abs(layer - peak)
        inside = away <= reach
        found.append(most - (most - least) * away / reach if inside else 0.0)
    return tuple(found)


def abliterate(
    arrays: Arrays,
    *,
    seed: int = 0,
    share: float = 1.0,
    taken: Directions | None = None,
    embedding: bool = False,
    keep_norms: bool = False,
) -> Derived:
    """Take the same directions out of every matrix that writes to the residual stream.

    Args:
        arrays: The model.
        seed: Of the direction, if none is given.
        share: How much of it is removed; 2 reflects.
        taken: Orthonormal columns.
        embedding: Whether the embedding loses them as well.
        keep_norms: Whether rows get back the norms they had.
    """
    basis = directions(arrays, seed=seed) if taken is None else taken
    shares = dict.fromkeys(named(arrays, *WRITING), share)
    made = _removed(arrays, shares, dict.fromkeys(shares, basis), keep_norms=keep_norms)
    if embedding:
        for name in named(arrays, "embedding"):
            array = arrays[name].astype("f8")
            made[name] = np.asarray(array - share * (array @ basis) @ basis.T, np.float32)
    return Derived(made, _truth(shares, shared=True, exact=not keep_norms))


def abliterate_kernel(
    arrays: Arrays,
    attention: tuple[float, ...],
    feed_forward: tuple[float, ...],
    *,
    seed: int = 0,
    taken: Directions | None = None,
) -> Derived:
    """Take one direction out with a share for each layer, attention and feed-forward apart."""
    basis = directions(arrays, seed=seed) if taken is None else taken
    shares = {}
    for name in named(arrays, *WRITING):
        known = role_of(name)
        by_layer = attention if known.role == "attention.o" else feed_forward
        shares[name] = by_layer[known.layer or 0]
    made = _removed(arrays, shares, dict.fromkeys(shares, basis))
    return Derived(made, _truth(shares, shared=True))


def abliterate_by_layer(
    arrays: Arrays,
    *,
    seed: int = 0,
    share: float = 1.0,
    taken: Mapping[int, Directions] | None = None,
) -> Derived:
    """Take a direction of its own out of each layer."""
    if taken is None:
        layers = range(layer_count(arrays))
        taken = {layer: directions(arrays, seed=1000 * seed + layer) for layer in layers}
    shares = dict.fromkeys(named(arrays, *WRITING), share)
    bases = {name: taken[role_of(name).layer or 0] for name in shares}
    return Derived(_removed(arrays, shares, bases), _truth(shares, shared=False))


def _removed(
    arrays: Arrays,
    shares: Mapping[str, float],
    bases: Mapping[str, Directions],
    *,
    keep_norms: bool = False,
) -> dict[str, Floats]:
    made = dict(arrays)
    for name, share in shares.items():
        array, basis = arrays[name].astype("f8"), bases[name]
        cleared = array - share * basis @ (basis.T @ array)
        if keep_norms:
            norm = np.linalg.norm(cleared, axis=1, keepdims=True)
            before = np.linalg.norm(array, axis=1, keepdims=True)
            cleared *= np.divide(before, norm, out=np.ones_like(norm), where=norm > 0)
        made[name] = np.asarray(cleared, np.float32)
    return made


def _truth(shares: Mapping[str, float], *, shared: bool, exact: bool = True) -> Truth:
    given = {name: share for name, share in shares.items() if share != 0}
    kinds = (EditKind.ABLITERATED,)
    return Truth(kinds, strength=given, shared=shared, exact_strength=exact)
