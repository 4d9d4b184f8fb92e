"""Independent models that strain what the p-value of lineage rests on.

Labels of neurons and hidden dimensions mean nothing where training starts from random numbers and
treats all alike. Here they mean something, in one way each; `lineage_null.py` tells what becomes
of the verdict.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from independent_models import Trained
from record import ROOT

sys.path.insert(0, str(ROOT))

from tests.lineage.memory import Arrays, MemoryWeights, random_arrays

from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relating.exchangeability import is_attainable
from steelyard.lineage.relating.fixed_points import agree
from steelyard.lineage.relating.relatedness import relate_weights

DRAWS = 60
_EMBEDDING = "model.embed_tokens.weight"
Table = Callable[[int, int], Floats]
"""Make rows x columns by a formula."""
_Change = Callable[[Arrays, int], Arrays]
"""Change a drawn model in a way that depends on its seed, or does not."""


@dataclass(frozen=True, slots=True)
class Trap:
    """Independent pairs that strain an assumption: what was said of them."""

    name: str
    values: tuple[float, ...]
    verdicts: Counter[str]
    flagged: str
    """What told that the labels mean something."""

    def row(self) -> list[str]:
        """Write a row of the table."""
        said = ", ".join(f"{word} {count}" for word, count in sorted(self.verdicts.items()))
        lowest = f"{10 ** max(min(self.values), -300):.2g}"
        return [self.name, str(len(self.values)), self.flagged, said, lowest]


def _trap(name: str, pairs: Iterable[tuple[Arrays, Arrays]], flagged: str = "") -> Trap:
    values, verdicts, notes = [], Counter[str](), Counter[bool]()
    for child, base in pairs:
        found = relate_weights(MemoryWeights(child), MemoryWeights(base))
        values.append(found.log10_p)
        verdicts[found.verdict.value] += 1
        notes[bool(found.notes)] += 1
    return Trap(name, tuple(values), verdicts, flagged or f"{notes[True]} of {len(values)}")


def traps(strained: Mapping[str, Sequence[Trained]]) -> Iterator[Trap]:
    """Compare independent models whose labels may mean something."""
    yield _trap("neurons and hidden dimensions sorted by size", _pairs(_sorted_by_size))
    tables: tuple[tuple[str, Table], ...] = (
        ("started from the identity, then moved by half", _identity),
        ("started from a Hadamard matrix, then moved by half", _hadamard),
        ("started from cosines, then moved by half", _cosines),
    )
    for name, table_of in tables:
        yield _trap(name, _pairs(partial(_started, table_of=table_of)))
    yield _trap("neurons started orthogonal", _pairs(_orthogonal))
    yield _trap("neurons started from zeros", _pairs(_zeros))
    yield _trap("one fixed table of positions as embedding", _pairs(_positions))
    yield _trap("one public embedding, frozen", _pairs(_public))
    for name, models in strained.items():
        arrays = [model.weights.arrays for model in models]
        yield _trap(f"{name} (trained)", combinations(arrays, 2))
    yield _chosen()


def _pairs(change: _Change) -> Iterator[tuple[Arrays, Arrays]]:
    for seed in range(DRAWS):
        first, second = random_arrays(5000 + 2 * seed), random_arrays(5001 + 2 * seed)
        yield change(first, 2 * seed), change(second, 2 * seed + 1)


def _sorted_by_size(arrays: Arrays, _: int) -> Arrays:
    made = dict(arrays)
    width = np.argsort(np.linalg.norm(arrays[_EMBEDDING], axis=0))
    for name, array in arrays.items():
        if array.ndim == 2 and array.shape[1] == len(width) and "down" not in name:
            made[name] = array[:, width]
    for name in [name for name in arrays if name.endswith(("up_proj.weight", "gate_proj.weight"))]:
        made[name] = made[name][np.argsort(np.linalg.norm(made[name], axis=1))]
    return made


def _identity(rows: int, columns: int) -> Floats:
    return np.eye(rows, columns, dtype=np.float32)


def _hadamard(rows: int, columns: int) -> Floats:
    matrix = np.ones((1, 1))
    while len(matrix) < max(rows, columns):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.asarray(matrix[:rows, :columns], np.float32)


def _cosines(rows: int, columns: int) -> Floats:
    place = np.arange(columns) + 0.5
    return np.cos(np.pi * np.arange(rows)[:, None] * place / columns).astype(np.float32)


def _started(arrays: Arrays, seed: int, *, table_of: Table) -> Arrays:
    chance = np.random.default_rng((seed, 5))
    made = dict(arrays)
    for name in [name for name in arrays if name.endswith("up_proj.weight")]:
        start = unit(np.asarray(table_of(*arrays[name].shape), np.float32))
        noise = chance.standard_normal(start.shape) / np.sqrt(start.shape[1])
        made[name] = (start + 0.5 * noise).astype(np.float32)
    return made


def _orthogonal(arrays: Arrays, seed: int) -> Arrays:
    made = dict(arrays)
    for at, name in enumerate(name for name in arrays if name.endswith("up_proj.weight")):
        drawn_ = np.random.default_rng((seed, 6, at)).standard_normal(arrays[name].shape)
        made[name] = np.linalg.qr(drawn_)[0].astype(np.float32)
    return made


def _zeros(arrays: Arrays, _: int) -> Arrays:
    return {n: np.zeros_like(a) if n.endswith("up_proj.weight") else a for n, a in arrays.items()}


def _positions(arrays: Arrays, _: int) -> Arrays:
    places, width = arrays[_EMBEDDING].shape
    angle = np.arange(places)[:, None] * 10_000.0 ** (-np.arange(0, width, 2) / width)
    waves = np.stack((np.sin(angle), np.cos(angle)), -1).reshape(places, width)
    return {**arrays, _EMBEDDING: waves.astype(np.float32)}


def _public(arrays: Arrays, _: int) -> Arrays:
    return {**arrays, _EMBEDDING: random_arrays(4999)[_EMBEDDING]}


def _chosen() -> Trap:
    """Sort the neurons of a stranger after the base's: the bound fails, and a check must say so."""
    values, told = [], 0
    for seed in range(DRAWS):
        chance = np.random.default_rng((seed, 7))
        base = chance.standard_normal((64, 512)).astype(np.float32)
        ours = chance.standard_normal((2048, 512)).astype(np.float32)
        alike = np.abs(unit(base) @ unit(ours).T)
        order = []
        for place in range(64):
            order.append(int(alike[place].argmax()))
            alike[:, order[-1]] = -1
        values.append(agree(ours[order], base).log10_p)
        told += is_attainable(ours[order], base, choices=len(ours))
    name = "neurons of a stranger, put in the order that fits the base best"
    return Trap(name, tuple(values), Counter(), f"{told} of {len(values)} by `is_attainable`")
