"""Interval arithmetic contains every result of the members; comparison never guesses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.facts import Interval

numbers = st.floats(-1e30, 1e30, allow_nan=False).map(lambda x: 0.0 if abs(x) < 1e-30 else x)


@st.composite
def members(draw: st.DrawFn) -> tuple[Interval, float]:
    """An interval and a number that lies in it."""
    low, inside, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Interval(low, high), inside


@given(members(), members())
def test_sums_differences_and_products_contain_those_of_members(
    a: tuple[Interval, float], b: tuple[Interval, float]
) -> None:
    (x, i), (y, j) = a, b
    for whole, part in ((x + y, i + j), (x - y, i - j), (x * y, i * j)):
        assert whole.low <= part <= whole.high


@given(members(), members())
def test_quotients_contain_those_of_members(
    a: tuple[Interval, float], b: tuple[Interval, float]
) -> None:
    (x, i), (y, j) = a, b
    if y.low <= 0 <= y.high:
        with pytest.raises(ZeroDivisionError):
            x / y
    else:
        quotient = x / y
        slack = 1e-12 * max(abs(quotient.low), abs(quotient.high))
        assert quotient.low - slack <= i / j <= quotient.high + slack


@given(members(), members())
def test_a_definite_comparison_holds_for_every_member(
    a: tuple[Interval, float], b: tuple[Interval, float]
) -> None:
    (x, i), (y, j) = a, b
    for answer, truth in (
        (x.less(y), i < j),
        (x.greater(y), i > j),
        (x.at_most(y), i <= j),
        (x.at_least(y), i >= j),
        (x.equals(y), i == j),
    ):
        assert answer is None or answer is truth


def test_strict_and_weak_differ_exactly_at_the_threshold() -> None:
    at = Interval(1e25, 1e25)
    assert at.greater(1e25) is False
    assert at.at_least(1e25) is True
    assert Interval(9e24, 1.1e25).greater(1e25) is None
    assert Interval(9e24, 1e25).greater(1e25) is False
    assert Interval(1e25, 2e25).at_least(1e25) is True


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("135M", 134.5e6, 135.5e6),
        ("1.7B", 1.65e9, 1.75e9),
        ("7b", 6.5e9, 7.5e9),
        ("0.5B", 0.45e9, 0.55e9),
        ("405 B", 404.5e9, 405.5e9),
        ("22.7 m", 22.65e6, 22.75e6),
        ("1T", 0.5e12, 1.5e12),
        ("512", 511.5, 512.5),
    ],
)
def test_a_rounded_figure_stands_for_half_a_unit_to_each_side(
    text: str, low: float, high: float
) -> None:
    read = Interval.from_rounded(text)
    assert read is not None
    assert [read.low, read.high] == pytest.approx([low, high])


@pytest.mark.parametrize("text", ["", "B", "seven", "7X", "-7B", "1e9", "7.B", "9" * 40, "∞"])
def test_other_words_are_no_figure(text: str) -> None:
    assert Interval.from_rounded(text) is None


def test_a_cap_narrows_a_coarse_figure() -> None:
    assert Interval.from_rounded("7B", within=0.05) == Interval(6.65e9, 7.35e9)
    assert Interval.from_rounded("7.00B", within=0.05) == Interval(6.995e9, 7.005e9)


def test_the_middle_is_logarithmic_and_the_width_a_factor() -> None:
    assert Interval(1e22, 1e24).middle == pytest.approx(1e23)
    assert Interval(1e22, 1e24).factor == pytest.approx(100)
    assert Interval(-1, 3).middle == 1
    assert Interval(0, 3).factor == math.inf


@pytest.mark.parametrize(("low", "high"), [(2, 1), (math.nan, 1), (1, math.nan)])
def test_nonsense_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="not an interval"):
        Interval(low, high)


def test_hull_holds_all() -> None:
    assert Interval.hull(3, Interval(1, 2), 7) == Interval(1, 7)
