"""Removed directions are told from every other change, with their strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from steelyard.lineage.aligning.alignment import Alignment, sample
from steelyard.lineage.aligning.pairs import Sample
from steelyard.lineage.edits.abliteration import Removal, judge_with_base
from steelyard.lineage.edits.projections import cosine_log10_p, leading, look
from steelyard.lineage.relation import EditKind
from tests.lineage.derivations import numbers, removals
from tests.lineage.derivations.truth import Arrays, Derived
from tests.lineage.memory import MemoryWeights, random_arrays

SAME = Alignment((0, 1, 2, 3))
BASE = random_arrays()
ENOUGH = 1_000_000_000
WRITING = ("attention.o", "mlp.down")
Array = NDArray[np.float32]
Change = Callable[[Array, np.random.Generator], NDArray[np.floating]]


def taken(child: Arrays, base: Arrays = BASE) -> Sample:
    return sample(MemoryWeights(child), MemoryWeights(base), SAME)


def judged(child: Arrays, base: Arrays = BASE, budget: int = ENOUGH) -> Removal | None:
    return judge_with_base(taken(child, base), budget=budget)


def strengths(removal: Removal | None) -> Mapping[str, float]:
    assert removal is not None
    found = removal.edit.details["strength"]
    assert isinstance(found, Mapping)
    return {name: float(value) for name, value in found.items() if not isinstance(value, tuple)}


def packed(arrays: Arrays, bits: int) -> dict[str, Array]:
    """Round matrices in blocks of 32, as Q8_0 and Q4_0 do."""
    made = {}
    for name, array in arrays.items():
        if array.ndim != 2:
            made[name] = array
            continue
        blocks = array.reshape(-1, 32)
        step = np.abs(blocks).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
        step[step == 0] = 1
        made[name] = (np.round(blocks / step) * step).reshape(array.shape).astype(np.float32)
    return made


def bf16(arrays: Arrays) -> dict[str, Array]:
    return {name: numbers.to_bf16(array) for name, array in arrays.items()}


def writing(arrays: Arrays, change: Change, seed: int = 0) -> dict[str, Array]:
    """Change every matrix that writes to the residual stream."""
    chance = np.random.default_rng(seed)
    made = dict(arrays)
    for name, array in arrays.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            made[name] = change(array, chance).astype(np.float32)
    return made


def kernel(arrays: Arrays, seed: int = 0) -> Derived:
    return removals.abliterate_kernel(
        arrays, (0.2, 0.6, 0.98, 0.6), (0.0, 0.35, 0.7, 0.0), seed=seed
    )


EXACT: dict[str, Callable[[int], Derived]] = {
    "whole": lambda seed: removals.abliterate(BASE, seed=seed),
    "with the embedding": lambda seed: removals.abliterate(BASE, seed=seed, embedding=True),
    "half": lambda seed: removals.abliterate(BASE, seed=seed, share=0.5),
    "reflected": lambda seed: removals.abliterate(BASE, seed=seed, share=2),
    "kernel": lambda seed: kernel(BASE, seed),
    "by layer": lambda seed: removals.abliterate_by_layer(BASE, seed=seed),
    "three": lambda seed: removals.abliterate(
        BASE, taken=removals.directions(BASE, seed=seed, count=3)
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_removals(name: str) -> None:
    for seed in range(5):
        made = EXACT[name](seed)
        removal = judged(made.arrays)
        found = strengths(removal)
        assert removal is not None
        for tensor, value in made.truth.strength.items():
            assert found[tensor] == pytest.approx(value, abs=0.005)
        assert set(found) - set(made.truth.strength) == (
            {"model.embed_tokens.weight"} if "embedding" in name else set()
        )
        assert removal.edit.kind is EditKind.ABLITERATED
        assert removal.edit.details["shared"] is made.truth.shared
        assert removal.edit.details["with_base"] is True
        explained = removal.edit.details["explained"]
        assert isinstance(explained, float)
        assert explained > 0.99


def test_stored_in_fewer_bits() -> None:
    for seed in range(10):
        for made in (removals.abliterate(BASE, seed=seed), kernel(BASE, seed)):
            for stored, tolerance in ((bf16, 0.03), (lambda a: packed(a, 8), 0.03)):
                found = strengths(judged(stored(made.arrays)))
                for tensor, value in made.truth.strength.items():
                    assert found[tensor] == pytest.approx(value, abs=tolerance)
        found = strengths(judged(packed(removals.abliterate(BASE, seed=seed).arrays, 4)))
        assert len(found) == 8
        assert all(isclose(value, 1, abs_tol=0.1) for value in found.values())


def test_with_other_edits() -> None:
    for seed in range(10):
        tuned = numbers.finetune(BASE, seed=seed, change=0.02).arrays
        removed = removals.abliterate(BASE, seed=seed).arrays
        mixed = {
            "tuned first": removals.abliterate(tuned, seed=seed).arrays,
            "healed": numbers.finetune(removed, seed=seed, change=0.02).arrays,
            "norms kept": removals.abliterate(BASE, seed=seed, keep_norms=True).arrays,
            "scaled": {name: array * np.float32(0.9) for name, array in removed.items()},
        }
        for name, arrays in mixed.items():
            removal = judged(arrays)
            found = strengths(removal)
            assert len(found) >= 6, name
            assert np.median(list(found.values())) == pytest.approx(1, abs=0.15), name
            assert removal is not None
            assert removal.edit.details["shared"] is True, name


def test_rest_is_what_else_was_done() -> None:
    tuned = numbers.finetune(BASE, seed=3, change=0.02).arrays
    made = removals.abliterate(tuned, seed=3, embedding=True).arrays
    before = taken(made)
    removal = judge_with_base(before, budget=ENOUGH)
    assert removal is not None
    rest = removal.rest(before)
    for role in (*WRITING, "embedding"):
        was = max(pair.change for pair in before.of(role))
        assert max(pair.change for pair in rest.of(role)) < 0.05 < 0.1 < was
    assert rest.of("mlp.up") == before.of("mlp.up")
    assert rest.vectors == before.vectors


def test_rest_of_a_pure_removal_is_nothing() -> None:
    for made in (EXACT["with the embedding"](1), EXACT["by layer"](1), EXACT["three"](1)):
        before = taken(made.arrays)
        removal = judge_with_base(before, budget=ENOUGH)
        assert removal is not None
        assert all(pair.change < 1e-6 for pair in removal.rest(before).pairs)


def test_rest_of_matrices_that_were_not_read_whole() -> None:
    before = taken(EXACT["whole"](1).arrays)
    one_layer = 2 * BASE["model.layers.0.mlp.down_proj.weight"].nbytes * 2
    for budget in (one_layer, 0):
        removal = judge_with_base(before, budget=budget)
        assert removal is not None
        assert all(pair.change < 1e-5 for pair in removal.rest(before).of(*WRITING))


def test_reads_within_the_budget() -> None:
    child, base = MemoryWeights(EXACT["whole"](0).arrays), MemoryWeights(BASE)
    before = sample(child, base, SAME)
    read = child.bytes_read + base.bytes_read
    budget = 100_000
    assert judge_with_base(before, budget=budget) is not None
    assert 0 < child.bytes_read + base.bytes_read - read <= budget


def test_sampled_rows_alone() -> None:
    wide = random_arrays(1, width=128, feed_forward=320)
    for seed in range(10):
        for made in (
            removals.abliterate(wide, seed=seed),
            removals.abliterate_by_layer(wide, seed=seed),
            kernel(wide, seed),
        ):
            removal = judged(made.arrays, wide, budget=0)
            assert removal is not None
            assert strengths(removal) == {}
            assert "sampled rows" in removal.edit.note


def test_columns_in_another_order_are_judged_by_sampled_rows() -> None:
    before = taken(EXACT["whole"](2).arrays)
    turned = Sample(
        tuple(
            replace(pair, child=pair.child[:, ::-1], base=pair.base[:, ::-1])
            if pair.role in WRITING
            else pair
            for pair in before.pairs
        )
    )
    removal = judge_with_base(turned, budget=ENOUGH)
    assert removal is not None
    assert "sampled rows" in removal.edit.note


def test_what_it_says() -> None:
    removal = judged(EXACT["whole"](0).arrays)
    assert removal is not None
    assert "refusal behavior of the base was edited out" in removal.edit.summary
    assert "evaluations of the base do not vouch for this model" in removal.edit.summary


def shared_direction(array: Array, chance: np.random.Generator, size: float) -> Array:
    left = np.random.default_rng(99).standard_normal(len(array))
    right = chance.standard_normal(array.shape[1])
    added = np.outer(left / np.linalg.norm(left), right / np.linalg.norm(right))
    return np.asarray(array + size * np.linalg.norm(array) * added, np.float32)


def without_rows(array: Array, chance: np.random.Generator) -> Array:
    made = array.copy()
    made[chance.integers(len(array), size=3)] = 0
    return made


def without_column(array: Array, chance: np.random.Generator) -> Array:
    made = array.copy()
    made[:, chance.integers(array.shape[1])] = 0
    return made


def one_row_smaller(array: Array, chance: np.random.Generator) -> Array:
    made = array.copy()
    made[5] *= 0.3
    return made


def other_basis(array: Array, chance: np.random.Generator) -> Array:
    if array.shape[0] != array.shape[1]:
        return array
    basis: NDArray[np.float64] = np.linalg.qr(chance.standard_normal(array.shape))[0]
    return array @ basis.astype(np.float32)


CONTROLS: dict[str, Callable[[Arrays, int], Arrays]] = {
    "fine-tune": lambda base, seed: numbers.finetune(base, seed=seed).arrays,
    "heavy fine-tune": lambda base, seed: numbers.finetune(base, seed=seed, change=0.5).arrays,
    "steep fine-tune": lambda base, seed: numbers.finetune(base, seed=seed, decay=2.0).arrays,
    "shared direction": lambda base, seed: writing(
        base, lambda a, chance: shared_direction(a, chance, 0.05), seed
    ),
    "strong shared direction": lambda base, seed: writing(
        base, lambda a, chance: shared_direction(a, chance, 0.5), seed
    ),
    "shared direction in 4 bits": lambda base, seed: packed(
        writing(base, lambda a, chance: shared_direction(a, chance, 0.1), seed), 4
    ),
    "lora 1": lambda base, seed: numbers.lora(base, seed=seed, rank=1, roles=WRITING).arrays,
    "lora 16": lambda base, seed: numbers.lora(base, seed=seed, rank=16, roles=WRITING).arrays,
    "smaller": lambda base, seed: {name: a * np.float32(0.9) for name, a in base.items()},
    "larger": lambda base, seed: {name: a * np.float32(1.2) for name, a in base.items()},
    "sparse": lambda base, seed: numbers.sparsify(base).arrays,
    "slightly sparse": lambda base, seed: numbers.sparsify(base, share=0.1).arrays,
    "2 of 4": lambda base, seed: numbers.sparsify(base, of_four=True).arrays,
    "rows": lambda base, seed: writing(base, without_rows, seed),
    "column": lambda base, seed: writing(base, without_column, seed),
    "one row": lambda base, seed: writing(base, one_row_smaller, seed),
    "basis": lambda base, seed: writing(base, other_basis, seed),
    "unrelated": lambda base, seed: random_arrays(5000 + seed),
    "half unrelated": lambda base, seed: {
        name: np.asarray((a + random_arrays(5000 + seed)[name]) / 2, np.float32)
        for name, a in base.items()
    },
    "a tenth unrelated": lambda base, seed: {
        name: (0.9 * a + 0.1 * random_arrays(5000 + seed)[name]).astype(np.float32)
        for name, a in base.items()
    },
    "merge": lambda base, seed: {
        name: np.asarray((one + other) / 2, np.float32)
        for (name, one), other in zip(
            numbers.finetune(base, seed=seed).arrays.items(),
            numbers.finetune(base, seed=seed + 1, change=0.05).arrays.values(),
            strict=True,
        )
    },
    "8 bits": lambda base, seed: packed(base, 8),
    "4 bits": lambda base, seed: packed(base, 4),
    "2 bits": lambda base, seed: packed(base, 2),
    "bf16": lambda base, seed: bf16(base),
    "4 bits of a fine-tune": lambda base, seed: packed(numbers.finetune(base, seed=seed).arrays, 4),
    "rescaled rows": lambda base, seed: writing(
        base, lambda a, chance: a * np.exp(0.3 * chance.standard_normal((len(a), 1))), seed
    ),
    "rescaled columns": lambda base, seed: writing(
        base, lambda a, chance: a * np.exp(0.3 * chance.standard_normal(a.shape[1])), seed
    ),
    "same": lambda base, seed: base,
}


@pytest.mark.parametrize("name", CONTROLS)
def test_nothing_else_is_called_a_removal(name: str) -> None:
    for seed in range(5):
        base = random_arrays(100 + seed)
        child = CONTROLS[name](base, seed)
        assert judged(child, base) is None
        assert judged(child, base, budget=0) is None


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(CONTROLS)))
@settings(max_examples=60, deadline=None)
def test_controls_of_any_seed(seed: int, name: str) -> None:
    base = random_arrays(seed, layers=2)
    child = CONTROLS[name](base, seed)
    child = {tensor: child[tensor] for tensor in base}
    judge = sample(MemoryWeights(child), MemoryWeights(base), Alignment((0, 1)))
    assert judge_with_base(judge, budget=ENOUGH) is None
    assert judge_with_base(judge, budget=0) is None


@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0.2, 2),
    width=st.sampled_from([48, 64, 96]),
    count=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_any_strength_is_measured(seed: int, share: float, width: int, count: int) -> None:
    base = random_arrays(seed, layers=2, width=width, feed_forward=2 * width)
    basis = removals.directions(base, seed=seed, count=count)
    made = removals.abliterate(base, share=share, taken=basis)
    judge = sample(MemoryWeights(made.arrays), MemoryWeights(base), Alignment((0, 1)))
    found = strengths(judge_with_base(judge, budget=ENOUGH))
    assert len(found) == 4
    assert all(isclose(value, share, abs_tol=0.03) for value in found.values())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 3e38, 1e-40])
def test_hostile_numbers(value: float) -> None:
    full = writing(BASE, lambda a, chance: np.full_like(a, value))
    one = writing(
        BASE, lambda a, chance: np.where(np.arange(a.size).reshape(a.shape) == 3, value, a)
    )
    for child in (full, one):
        for budget in (0, ENOUGH):
            assert judged(child, budget=budget) is None
            assert judged(BASE, child, budget=budget) is None


def test_nothing_to_judge() -> None:
    assert judge_with_base(Sample(()), budget=ENOUGH) is None


@given(st.integers(3, 60), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_bound_on_cosines_holds(size: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    drawn = chance.standard_normal((4000, size))
    squares = drawn[:, 0] ** 2 / np.sum(drawn**2, axis=1)
    for square in (0.05, 0.2, 0.5):
        share = float((squares >= square).mean())
        bound = 10 ** cosine_log10_p(square, size)
        assert share <= bound + 4 * (bound / 4000) ** 0.5 + 0.001


def test_the_bound_on_cosines_is_tight_in_the_tail() -> None:
    # In three dimensions the cosine is uniform: P(cos^2 >= x) = 1 - sqrt x.
    for square in (0.9, 0.99, 0.999):
        exact = np.log10(1 - square**0.5)
        assert exact <= cosine_log10_p(square, 3) <= exact + 0.05
    assert cosine_log10_p(1.0, 100) == -300
    assert cosine_log10_p(0.0, 100) == cosine_log10_p(0.5, 1) == cosine_log10_p(np.nan, 9) == 0
    assert cosine_log10_p(0.99, 10**9) == -300


def test_leading_directions_of_a_large_matrix() -> None:
    chance = np.random.default_rng(0)
    left = np.linalg.qr(chance.standard_normal((700, 3)))[0]
    right = np.linalg.qr(chance.standard_normal((900, 3)))[0]
    matrix = (left * [9, 6, 3]) @ right.T + 0.01 * chance.standard_normal((700, 900))
    vectors, energies = leading(matrix.astype(np.float32), 5)
    assert energies[:3] == pytest.approx([81, 36, 9], rel=0.02)
    assert np.abs(left.T @ vectors[:, :3]) == pytest.approx(np.eye(3), abs=0.05)


def test_noise_is_no_change() -> None:
    chance = np.random.default_rng(0)
    for shape in ((64, 64), (64, 256), (16, 512), (600, 800)):
        base = chance.standard_normal(shape).astype(np.float32)
        seen = look(0.01 * chance.standard_normal(shape).astype(np.float32), base)
        assert seen is not None
        assert not seen.changed
