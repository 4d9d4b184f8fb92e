"""Relatedness: who is found, who is not, and which part comes from where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from steelyard.lineage.relating.exchangeability import Order, joint_order, order_of
from steelyard.lineage.relating.relatedness import relate_weights
from steelyard.lineage.relation import Related, Relatedness
from tests.lineage.derivations.shapes import relayered
from tests.lineage.memory import Arrays, MemoryWeights, random_arrays


def moved(arrays: Arrays, amount: float, seed: int = 7) -> dict[str, np.ndarray[Any, Any]]:
    """Add noise in proportion to each tensor."""
    chance = np.random.default_rng(seed)
    return {
        name: (array + amount * array.std() * chance.standard_normal(array.shape)).astype("f4")
        for name, array in arrays.items()
    }


BASE = random_arrays(0)


def relate(child: Arrays, base: Arrays = BASE) -> Relatedness:
    return relate_weights(MemoryWeights(child), MemoryWeights(base))


@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0])
def test_a_changed_copy_is_found_layer_by_layer(amount: float) -> None:
    found = relate(moved(BASE, amount))
    assert found.verdict is Related.RELATED
    assert found.log10_p < -30
    assert found.layer_map == (0, 1, 2, 3)
    assert found.assumptions


def test_independent_models_are_not_found() -> None:
    values = [relate(random_arrays(seed)).log10_p for seed in range(1, 60)]
    assert min(values) > -3
    assert np.mean(np.array(values) <= np.log10(0.05)) <= 0.05
    assert relate(random_arrays(1)).verdict is Related.NOT_FOUND


def test_only_the_embedding_is_shared() -> None:
    other = random_arrays(5)
    other["model.embed_tokens.weight"] = BASE["model.embed_tokens.weight"]
    found = relate(other)
    assert found.verdict is Related.SHARES_COMPONENT
    assert found.layer_map == (None, None, None, None)


def test_dropped_and_repeated_layers_keep_their_origin() -> None:
    child = relayered(BASE, [0, 2, 2, 3]).arrays
    assert relate(child).layer_map == (0, 2, 2, 3)


def test_a_rotated_hidden_space_is_found_by_responses() -> None:
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((64, 64)))[0].astype("f4")
    child = dict(BASE)
    for name, array in BASE.items():
        if "norm" in name:
            child[name] = np.ones_like(array)
        elif "embed" in name or "head" in name:
            child[name] = array @ turn
        elif "up_proj" in name or "gate_proj" in name:
            norm = name.partition(".mlp")[0] + ".post_attention_layernorm.weight"
            child[name] = (array * BASE[norm]) @ turn
    found = relate(child)
    assert found.verdict is Related.RELATED
    assert found.layer_map == (0, 1, 2, 3)


def test_another_hidden_size_is_no_crash() -> None:
    found = relate(random_arrays(2, width=32, feed_forward=64))
    assert found.verdict is Related.NOT_FOUND


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_constant_weights_give_no_evidence(value: float) -> None:
    filled = {name: np.full_like(array, value) for name, array in BASE.items()}
    found = relate(filled, filled)
    assert found.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL)
    assert found.log10_p > -3


def test_the_embedding_alone_is_read_where_it_decides() -> None:
    child, base = MemoryWeights(moved(BASE, 0.1)), MemoryWeights(BASE)
    found = relate_weights(child, base, layers=False)
    assert found.verdict is Related.RELATED
    assert [part.name for part in found.components] == ["embedding"]
    assert child.bytes_read == base.bytes_read == 64 * 64 * 4
    assert child.requests == base.requests == 1


def test_more_is_read_where_the_embedding_does_not_decide() -> None:
    other = random_arrays(8)
    child = dict(BASE) | {
        name: other[name] for name in ("model.embed_tokens.weight", "lm_head.weight")
    }
    found = relate_weights(MemoryWeights(child), MemoryWeights(BASE), layers=False)
    assert found.layer_map == (0, 1, 2, 3)
    assert [part.base for part in found.components[:2]] == [None, None]


def test_stopping_early_proves_no_more() -> None:
    child, base = MemoryWeights(BASE), MemoryWeights(BASE)
    early = relate_weights(child, base, layers=False)
    assert early.log10_p >= relate_weights(child, base).log10_p


def test_far_layers_are_found_among_many() -> None:
    deep = random_arrays(9, layers=30, width=32, feed_forward=64)
    assert relate(relayered(deep, [29]).arrays, deep).layer_map == (29,)


def test_nothing_to_compare_is_told() -> None:
    empty = {"model.norm.weight": np.ones(4, np.float32)}
    assert relate(empty, empty).verdict is Related.CANNOT_TELL


def test_sorted_and_smooth_units_are_known_as_such() -> None:
    rows = np.random.default_rng(0).standard_normal((64, 48)).astype("f4")
    assert order_of(rows) is Order.FREE
    rising = rows * np.linspace(1, 4, 64, dtype="f4")[:, None]
    assert order_of(rising) is Order.SORTED
    waves = np.sin(np.linspace(0, 6, 64)[:, None] * np.arange(1, 49)[None] / 8).astype("f4")
    assert order_of(waves) is Order.SMOOTH
    assert joint_order(waves, rows) is Order.FREE
    assert joint_order(waves, waves) is Order.SMOOTH
    assert joint_order(rising, rising) is Order.SORTED


def test_models_with_fixed_waves_are_not_called_relatives() -> None:
    waves = np.sin(np.arange(512)[:, None] / (1 + np.arange(64))[None]).astype("f4")
    first, second = random_arrays(11), random_arrays(12)
    for arrays in (first, second):
        arrays["model.embed_tokens.weight"] = waves
    found = relate(first, second)
    assert found.verdict in (Related.NOT_FOUND, Related.SHARES_COMPONENT)
    assert found.layer_map == (None, None, None, None)
