"""Scrambled copies are found by two views of their neurons, strangers are not."""

from __future__ import annotations

from functools import partial
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.lineage.aligning.vocabularies import TokenMap
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relating.relatedness import relate_weights
from steelyard.lineage.relating.scrambled import (
    FOUND,
    LEVEL,
    Scrambled,
    judge,
    null,
    rank,
    statistic,
)
from steelyard.lineage.relating.two_views import Seen, Views, agreeing
from steelyard.lineage.relation import Related
from tests.lineage.derivations.disguises import (
    Heads,
    disguise_all,
    permute_hidden,
    permute_neurons,
    rotate_hidden,
)
from tests.lineage.derivations.shapes import with_neurons
from tests.lineage.derivations.truth import chain, renumbered
from tests.lineage.memory import Arrays, MemoryWeights, random_arrays

BUDGET = 64_000_000
BASE = random_arrays(0, feed_forward=192)
HEADS = Heads(4, 2)


def gpt2(seed: int, *, layers: int = 3, width: int = 64, neurons: int = 256) -> dict[str, Floats]:
    """Make a GPT-2 of random numbers: no gates, norms with shifts."""
    chance = np.random.default_rng((seed, 77))

    def drawn(*shape: int) -> Floats:
        values: Floats = np.asarray(chance.standard_normal(shape) / np.sqrt(shape[-1]), np.float32)
        return values

    made = {"transformer.wte.weight": drawn(600, width)}
    for layer in range(layers):
        block = f"transformer.h.{layer}"
        made |= {f"{block}.mlp.c_fc.weight": drawn(neurons, width)}
        made |= {f"{block}.mlp.c_fc.bias": drawn(neurons)}
        made |= {f"{block}.mlp.c_proj.weight": drawn(width, neurons)}
        made |= {f"{block}.mlp.c_proj.bias": drawn(width)}
        made |= {f"{block}.ln_2.weight": 1 + 0.1 * drawn(width) * width**0.5}
        made |= {f"{block}.ln_2.bias": drawn(width)}
    return made


def judged(
    child: Arrays, base: Arrays = BASE, *, norm: str = "rms", budget: int = BUDGET
) -> Scrambled | None:
    return judge(
        MemoryWeights(child, norm=norm), MemoryWeights(base, norm=norm), None, budget=budget
    )


def noisy(arrays: Arrays, amount: float) -> dict[str, Floats]:
    chance = np.random.default_rng(5)
    return {
        name: (array + amount * array.std() * chance.standard_normal(array.shape)).astype("f4")
        if array.ndim == 2
        else np.asarray(array)
        for name, array in arrays.items()
    }


def order_of_layer(seed: int, layer: int, neurons: int = 192) -> Any:
    """Return the order that `permute_neurons` gave the neurons of a layer."""
    chance = np.random.default_rng((seed, 8))
    return [chance.permutation(neurons) for _ in range(layer + 1)][layer]


def test_everything_scrambled_is_found_and_the_neurons_are_mapped() -> None:
    child = disguise_all(BASE, HEADS).arrays
    assert relate_weights(MemoryWeights(child), MemoryWeights(BASE)).log10_p > -3
    found = judged(child)
    assert found is not None
    assert found.found
    assert found.layers == (0, 1, 2, 3)
    assert [part.agreeing for part in found.components] == [128] * 4
    assert not any(part.exact for part in found.components)
    assert set(found.means) == {
        "folded_norms",
        "hidden_rotation",
        "neuron_permutation",
        "rescaled",
    }
    for layer in range(4):
        assert np.array_equal(found.neurons[layer], order_of_layer(0, layer))


@pytest.mark.parametrize(
    ("steps", "means"),
    [
        ((permute_neurons, permute_hidden), {"neuron_permutation", "hidden_permutation"}),
        (
            (permute_neurons, rotate_hidden),
            {"neuron_permutation", "hidden_rotation", "folded_norms"},
        ),
        ((permute_neurons,), {"neuron_permutation"}),
        ((permute_hidden,), {"hidden_permutation"}),
    ],
)  # fmt: skip
def test_what_was_scrambled_is_told(steps: tuple[Any, ...], means: set[str]) -> None:
    found = judged(chain(BASE, *steps).arrays)
    assert found is not None
    assert found.found
    assert set(found.means) == means


def test_models_without_gates_are_told_by_what_neurons_read_and_write() -> None:
    base = gpt2(1)
    found = judged(chain(base, permute_neurons, permute_hidden).arrays, base, norm="layer")
    assert found is not None
    assert found.found
    assert found.layers == (0, 1, 2)
    assert set(found.means) == {"neuron_permutation", "hidden_permutation"}
    assert np.array_equal(found.neurons[1], order_of_layer(0, 1, 256))
    stranger = judged(gpt2(2), base, norm="layer")
    assert stranger is not None
    assert not stranger.found


@pytest.mark.parametrize("amount", [0.1, 0.5, 1.0])
def test_a_scrambled_copy_that_was_trained_further_is_found(amount: float) -> None:
    found = judged(chain(noisy(BASE, amount), partial(disguise_all, heads=HEADS)).arrays)
    assert found is not None
    assert found.found
    assert "neuron_permutation" in found.means


def test_dropped_layers_and_neurons_keep_their_places() -> None:
    kept = (0, 3, 2)
    child = {name: array for name, array in BASE.items() if ".layers." not in name}
    for place, layer in enumerate(kept):
        part = {name: array for name, array in BASE.items() if f".layers.{layer}." in name}
        child |= {renumbered(name, place): array for name, array in part.items()}
    narrow = with_neurons(child, {layer: list(range(0, 192, 2)) for layer in range(3)})
    found = judged(disguise_all(narrow, HEADS, seed=3).arrays)
    assert found is not None
    assert found.layers == kept
    assert set(found.neurons[0] % 2) == {0}


@pytest.mark.parametrize("width", [64, 96])
def test_strangers_are_not_found(width: int) -> None:
    for seed in range(1, 12):
        found = judged(random_arrays(seed, width=width, feed_forward=192))
        assert found is not None
        assert not found.found
        assert found.layers == ()
        assert not any(part.base for part in found.components)


def test_one_shared_layer_is_not_enough() -> None:
    child = random_arrays(9, feed_forward=192)
    child |= {
        name: array for name, array in BASE.items() if ".layers.1." in name or "embed" in name
    }
    found = judged(child)
    assert found is not None
    assert max(part.agreeing for part in found.components) == 128
    assert not found.found


def test_tokens_are_matched_as_they_are_mapped() -> None:
    scrambled = disguise_all(BASE, HEADS).arrays
    order = np.random.default_rng(1).permutation(512)
    name = "model.embed_tokens.weight"
    child = MemoryWeights({**scrambled, name: scrambled[name][order]})
    moved = judge(child, MemoryWeights(BASE), None, budget=BUDGET)
    assert moved is not None
    assert not moved.found
    tokens = TokenMap(np.arange(512, dtype=np.intp), order.astype(np.intp), "strings")
    found = judge(child, MemoryWeights(BASE), tokens, budget=BUDGET)
    assert found is not None
    assert found.found


def test_a_small_budget_reads_fewer_layers_and_then_says_so() -> None:
    child = disguise_all(BASE, HEADS).arrays
    whole = BASE["model.layers.0.mlp.up_proj.weight"].nbytes * 2
    tokens = 2 * 512 * 64 * 4
    for layers in (2, 3):
        ours, theirs = MemoryWeights(child), MemoryWeights(BASE)
        budget = tokens + layers * 2 * whole
        found = judge(ours, theirs, None, budget=budget)
        assert found is not None
        assert found.found
        assert len(found.components) < 4
        assert found.layers == (0, 1, 2, 3)
        assert ours.bytes_read + theirs.bytes_read <= budget + 64 * 64 * 4  # norms come on top
    ours, theirs = MemoryWeights(child), MemoryWeights(BASE)
    found = judge(ours, theirs, None, budget=tokens + whole)
    assert found is not None
    assert not found.found
    assert "was not tested" in found.notes[0]
    assert ours.bytes_read + theirs.bytes_read <= tokens


@pytest.mark.parametrize("value", [0.0, 1.0, nan, inf, -inf, 3e38])
def test_filled_weights_are_no_relatives(value: float) -> None:
    filled = {name: np.full_like(array, value) for name, array in BASE.items()}
    for child, base in ((filled, filled), (BASE, filled), (filled, BASE)):
        found = judged(child, base)
        assert found is None or not found.found


def test_what_cannot_be_seen_twice_is_not_judged() -> None:
    assert judged(BASE, gpt2(1)) is None
    assert judged(random_arrays(1, feed_forward=48), random_arrays(2, feed_forward=48)) is None
    assert judged(random_arrays(1, layers=1), random_arrays(2, layers=1)) is None
    assert judged(random_arrays(1, vocabulary=64), random_arrays(2, vocabulary=64)) is None
    assert judged({"model.norm.weight": np.ones(4, np.float32)}) is None
    twins = {
        name.replace("gate_proj", "up_proj") if "gate_proj" in name else name: array
        for name, array in BASE.items()
    }
    gates = {n.replace("up_proj", "gate_proj"): a for n, a in twins.items() if "up_proj" in n}
    assert judged({**twins, **gates}, {**twins, **gates}) is None


def test_shapes_that_do_not_fit_are_left_out() -> None:
    broken = dict(BASE)
    broken["model.layers.0.mlp.up_proj.weight"] = np.ones((192, 7), np.float32)
    broken["model.layers.1.mlp.gate_proj.weight"] = np.ones((5, 64), np.float32)
    found = judged(broken)
    assert found is not None
    assert [part.name for part in found.components] == ["layers.2", "layers.3"]


def test_what_it_says_is_never_called_exact_nor_mixed_with_what_is() -> None:
    child = MemoryWeights(disguise_all(BASE, HEADS).arrays)
    exact = relate_weights(child, MemoryWeights(BASE))
    found = judge(child, MemoryWeights(BASE), None, budget=BUDGET)
    assert found is not None
    told = found.beside(exact)
    assert told.verdict is Related.RELATED
    assert not told.exact
    assert told.log10_p == found.log10_p
    assert told.layer_map == (0, 1, 2, 3)
    assert told.assumptions[0].startswith("calibrated, not proved")
    stranger = judged(random_arrays(8, feed_forward=192))
    assert stranger is not None
    assert stranger.beside(exact) == exact


def test_the_calibration_lets_a_finding_reach_its_level_and_stays_far_below_it() -> None:
    kinds: tuple[Views, ...] = ("gated", "ungated")
    for views in kinds:
        best, second = null(views)
        assert len(best) == len(second) >= 100
        assert max(best) < FOUND / 2
        assert rank(FOUND, second) <= LEVEL


@given(st.floats(0, 128), st.lists(st.floats(0, 128), max_size=60))
def test_a_rank_is_a_probability_that_falls_with_the_count(
    count: float, others: list[float]
) -> None:
    here = rank(count, others)
    assert 1 / (len(others) + 1) - 1e-12 <= 10**here <= 1 + 1e-12
    assert rank(count + 1, others) <= here


def test_a_neuron_that_resembles_all_counts_once() -> None:
    chance = np.random.default_rng(0)
    one = chance.standard_normal((1, 32)).astype(np.float32)
    ours = np.repeat(one, 8, axis=0) + 0.01 * chance.standard_normal((8, 32)).astype(np.float32)
    theirs = np.concatenate((one, chance.standard_normal((7, 32)).astype(np.float32)))
    lengths = np.ones(8, np.float32)
    seen = Seen(ours, ours, lengths, 0.0), Seen(theirs, theirs, lengths, 0.0)
    assert agreeing(*seen, "ungated") == 1
    equal = Seen(np.repeat(one, 8, axis=0), np.repeat(one, 8, axis=0), lengths, 0.0)
    assert agreeing(equal, equal, "ungated") == 0


def test_the_statistic_is_that_of_the_two_best_layers() -> None:
    child = MemoryWeights(disguise_all(BASE, HEADS).arrays)
    assert statistic(child, MemoryWeights(BASE), None) == (128, 128)
    assert statistic(child, MemoryWeights(gpt2(1)), None) is None
