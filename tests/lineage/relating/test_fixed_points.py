"""The fixed-point test: valid for independent models, and strong for related ones."""

from __future__ import annotations

from itertools import permutations, product
from math import exp, isfinite, lgamma, log, log10
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.lineage.matrix import Floats
from steelyard.lineage.relating.fixed_points import (
    NOTHING,
    Agreement,
    agree,
    corrected,
    fisher,
    join,
    log_bound,
)


def normal(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_all_of_64_items_give_the_bound_of_the_paper_trail() -> None:
    same = agree(normal(1, 64, 96), normal(1, 64, 96))
    assert same.agreeing == 64
    expected = (log(3) - lgamma(65)) / log(10)
    assert same.log10_p == pytest.approx(expected, abs=0.01)
    assert -89 < same.log10_p < -87


def test_independent_items_are_called_related_no_more_often_than_the_bound_says() -> None:
    draws = [agree(normal(seed, 64, 48), normal(10_000 + seed, 64, 48)) for seed in range(2000)]
    values = np.array([draw.log10_p for draw in draws])
    for level in (0.05, 0.01):
        assert np.mean(values <= np.log10(level)) <= level
    assert values.min() > -4
    assert 0.8 < np.mean([draw.agreeing for draw in draws]) < 1.2


@pytest.mark.parametrize("block", [16, None])
def test_order_by_size_alone_does_not_look_like_descent(block: int | None) -> None:
    found = []
    for seed in range(300):
        pair = (normal(seed, 64, 48), normal(9000 + seed, 64, 48))
        ours, theirs = (rows[np.argsort(np.linalg.norm(rows, axis=1))] for rows in pair)
        found.append(agree(ours, theirs, block=block).log10_p)
    assert np.mean(np.array(found) <= np.log10(0.05)) <= 0.05
    assert min(found) > -3


def test_blocks_are_groups_of_their_own_and_still_decide() -> None:
    noisy = normal(3, 64, 96) + 0.3 * normal(4, 64, 96)
    stratified = agree(noisy, normal(3, 64, 96), block=16)
    assert (stratified.groups, stratified.items) == (4, 64)
    assert stratified.log10_p < -40


def test_what_is_constant_empty_or_no_number_never_counts() -> None:
    rows = normal(5, 64, 32)
    for bad in (np.zeros_like(rows), np.full_like(rows, np.nan), np.ones_like(rows)):
        assert agree(bad, bad).agreeing == 0
        assert agree(bad, rows).log10_p > -2
    assert agree(rows[:0], rows) == NOTHING
    assert agree(rows, rows[:, :8]) == NOTHING
    assert NOTHING.log10_p == 0.0


@given(count=st.integers(0, 500), mean=st.floats(0, 200))
def test_the_bound_is_a_probability_that_falls_with_the_count(count: int, mean: float) -> None:
    here, further = log_bound(count, mean), log_bound(count + 1, mean)
    assert here <= 0.0
    assert further <= here + 1e-9


@given(count=st.integers(1, 60), mean=st.floats(0.5, 40))
def test_no_other_moment_bounds_better(count: int, mean: float) -> None:
    every = [r * log(mean) + lgamma(count - r + 1) - lgamma(count + 1) for r in range(1, count + 1)]
    assert log_bound(count, mean) == pytest.approx(min(0.0, *every), abs=1e-9)


@given(st.lists(st.floats(-300, 0), min_size=1, max_size=80))
def test_joint_evidence_is_a_probability_and_one_test_stays_itself(values: list[float]) -> None:
    assert fisher(values) <= 0.0
    assert fisher(values[:1]) == pytest.approx(values[0], abs=1e-9)
    assert corrected(values[0], 10) >= values[0]


def test_groups_add_up() -> None:
    one, two = (
        agree(normal(1, 32, 64), normal(1, 32, 64)),
        agree(normal(2, 32, 64), normal(3, 32, 64)),
    )
    both = join([one, two])
    assert both == Agreement(
        tuple(a + b for a, b in zip(one.counts, two.counts, strict=True)), 64, 2
    )
    assert join([]) == NOTHING


def profiles(items: int, width: int) -> st.SearchStrategy[Floats]:
    """Draw rows of small whole numbers: ties, zeros and equal rows among them."""
    one: st.SearchStrategy[Any] = st.integers(-2, 2)
    row = st.lists(one, min_size=width, max_size=width)
    rows = st.lists(row, min_size=items, max_size=items)
    return rows.map(lambda drawn: np.array(drawn, np.float32))


def assert_valid(values: list[float]) -> None:
    """Check that among equally likely outcomes no p-value comes more often than it says."""
    ranked = np.sort(np.array(values))
    for place, value in enumerate(ranked, 1):
        if place == len(ranked) or ranked[place] > value:
            assert place / len(ranked) <= 10**value * (1 + 1e-9)


@settings(max_examples=40)
@given(ours=profiles(5, 4), theirs=profiles(5, 4))
def test_over_all_relabelings_the_p_value_is_valid(ours: Floats, theirs: Floats) -> None:
    assert_valid([agree(ours, theirs[list(order)]).log10_p for order in permutations(range(5))])


@settings(max_examples=10)
@given(ours=profiles(6, 3), theirs=profiles(6, 3))
def test_groups_that_are_relabeled_apart_are_valid_together(ours: Floats, theirs: Floats) -> None:
    orders = [list(order) for order in permutations(range(3))]
    found = [
        agree(ours, np.concatenate([theirs[:3][one], theirs[3:][two]]), block=3).log10_p
        for one, two in product(orders, orders)
    ]
    assert_valid(found)


@pytest.mark.parametrize("depth", [1, 2, 3])
@settings(max_examples=20)
@given(data=st.data())
def test_the_bound_is_above_the_exact_tail(depth: int, data: st.DataObject) -> None:
    items = 6
    near = st.lists(st.integers(0, items - 1), min_size=depth, max_size=depth, unique=True)
    nearest = [set(data.draw(near)) for _ in range(items)]
    counts = np.array(
        [
            sum(at in nearest[i] for i, at in enumerate(order))
            for order in permutations(range(items))
        ]
    )
    for count in range(items + 1):
        assert np.mean(counts >= count) <= exp(log_bound(count, depth)) * (1 + 1e-9)


@given(first=st.floats(1e-12, 1), second=st.floats(1e-12, 1))
def test_two_p_values_are_joined_as_their_product_is_distributed(
    first: float, second: float
) -> None:
    together = first * second
    expected = together * (1 - log(together))
    assert fisher([log10(first), log10(second)]) == pytest.approx(log10(expected), abs=1e-6)


@given(
    st.integers(0, 100_000).flatmap(
        lambda items: st.tuples(
            st.tuples(*(st.integers(0, items) for _ in range(3))),
            st.just(items),
            st.integers(0, 99),
        )
    )
)
def test_no_p_value_is_zero_or_above_one(drawn: tuple[tuple[int, int, int], int, int]) -> None:
    found = Agreement(*drawn)
    assert isfinite(found.log10_p)
    assert found.log10_p <= 0.0
    assert fisher([found.log10_p] * 80) <= 0.0
    assert corrected(found.log10_p, 10**6) <= 0.0


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=8), st.floats(0, 20))
def test_stronger_evidence_never_weakens_what_is_joined(values: list[float], more: float) -> None:
    stronger = [values[0] - more, *values[1:]]
    assert fisher(stronger) <= fisher(values) + 1e-9
