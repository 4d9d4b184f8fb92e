"""Merges of several models, as mergekit does them.

Sources: Wortsman et al. 2022 (linear), Ilharco et al. 2023 (task arithmetic), Yadav et al. 2023
(TIES), Yu et al. 2024 (DARE). Parents are fine-tunes of one base unless the method needs none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import EditKind
from tests.lineage.derivations.truth import (
    Arrays,
    Derived,
    Generator,
    Truth,
    renumbered,
    role_of,
)

Parents = Mapping[str, Arrays]
Weights = Mapping[str, float]


def _merge(method: str, weights: Weights) -> Truth:
    names = tuple(weights)
    return Truth((EditKind.MERGE,), parents=names, coefficients=dict(weights), method=method)


def _sum(arrays: Iterable[tuple[float, Floats]]) -> Floats:
    """Add in double precision, as the last bits tell how a merge was made."""
    return np.asarray(sum(weight * array.astype("f8") for weight, array in arrays), np.float32)


def linear(parents: Parents, weights: Weights) -> Derived:
    """Average the parents with weights."""
    first = next(iter(parents.values()))
    made = {
        name: _sum((weight, parents[parent][name]) for parent, weight in weights.items())
        for name in first
    }
    return Derived(made, _merge("linear", weights))


def task_arithmetic(base: Arrays, parents: Parents, weights: Weights) -> Derived:
    """Add the parents' changes to the base, each with a weight; they need not sum to one."""
    made = {
        name: _sum(
            [(1 - sum(weights.values()), array)]
            + [(weight, parents[parent][name]) for parent, weight in weights.items()]
        )
        for name, array in base.items()
    }
    return Derived(made, _merge("task_arithmetic", weights))


def slerp(parents: Parents, t: float) -> Derived:
    """Walk from the first parent to the second on the arc between them, tensor by tensor.

    The coefficients that are recorded are the medians over the matrices.
    """
    (first, ours), (second, theirs) = parents.items()
    made: dict[str, Floats] = {}
    shares = []
    for name, array in ours.items():
        a, b = array.astype("f8"), theirs[name].astype("f8")
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        cosine = float((a * b).sum()) / size if size > 0 else 1.0
        if abs(cosine) > 0.9995:
            # mergekit takes the straight line where the arc is nearly straight.
            weights = (1 - t, t)
        else:
            angle = float(np.arccos(cosine))
            weights = (
                float(np.sin((1 - t) * angle) / np.sin(angle)),
                float(np.sin(t * angle) / np.sin(angle)),
            )
        made[name] = np.asarray(weights[0] * a + weights[1] * b, np.float32)
        if array.ndim == 2:
            shares.append(weights)
    middle = np.median(np.array(shares), axis=0)
    return Derived(made, _merge("slerp", {first: float(middle[0]), second: float(middle[1])}))


def ties(base: Arrays, parents: Parents, *, density: float = 0.5, scale: float = 1.0) -> Derived:
    """Keep the largest changes, elect a sign for each element, average what agrees with it."""
    made: dict[str, Floats] = {}
    for name, array in base.items():
        trimmed = np.stack([_largest(parent[name] - array, density) for parent in parents.values()])
        sign = np.sign(trimmed.sum(axis=0))
        agrees = (np.sign(trimmed) == sign) & (trimmed != 0)
        total = np.where(agrees, trimmed, 0).sum(axis=0)
        count = np.maximum(agrees.sum(axis=0), 1)
        made[name] = np.asarray(array + scale * total / count, np.float32)
    return Derived(made, _merge("ties", dict.fromkeys(parents, scale)))


def _largest(delta: Floats, density: float) -> Floats:
    size = np.abs(delta)
    return np.where(size >= np.quantile(size, 1 - density), delta, np.float32(0))


def dare(
    base: Arrays, parents: Parents, weights: Weights, *, drop: float = 0.5, seed: int = 0
) -> Derived:
    """Drop changes at random, rescale the rest, add them with weights."""
    chance: Generator = np.random.default_rng((seed, 3))
    made: dict[str, Floats] = {}
    for name, array in base.items():
        total = array.astype("f8")
        for parent, weight in weights.items():
            delta = parents[parent][name].astype("f8") - array
            kept = chance.random(array.shape) >= drop
            total += np.where(kept, delta * (weight / (1 - drop)), 0.0)
        made[name] = np.asarray(total, np.float32)
    return Derived(made, _merge("dare", weights))


def passthrough(parents: Parents, picks: Sequence[tuple[str, int]]) -> Derived:
    """Stack layers of several models; what is outside of blocks is the first parent's."""
    first = next(iter(parents.values()))
    made = {name: array for name, array in first.items() if role_of(name).layer is None}
    for place, (parent, layer) in enumerate(picks):
        for name, array in parents[parent].items():
            if role_of(name).layer == layer:
                made[renumbered(name, place)] = array
    taken = {name: sum(1 for parent, _ in picks if parent == name) for name in parents}
    shares = {name: count / len(picks) for name, count in taken.items()}
    order = tuple(layer for _, layer in picks)
    depth = 1 + max(role_of(name).layer or 0 for name in first)
    truth = _merge("passthrough", shares)
    changed = order != tuple(range(depth))
    kinds = truth.edits + ((EditKind.LAYERS_REPEATED,) if len(set(order)) < len(order) else ())
    return Derived(
        made,
        Truth(
            kinds,
            parents=truth.parents,
            coefficients=shares,
            method="passthrough",
            layer_map=order if changed else None,
        ),
    )
