"""Matrices without a name find their place by content, turned or not."""

from __future__ import annotations

import re

import numpy as np

from steelyard.lineage.anonymous import place
from steelyard.lineage.relatedness import relate_weights
from steelyard.lineage.relation import Related
from tests.lineage.memory import MemoryWeights, random_arrays

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
