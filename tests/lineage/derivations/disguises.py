"""Changes after which a model computes what it did before, with other numbers.

Each holds exactly for the model as it runs: neurons may come in any order, a gated neuron may be
scaled where it is read and back where it writes, queries and keys of one head may be turned in the
planes of the rotary embedding, values may be mixed before the output mixes them back, gains of
norms may move into what follows, and the residual stream may be permuted, or (with root mean
square norms that have no gain) rotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import EditKind
from tests.lineage.derivations.removals import hidden_size
from tests.lineage.derivations.shapes import with_neurons
from tests.lineage.derivations.truth import (
    Arrays,
    Derived,
    Generator,
    Truth,
    chain,
    layer_count,
    named,
    orthonormal,
    role_of,
    with_truth,
)

_READ_AFTER = {
    "norm.attention": ("attention.q", "attention.k", "attention.v", "attention.qkv"),
    "norm.mlp": ("mlp.up", "mlp.gate", "experts.up", "experts.gate", "router"),
}
_READING = (
    *(role for roles in _READ_AFTER.values() for role in roles),
    *("output_head", "embedding", "position_embedding", "token_type_embedding", "pooler"),
)
_WRITING = ("attention.o", "mlp.down", "experts.down")
_BOTH = ("head.transform",)
_NORMS_OF_HEADS = ("norm.q", "norm.k")


@dataclass(frozen=True, slots=True)
class Heads:
    """How the rows of queries, keys and values are divided."""

    count: int
    key_value: int


def _disguised(arrays: dict[str, Floats], *means: str) -> Derived:
    return Derived(arrays, Truth((EditKind.DISGUISED,), means=means))


def permute_neurons(arrays: Arrays, *, seed: int = 0) -> Derived:
    """Give the neurons of each layer another order."""
    chance = np.random.default_rng((seed, 8))
    order = {}
    for layer in range(layer_count(arrays)):
        name = named(arrays, "mlp.up", "experts.up", layer=layer)[0]
        order[layer] = chance.permutation(len(arrays[name])).tolist()
    return _disguised(with_neurons(arrays, order), "neuron_permutation")


def rescale_neurons(arrays: Arrays, *, seed: int = 0, spread: float = 0.5) -> Derived:
    """Scale each gated neuron (some by a negative number), and undo it where it writes."""
    chance = np.random.default_rng((seed, 9))
    made = dict(arrays)
    for name in named(arrays, "mlp.down", "experts.down"):
        width = arrays[name].shape[1]
        factors = np.exp(spread * chance.standard_normal(width)) * chance.choice((-1, 1), width)
        known = role_of(name)
        up = named(arrays, known.role.replace("down", "up"), layer=known.layer)
        twin = next(item for item in up if role_of(item).expert == known.expert)
        made[twin] = np.asarray(arrays[twin] * factors[:, None], np.float32)
        made[name] = np.asarray(arrays[name] / factors, np.float32)
    return _disguised(made, "rescaled")


def turn_heads(arrays: Arrays, heads: Heads, *, seed: int = 0) -> Derived:
    """Reorder heads, turn queries and keys in their rotary planes, mix values."""
    chance = np.random.default_rng((seed, 10))
    made = dict(arrays)
    for layer in range(layer_count(arrays)):
        _turn_layer(made, heads, chance, layer)
    return _disguised(made, "head_basis")


def _turn_layer(made: dict[str, Floats], heads: Heads, chance: Generator, layer: int) -> None:
    groups, each = heads.key_value, heads.count // heads.key_value
    query = made[named(made, "attention.q", layer=layer)[0]]
    size = query.shape[0] // heads.count
    order = chance.permutation(groups)
    turns = [_plane_rotation(chance, size) for _ in range(groups)]
    mixes = [
        orthonormal(chance, size, size) * np.exp(0.3 * chance.standard_normal(size))
        for _ in range(groups)
    ]
    for role, bases, copies in (
        ("attention.q", turns, each),
        ("attention.k", turns, 1),
        ("attention.v", mixes, 1),
    ):
        for name in named(made, role, part=None, layer=layer):
            rows = made[name].astype("f8").reshape(groups, copies, size, -1)
            turned = np.stack([bases[group] @ rows[group] for group in order])
            made[name] = np.asarray(turned.reshape(made[name].shape), np.float32)
    (name,) = named(made, "attention.o", layer=layer)
    columns = made[name].astype("f8").reshape(-1, groups, each, size)
    back = [columns[:, group] @ np.linalg.inv(mixes[group]) for group in order]
    made[name] = np.asarray(np.stack(back, axis=1).reshape(made[name].shape), np.float32)


def _plane_rotation(chance: Generator, size: int) -> NDArray[np.float64]:
    """Draw a rotation in the planes of dimensions `j` and `j + size / 2`, where rotary ones lie."""
    half = size // 2
    angle = chance.uniform(0, 2 * np.pi, half)
    cosine, sine = np.diag(np.cos(angle)), np.diag(np.sin(angle))
    return np.block([[cosine, -sine], [sine, cosine]])


def fold_norms(arrays: Arrays) -> Derived:
    """Move the gains of norms (and their shifts) into the matrices that read after them."""
    made = dict(arrays)
    for layer in range(layer_count(arrays)):
        for norm, roles in _READ_AFTER.items():
            for name in named(arrays, norm, layer=layer):
                _fold(made, name, named(arrays, *roles, layer=layer))
    for name in named(arrays, "norm.final"):
        heads = named(arrays, "output_head")
        if not heads:
            heads = ["lm_head.weight"]
            made[heads[0]] = arrays[named(arrays, "embedding")[0]]
        _fold(made, name, heads)
    return _disguised(made, "folded_norms")


def _fold(made: dict[str, Floats], norm: str, readers: list[str]) -> None:
    shift_name = norm.removesuffix("weight") + "bias"
    shift = made.get(shift_name)
    if shift is not None and not all(_bias(name) in made for name in readers):
        return
    for name in readers:
        if shift is not None:
            bias = _bias(name)
            made[bias] = np.asarray(made[bias] + made[name] @ shift, np.float32)
        made[name] = np.asarray(made[name] * made[norm], np.float32)
    made[norm] = np.ones_like(made[norm])
    if shift is not None:
        made[shift_name] = np.zeros_like(shift)


def _bias(name: str) -> str:
    return name.removesuffix("weight") + "bias"


def permute_hidden(arrays: Arrays, *, seed: int = 0) -> Derived:
    """Give the dimensions of the residual stream another order."""
    order = np.random.default_rng((seed, 11)).permutation(hidden_size(arrays))
    return _disguised(with_hidden(arrays, order), "hidden_permutation")


def with_hidden(arrays: Arrays, order: NDArray[np.int64]) -> dict[str, Floats]:
    """Take the dimensions of the residual stream in this order."""
    made = dict(arrays)
    for name, array in arrays.items():
        known = role_of(name)
        in_stream = known.role.startswith("norm.") and known.role not in _NORMS_OF_HEADS
        if in_stream or (known.part == "bias" and known.role in _WRITING):
            made[name] = array[order]
        if known.role in _BOTH:
            made[name] = array[order][:, order] if array.ndim == 2 else array[order]
        elif known.part == "weight" and known.role in _READING:
            made[name] = np.ascontiguousarray(array[:, order])
        elif known.part == "weight" and known.role in _WRITING:
            made[name] = array[order]
    return made


def rotate_hidden(arrays: Arrays, *, seed: int = 0) -> Derived:
    """Rotate the residual stream of a model with root mean square norms; folds the norms first."""
    width = hidden_size(arrays)
    rotation = orthonormal(np.random.default_rng((seed, 12)), width, width)
    made = fold_norms(arrays).arrays
    for name, array in made.items():
        known = role_of(name)
        if known.role in _READING and array.ndim == 2:
            made[name] = np.asarray(array @ rotation, np.float32)
        elif known.role in _WRITING and array.ndim == 2:
            made[name] = np.asarray(rotation.T @ array, np.float32)
    return _disguised(made, "folded_norms", "hidden_rotation")


def disguise_all(arrays: Arrays, heads: Heads, *, seed: int = 0) -> Derived:
    """Do all of it."""
    done = chain(
        arrays,
        partial(permute_neurons, seed=seed),
        partial(rescale_neurons, seed=seed),
        partial(turn_heads, heads=heads, seed=seed),
        partial(rotate_hidden, seed=seed),
    )
    return with_truth(done, edits=(EditKind.DISGUISED,))
