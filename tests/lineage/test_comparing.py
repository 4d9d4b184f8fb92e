"""Both axes of a comparison, on models whose history is known.

What was done is derived from random weights here, from real ones in `tests/real`, and from trained
models in the zoo. The seed was never used to set a threshold.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from steelyard.lineage.comparing import compare_weights
from steelyard.lineage.relation import Comparison, EditKind, EncodingKind, Related
from tests.lineage.derivations import disguises, numbers
from tests.lineage.derivations.cases import Case, Make, compositions, single_edits
from tests.lineage.derivations.checking import faults
from tests.lineage.derivations.packed import in_memory
from tests.lineage.derivations.truth import Arrays
from tests.lineage.memory import MemoryWeights, random_arrays

HEADS = disguises.Heads(4, 2)
SEED = 3


@cache
def base(seed: int) -> Arrays:
    return random_arrays(seed, layers=5, width=96, feed_forward=256, vocabulary=2048)


@cache
def cases(seed: int) -> dict[str, Make]:
    return {**single_edits(base(seed), seed, HEADS), **compositions(base(seed), seed)}


def compared(case: Case, seed: int) -> Comparison:
    candidates = {name: MemoryWeights(held, name=name) for name, held in case.candidates.items()}
    theirs = MemoryWeights(base(seed), name="base")
    return compare_weights(theirs, in_memory(case.made), candidates=candidates)


@pytest.mark.parametrize("name", sorted(cases(SEED)))
def test_what_was_done_is_told_on_both_axes(name: str) -> None:
    case = cases(SEED)[name]()
    assert faults(compared(case, SEED), case) == []


def test_independent_models_of_one_configuration() -> None:
    other = MemoryWeights(random_arrays(99, layers=5, width=96, feed_forward=256, vocabulary=2048))
    found = compare_weights(MemoryWeights(base(SEED)), other)
    assert found.related.verdict is Related.NOT_FOUND
    assert found.related.log10_p > -2
    assert found.same_configuration
    assert found.edits == ()


def test_a_verdict_alone_reads_the_embedding_and_a_few_neurons() -> None:
    theirs, ours = (MemoryWeights(base(SEED)) for _ in range(2))
    found = compare_weights(theirs, ours, edits=False)
    assert found.related.verdict is Related.RELATED
    assert found.related.log10_p < -80
    assert found.bytes_read == 2 * (64 + 10) * 96 * 4
    assert found.edits == ()


@pytest.mark.parametrize("budget", [0, 1000, 100_000, 1_000_000])
def test_a_small_budget_says_less_and_nothing_wrong(budget: int) -> None:
    tuned = numbers.finetune(base(SEED), seed=1, change=0.05)
    found = compare_weights(MemoryWeights(base(SEED)), in_memory(tuned), budget=budget)
    assert found.related.verdict is not Related.NOT_FOUND
    assert {edit.kind for edit in found.edits} <= {EditKind.FINETUNE}


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0])
def test_weights_that_hold_one_value_prove_nothing(value: float) -> None:
    made = {name: np.full_like(array, value) for name, array in base(SEED).items()}
    found = compare_weights(MemoryWeights(base(SEED)), MemoryWeights(made))
    assert found.related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL)
    assert found.encoding.kind in (EncodingKind.CANNOT_TELL, EncodingKind.SAME)


def test_some_numbers_that_are_none_change_no_verdict() -> None:
    made = dict(base(SEED))
    for name in made:
        if made[name].ndim == 2:
            made[name] = made[name].copy()
            made[name][::7, ::5] = np.nan
    found = compare_weights(MemoryWeights(base(SEED)), MemoryWeights(made))
    assert found.related.verdict is Related.RELATED


def test_the_order_of_candidates_does_not_matter() -> None:
    case = cases(SEED)["merge-of-three"]()
    backward = Case(case.name, case.made, dict(reversed(list(case.candidates.items()))))
    assert compared(case, SEED) == compared(backward, SEED)
