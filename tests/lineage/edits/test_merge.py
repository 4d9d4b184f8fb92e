"""Parents and their shares, told from candidates."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from steelyard.lineage.aligning.alignment import Alignment, sample
from steelyard.lineage.edits.grids import Grids
from steelyard.lineage.edits.merge import Mixture, Nearest, Parent, decompose
from tests.lineage.derivations import merges, numbers
from tests.lineage.derivations.truth import Arrays
from tests.lineage.memory import MemoryWeights, random_arrays

SAME = Alignment((0, 1, 2, 3))


@cache
def base() -> Arrays:
    return random_arrays(7)


@cache
def tuned(seed: int) -> Arrays:
    return numbers.finetune(base(), seed=seed, change=0.03).arrays


def explained(child: Arrays, **candidates: Arrays) -> Mixture | Nearest | None:
    theirs, ours = MemoryWeights(base()), MemoryWeights(child)
    taken = sample(ours, theirs, SAME)
    parents = [
        Parent(
            name,
            tuple(pair.base for pair in sample(ours, MemoryWeights(held), SAME).pairs),
            tuple(pair.base for pair in taken.pairs),
        )
        for name, held in candidates.items()
    ]
    return decompose(taken, parents, base="base", grids=Grids())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.73])
def test_shares_of_two(share: float) -> None:
    child = merges.linear({"a": tuned(1), "b": tuned(2)}, {"a": share, "b": 1 - share}).arrays
    found = explained(child, a=tuned(1), b=tuned(2), c=tuned(3))
    assert isinstance(found, Mixture)
    shares = dict(zip(found.parents, found.coefficients, strict=True))
    assert shares == pytest.approx({"a": share, "b": 1 - share}, abs=1e-3)
    assert (found.method, found.left) == ("linear", 0)


def test_the_base_may_be_a_parent() -> None:
    child = merges.linear({"a": base(), "b": tuned(1)}, {"a": 0.4, "b": 0.6}).arrays
    found = explained(child, b=tuned(1))
    assert isinstance(found, Mixture)
    assert found.parents == ("b", "base")
    assert found.coefficients == pytest.approx((0.6, 0.4), abs=1e-3)


def test_a_candidate_itself() -> None:
    found = explained(tuned(1), a=tuned(1), b=tuned(2))
    assert isinstance(found, Nearest)
    assert (found.name, round(found.explained, 6), found.is_it) == ("a", 1, True)


def test_a_candidate_of_which_one_matrix_was_replaced() -> None:
    child = dict(tuned(1))
    name = next(name for name in child if "o_proj" in name)
    child[name] = child[name] + 0.2 * np.roll(child[name], 1, axis=0)
    found = explained(child, a=tuned(1), b=tuned(2))
    assert isinstance(found, Nearest)
    assert (found.name, found.is_it) == ("a", True)
    assert 0.9 < found.explained < 0.99


def test_training_after_a_merge_is_told_of() -> None:
    child = merges.linear({"a": tuned(1), "b": tuned(2)}, {"a": 0.5, "b": 0.5}).arrays
    child = numbers.finetune(child, seed=9, change=0.005).arrays
    found = explained(child, a=tuned(1), b=tuned(2))
    assert isinstance(found, Mixture)
    assert found.left == pytest.approx(0.005, rel=0.2)


def test_layers_of_two_models() -> None:
    picks = [("a", 0), ("a", 1), ("b", 2), ("b", 3)]
    child = merges.passthrough({"a": tuned(1), "b": tuned(2)}, picks).arrays
    found = explained(child, a=tuned(1), b=tuned(2))
    assert isinstance(found, Mixture)
    assert (found.method, set(found.parents)) == ("passthrough", {"a", "b"})
    assert found.coefficients == (0.5, 0.5)


def test_strangers_explain_nothing() -> None:
    assert explained(tuned(1), b=tuned(2), c=tuned(3)) is None
    assert explained(tuned(1)) is None
    assert explained(base(), b=tuned(2)) is None


def test_candidates_that_are_no_numbers_explain_nothing() -> None:
    broken = {name: np.full_like(array, np.nan) for name, array in tuned(2).items()}
    assert explained(tuned(1), b=broken) is None


@pytest.mark.parametrize("scale", [0.7, 1.0])
def test_ties(scale: float) -> None:
    parents = {"a": tuned(1), "b": tuned(2)}
    child = merges.ties(base(), parents, density=0.5, scale=scale).arrays
    found = explained(child, **parents)
    assert isinstance(found, Mixture)
    assert found.method == "ties"
    assert found.coefficients == pytest.approx((scale, scale), abs=0.01)


def test_dare() -> None:
    parents = {"a": tuned(1), "b": tuned(2)}
    child = merges.dare(base(), parents, {"a": 0.3, "b": 0.7}, drop=0.4).arrays
    found = explained(child, **parents)
    assert isinstance(found, Mixture)
    shares = dict(zip(found.parents, found.coefficients, strict=True))
    assert found.method == "dare"
    assert shares == pytest.approx({"a": 0.3, "b": 0.7}, abs=0.02)
