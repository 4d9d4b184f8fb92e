"""Rows of both models that stand beside each other, whatever the order, within a budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.lineage.aligning.alignment import Alignment, gathered, sample, spread
from tests.lineage.memory import MemoryWeights, random_arrays

SAME = Alignment((0, 1, 2, 3))


def test_the_same_model_has_no_change() -> None:
    arrays = random_arrays()
    taken = sample(MemoryWeights(arrays), MemoryWeights(arrays), SAME)
    assert {pair.change for pair in taken.pairs} == {0.0}
    assert len(taken.pairs) == len(arrays)
    assert all(len(pair.rows) <= 64 or pair.child.ndim == 1 for pair in taken.pairs)


def test_layers_without_a_counterpart_are_left_out() -> None:
    arrays = random_arrays()
    taken = sample(MemoryWeights(arrays), MemoryWeights(arrays), Alignment((0, None, 2, 3)))
    assert {pair.layer for pair in taken.pairs} == {None, 0, 2, 3}


def test_a_permuted_layer_stands_beside_its_own_neurons() -> None:
    base = random_arrays(feed_forward=100)
    order = np.random.default_rng(1).permutation(100)
    child = dict(base)
    for role in ("up", "gate"):
        name = f"model.layers.2.mlp.{role}_proj.weight"
        child[name] = base[name][order]
    down = "model.layers.2.mlp.down_proj.weight"
    child[down] = base[down][:, order]
    alignment = Alignment((0, 1, 2, 3), neurons={(2, None): order.astype(np.intp)})
    taken = sample(MemoryWeights(child), MemoryWeights(base), alignment)
    assert max(pair.change for pair in taken.pairs) == 0


def test_folded_norms_are_folded_into_the_base_as_well() -> None:
    base = random_arrays()
    child = dict(base)
    for layer in range(4):
        start = f"model.layers.{layer}"
        for norm, roles in (
            ("input_layernorm", ("self_attn.q", "self_attn.k", "self_attn.v")),
            ("post_attention_layernorm", ("mlp.up", "mlp.gate")),
        ):
            gain = base[f"{start}.{norm}.weight"]
            child[f"{start}.{norm}.weight"] = np.ones_like(gain)
            for role in roles:
                name = f"{start}.{role}_proj.weight"
                child[name] = base[name] * gain
    alignment = Alignment((0, 1, 2, 3), folded=True)
    taken = sample(MemoryWeights(child), MemoryWeights(base), alignment)
    assert max(pair.change for pair in taken.matrices) < 1e-6


def test_a_small_budget_takes_fewer_rows_and_layers() -> None:
    arrays = random_arrays(layers=12)
    alignment = Alignment(tuple(range(12)))
    whole = sample(MemoryWeights(arrays), MemoryWeights(arrays), alignment)
    child, base = MemoryWeights(arrays), MemoryWeights(arrays)
    few = sample(child, base, alignment, budget=400_000)
    assert child.bytes_read + base.bytes_read < 500_000
    layers = {pair.layer for pair in few.matrices}
    assert {0, 11} <= layers
    assert len(layers) < 12
    assert len(whole.matrices) == 12 * 7


@given(rows=st.lists(st.integers(0, 63), max_size=40))
def test_gathered_rows_are_those_asked_for(rows: list[int]) -> None:
    weights = MemoryWeights(random_arrays(layers=1))
    matrix = weights.matrix("attention.q", 0)
    assert matrix is not None
    found = gathered(matrix, np.array(rows, np.intp))
    assert np.array_equal(found, matrix.array[rows])


@pytest.mark.parametrize("count", [1, 2, 8, 80])
def test_layers_are_spread_evenly(count: int) -> None:
    chosen = sorted(spread(range(80), count))
    assert len(chosen) == count
    assert chosen[0] == 0
    assert count == 1 or chosen[-1] == 79
