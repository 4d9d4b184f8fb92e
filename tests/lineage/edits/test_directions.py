"""Without the base only a direction that is missing everywhere is told, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.lineage.edits.directions import BaseFree, BaseFreeVerdict, judge_without_base
from tests.lineage.derivations import numbers, removals
from tests.lineage.derivations.truth import Arrays
from tests.lineage.edits.test_abliteration import (
    bf16,
    one_row_smaller,
    packed,
    without_rows,
    writing,
)
from tests.lineage.memory import MemoryWeights, random_arrays

BASE = random_arrays()
ENOUGH = 1_000_000_000
REMOVED, NOT_FOUND, NOT_DECIDABLE = BaseFreeVerdict


def judged(arrays: Arrays, norm: str | None = "rms", budget: int = ENOUGH) -> BaseFree:
    return judge_without_base(MemoryWeights(arrays, norm=norm), budget=budget)


@pytest.mark.parametrize("norm", ["rms", "layer", None])
def test_a_direction_removed_everywhere(norm: str | None) -> None:
    for seed in range(10):
        made = removals.abliterate(BASE, seed=seed).arrays
        for stored in (made, bf16(made), packed(made, 8)):
            found = judged(stored, norm)
            assert found.verdict is REMOVED
            assert found.directions == 1
        assert judged(made).gap is not None


def test_gaps_are_capped_and_small_values_are_not_printed() -> None:
    found = judged(removals.abliterate(BASE, seed=1).arrays)
    assert 1e6 < (found.gap or 0) <= 1e7
    assert "< 1e-7" in found.sentence
    assert "over 1,000,000 times" in found.sentence


def test_four_bits() -> None:
    for seed in range(10):
        found = judged(packed(removals.abliterate(BASE, seed=seed).arrays, 4))
        assert found.verdict is REMOVED
        assert 3 < (found.gap or 0) < 1000


def test_several_directions() -> None:
    basis = removals.directions(BASE, seed=3, count=3)
    found = judged(removals.abliterate(BASE, taken=basis).arrays)
    assert (found.verdict, found.directions) == (REMOVED, 3)
    assert "3 directions are missing" in found.sentence


def test_directions_by_layer_show_in_single_matrices() -> None:
    found = judged(removals.abliterate_by_layer(BASE, seed=2).arrays)
    assert found.verdict is REMOVED
    assert 0 < (found.gap or 0) < 3
    assert "layer by layer" in found.sentence
    assert [item.gap > 10 for item in found.gaps] == [True] * 4
    assert found.gaps[0].tensor == "model.layers.0.mlp.down_proj.weight"


def test_what_cannot_be_seen() -> None:
    kernel = removals.abliterate_kernel(BASE, (0.2, 0.5, 0.7, 0.2), (0.0, 0.3, 0.6, 0.0))
    for made in (removals.abliterate(BASE, share=2), kernel):
        found = judged(made.arrays)
        assert found.verdict is NOT_FOUND
        assert "cannot be seen without the base" in found.sentence


def centered(arrays: Arrays) -> dict[str, np.ndarray]:
    return writing(arrays, lambda a, chance: a - 0.97 * a.mean(axis=0))


def test_layer_norms_have_a_null_direction_of_their_own() -> None:
    for norm in ("layer", "rms", None):
        for seed in range(10):
            assert judged(centered(random_arrays(seed)), norm).verdict is NOT_FOUND
            made = removals.abliterate(centered(random_arrays(seed)), seed=seed).arrays
            assert judged(made, norm).verdict is REMOVED


@pytest.mark.parametrize("norm", ["rms", "layer", None])
def test_models_as_they_are(norm: str | None) -> None:
    largest = single = 1.0
    for seed in range(60):
        base = random_arrays(seed, layers=2 + seed % 3, width=(48, 64, 96)[seed % 3])
        found = judged(base, norm)
        assert found.verdict is NOT_FOUND
        largest = max(largest, found.gap or 0)
        single = max([single, *(item.gap for item in found.gaps)])
    assert largest < 2
    assert single < 4


@given(seed=st.integers(0, 10_000), kind=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_edited_models_without_a_missing_direction(seed: int, kind: int) -> None:
    base = random_arrays(seed)
    edited: Arrays = (
        lambda: numbers.finetune(base, seed=seed, change=0.1).arrays,
        lambda: numbers.lora(base, seed=seed, roles=("attention.o", "mlp.down")).arrays,
        lambda: packed(base, 4),
        lambda: numbers.sparsify(base).arrays,
        lambda: writing(base, one_row_smaller),
        lambda: writing(base, lambda a, _: without_rows(a, np.random.default_rng(seed))),
        lambda: writing(base, lambda a, c: a * np.exp(c.standard_normal((len(a), 1)))),
    )[kind]()
    for norm in ("rms", "layer", None):
        assert judged(edited, norm).verdict is NOT_FOUND


def test_too_little_to_tell() -> None:
    attention = {name: a for name, a in BASE.items() if "down_proj" not in name}
    assert judged(attention).verdict is NOT_DECIDABLE
    assert "null directions of their own" in judged(attention).sentence
    assert judged(BASE, budget=0).verdict is NOT_DECIDABLE
    assert judged({"model.norm.weight": BASE["model.norm.weight"]}).verdict is NOT_DECIDABLE
    narrow = random_arrays(layers=1, width=64, feed_forward=32)
    found = judged(narrow)
    assert found.verdict is NOT_DECIDABLE
    assert found.gap is None
    assert "too few" in found.sentence
    tiny = random_arrays(layers=4, width=16, feed_forward=64)
    assert judged(tiny).verdict is NOT_DECIDABLE


def test_budget() -> None:
    weights = MemoryWeights(removals.abliterate(BASE, seed=0).arrays)
    found = judge_without_base(weights, budget=120_000)
    assert found.verdict is REMOVED
    assert found.matrices == 4
    assert 0 < weights.bytes_read <= 120_000


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3e38, 1e-40])
def test_hostile_numbers(value: float) -> None:
    full = writing(BASE, lambda a, chance: np.full_like(a, value))
    assert judged(full).verdict in (NOT_DECIDABLE, NOT_FOUND)
    one = writing(
        BASE, lambda a, chance: np.where(np.arange(a.size).reshape(a.shape) == 3, value, a)
    )
    assert judged(one).verdict in (NOT_DECIDABLE, NOT_FOUND)
