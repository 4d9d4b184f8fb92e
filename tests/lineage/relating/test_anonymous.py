"""Matrices without a name find their place by content, turned or not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from steelyard.lineage.matrix import Matrix
from steelyard.lineage.relating.anonymous import place, place_both
from steelyard.lineage.relating.relatedness import relate_weights
from steelyard.lineage.relation import Related
from tests.lineage.memory import Arrays, MemoryMatrix, MemoryWeights, random_arrays

BASE = random_arrays(0)


def renamed(seed: int = 0, *, turn: bool = True) -> MemoryWeights:
    """Give every matrix of the layers a number for a name, as exporters do."""
    arrays = {}
    for number, (name, array) in enumerate(random_arrays(seed).items()):
        hide = re.search(r"(proj)\.weight", name) is not None
        arrays[f"onnx::MatMul_{number}" if hide else name] = array.T if hide and turn else array
    return MemoryWeights({k: np.ascontiguousarray(v) for k, v in arrays.items()})


def test_every_matrix_finds_its_place() -> None:
    base = MemoryWeights(BASE)
    for turn in (True, False):
        placed = place(renamed(turn=turn), base)
        assert not placed.unnamed()
        for matrix in base.matrices():
            same = placed.matrix(matrix.role, matrix.layer)
            assert same is not None
            assert np.array_equal(same.whole(), matrix.whole())
        found = relate_weights(placed, base, placements=placed.placements)
        assert found.verdict is Related.RELATED
        assert found.layer_map == (0, 1, 2, 3)


def test_what_fits_nowhere_stays_without_a_place() -> None:
    base = MemoryWeights(BASE)
    placed = place(renamed(seed=4), base)
    assert len(placed.unnamed()) == 28
    assert all(item.base is None and item.log10_p > -4 for item in placed.placements)
    found = relate_weights(placed, base, placements=placed.placements)
    assert found.verdict is Related.NOT_FOUND
    assert found.layer_map == (None, None, None, None)


def test_an_embedding_is_shared_beside_layers_without_names() -> None:
    other = renamed(seed=4)
    arrays = {**other.arrays, "model.embed_tokens.weight": BASE["model.embed_tokens.weight"]}
    base = MemoryWeights(BASE)
    placed = place(MemoryWeights(arrays), base)
    found = relate_weights(placed, base, placements=placed.placements)
    assert found.verdict is Related.SHARES_COMPONENT


def test_models_of_tensors_only_are_compared_tensor_by_tensor() -> None:
    chance = np.random.default_rng(5)
    nets = [
        {f"conv2d_{n}.w_0": chance.standard_normal((32, 48)).astype("f4") for n in range(6)}
        for _ in range(2)
    ]
    base = MemoryWeights(nets[0])
    again = MemoryWeights({f"p2o.{name}": array for name, array in nets[0].items()})
    for child, verdict in (
        (again, Related.RELATED),
        (MemoryWeights(nets[1]), Related.NOT_FOUND),
    ):
        placed = place(child, base)
        found = relate_weights(placed, base, placements=placed.placements)
        assert found.verdict is verdict
        assert len(found.components) == 6


def test_of_two_that_fit_the_nearer_is_taken() -> None:
    arrays = dict(BASE)
    for layer in range(4):
        start = f"model.layers.{layer}.mlp"
        up = arrays[f"{start}.up_proj.weight"]
        noise = np.random.default_rng(layer).standard_normal(up.T.shape).astype("f4")
        arrays[f"{start}.down_proj.weight"] = -up.T + 0.5 * up.std() * noise
    base = MemoryWeights(arrays)
    nameless = {
        f"val_{number}" if "_proj" in name else name: np.ascontiguousarray(
            array.T if "_proj" in name else array
        )
        for number, (name, array) in enumerate(arrays.items())
    }
    placed = place(MemoryWeights(nameless), base)
    for layer in range(4):
        for role in ("mlp.up", "mlp.down"):
            found, wanted = placed.matrix(role, layer), base.matrix(role, layer)
            assert found is not None
            assert wanted is not None
            assert np.array_equal(found.whole(), wanted.whole())


class Nameless(MemoryWeights):
    """A model none of whose tensors has a name that says anything."""

    def unnamed(self) -> tuple[MemoryMatrix, ...]:
        return tuple(item for item in self.nameless.values() if len(item.shape) == 2)

    def vectors(self) -> tuple[Matrix, ...]:
        return tuple(item for item in self.nameless.values() if len(item.shape) == 1)


def nameless(arrays: Arrays, seed: int = 3) -> Nameless:
    order = np.random.default_rng(seed).permutation(len(arrays))
    held = list(arrays.values())
    return Nameless({f"t{number}": held[at] for number, at in enumerate(order)})


def moved(share: float) -> dict[str, np.ndarray[Any, Any]]:
    """Change every number of the base a little."""
    chance = np.random.default_rng(9)
    return {
        name: (a + share * a.std() * chance.standard_normal(a.shape)).astype("f4")
        for name, a in BASE.items()
    }


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_model_without_any_name_finds_all_its_places(share: float) -> None:
    base, arrays = MemoryWeights(BASE), moved(share)
    placed = place(nameless(arrays), base)
    assert placed.layers == base.layers
    wanted = MemoryWeights(arrays)
    for matrix in wanted.matrices():
        same = placed.matrix(matrix.role, matrix.layer, part=matrix.part)
        assert same is not None, (matrix.role, matrix.layer)
        assert np.array_equal(same.whole(), matrix.whole())
    assert placed.sizes == base.sizes


def test_which_of_two_models_has_names_does_not_matter() -> None:
    names, none = MemoryWeights(BASE), nameless(moved(0.02))
    for child, base in ((names, none), (none, names)):
        placed, other = place_both(child, base)
        found = relate_weights(placed, other, placements=placed.placements)
        assert found.verdict is Related.RELATED
        assert found.layer_map == (0, 1, 2, 3)
        assert {part.name for part in found.components} >= {"embedding", "head"}


def test_layers_that_were_dropped_leave_no_gap() -> None:
    arrays = {name: a for name, a in BASE.items() if ".2." not in name}
    placed = place(nameless(arrays), MemoryWeights(BASE))
    assert placed.layers == ("layers.0", "layers.1", "layers.3")
    last = placed.matrix("mlp.up", 2)
    assert last is not None
    assert np.array_equal(last.whole(), BASE["model.layers.3.mlp.up_proj.weight"])


@pytest.mark.parametrize("turn", [False, True])
def test_what_an_exporter_joined_is_found_and_cut(turn: bool) -> None:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, array in BASE.items():
        stem = name.rpartition(".layers.")[2].partition(".")[0]
        for kind, parts in (("attn", "qkv"), ("mlp", ("gate", "up"))):
            if any(f"{part}_proj" in name for part in parts) and kind in name:
                key = f"joined_{kind}_{stem}"
                arrays[key] = np.concatenate([arrays[key], array]) if key in arrays else array
                break
        else:
            arrays[name] = array
    child = MemoryWeights(
        {k: np.ascontiguousarray(a.T) if turn and "joined" in k else a for k, a in arrays.items()}
    )
    base = MemoryWeights(BASE)
    placed = place(child, base)
    assert not placed.unnamed()
    for matrix in base.matrices():
        same = placed.matrix(matrix.role, matrix.layer, part=matrix.part)
        assert same is not None, (matrix.role, matrix.layer)
        assert np.array_equal(same.whole(), matrix.whole())


def test_a_table_that_a_formula_makes_proves_nothing() -> None:
    angles = 2 * np.pi * np.outer(np.arange(64), np.arange(128)) / 128
    table = np.cos(angles).astype("f4")
    chance = np.random.default_rng(0)
    base, child = (
        MemoryWeights({"basis": table, "kernel": chance.standard_normal((64, 96)).astype("f4")})
        for _ in range(2)
    )
    placed = place(child, base)
    told = {item.tensor: item for item in placed.placements}
    assert told["basis"].base == "basis"
    assert told["basis"].log10_p == 0.0
    found = relate_weights(placed, base, placements=placed.placements)
    assert found.verdict is Related.NOT_FOUND


@pytest.mark.parametrize("budget", [0, 40_000, 400_000])
def test_a_budget_bounds_what_is_read(budget: int) -> None:
    base, child = MemoryWeights(BASE), nameless(BASE)
    placed = place(child, base, budget=budget)
    norms = sum(a.nbytes for a in BASE.values() if a.ndim == 1)
    most = max(a.shape[1] * 4 * 512 for a in BASE.values() if a.ndim == 2)
    assert child.bytes_read + base.bytes_read <= budget + 2 * norms + 6 * most
    assert placed.matrix("embedding") is not None


def test_numbers_that_are_none_find_no_place() -> None:
    arrays = {name: np.full_like(a, np.nan) for name, a in BASE.items()}
    placed = place(nameless(arrays), MemoryWeights(BASE))
    assert all(item.base is None for item in placed.placements)
    zeros = {name: np.zeros_like(a) for name, a in BASE.items()}
    placed = place(nameless(zeros), MemoryWeights(zeros))
    assert all(item.base is None for item in placed.placements)
