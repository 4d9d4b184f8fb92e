"""Models that strain what the p-value rests on: units whose numbers mean something.

The test takes it that the units of one of two models could be renumbered without a difference.
Here they are trained or initialized so that a unit's number says something about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from steelyard.lineage.matrix import Floats
from tests.lineage.derivations.disguises import with_hidden
from tests.lineage.derivations.shapes import with_neurons
from tests.lineage.derivations.truth import (
    Arrays,
    layer_count,
    named,
    orthonormal,
    role_of,
)
from tests.zoo.nets import Architecture, initial

Start = Callable[[Architecture, int], dict[str, Floats]]


def zeros(arch: Architecture, seed: int) -> dict[str, Floats]:
    """Start with blocks that write nothing (Zhang et al. 2019, Fixup; Yang et al. 2022, muP)."""
    made = initial(arch, seed)
    for name in named(made, "attention.o", "mlp.down"):
        made[name] = np.zeros_like(made[name])
    return made


def orthogonal(arch: Architecture, seed: int) -> dict[str, Floats]:
    """Start with orthogonal matrices (Saxe et al. 2014), drawn at random."""
    chance = np.random.default_rng((seed, 23))
    made = initial(arch, seed)
    for name, array in made.items():
        if array.ndim == 2 and role_of(name).layer is not None:
            rows, columns = array.shape
            drawn = orthonormal(chance, max(array.shape), min(array.shape))
            made[name] = np.asarray(0.4 * (drawn if rows >= columns else drawn.T), np.float32)
    return made


def identity(arch: Architecture, seed: int) -> dict[str, Floats]:
    """Start with square and stacked identities and little noise in every block."""
    made = initial(arch, seed)
    for name, array in made.items():
        if array.ndim == 2 and role_of(name).layer is not None:
            rows, columns = array.shape
            eye = (np.arange(rows)[:, None] % columns) == (np.arange(columns)[None] % rows)
            made[name] = np.asarray(0.4 * eye + 0.25 * array, np.float32)
    return made


def fixed(arch: Architecture, seed: int) -> dict[str, Floats]:
    """Start from no chance at all: cosine transforms everywhere (as Zhao et al. 2022, ZerO)."""
    made = initial(arch, seed)
    for name, array in made.items():
        if array.ndim == 2:
            rows, columns = (np.arange(size) for size in array.shape)
            wave = np.cos(np.pi * (2 * rows[:, None] + 1) * (columns + 1) / (2 * len(columns) + 1))
            made[name] = np.asarray(0.6 / arch.width**0.5 * wave, np.float32)
    return made


STARTS: Mapping[str, Start] = {
    "zeros": zeros,
    "orthogonal": orthogonal,
    "identity": identity,
    "fixed": fixed,
}


def sorted_by_norm(arrays: Arrays) -> dict[str, Floats]:
    """Sort neurons by the norm of what they read, hidden dimensions by that of their tokens."""
    orders = {
        layer: np.argsort(
            np.linalg.norm(arrays[named(arrays, "mlp.up", layer=layer)[0]], axis=1)
        ).tolist()
        for layer in range(layer_count(arrays))
    }
    made = with_neurons(arrays, orders)
    sizes = np.linalg.norm(made[named(made, "embedding")[0]], axis=0)
    return with_hidden(made, np.argsort(sizes))
