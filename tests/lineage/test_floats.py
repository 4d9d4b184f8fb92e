"""What rounding to a type does, beside what other libraries make of it."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steelyard.lineage.floats import (
    energy,
    finite,
    float_type,
    mantissa,
    median,
    ratio,
    rms,
    rounded,
    ulps,
)

NUMBERS = arrays.arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.floats(-(2.0**99), 2.0**99, width=32, allow_nan=False),
)
ANY = arrays.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))


@given(NUMBERS)
def test_bfloat16_is_rounded_as_ml_dtypes_does(values: np.ndarray) -> None:
    assert np.array_equal(
        rounded(values, "BF16"), values.astype(ml_dtypes.bfloat16).astype(np.float32)
    )


@given(NUMBERS)
def test_the_type_that_is_told_holds_the_numbers(values: np.ndarray) -> None:
    kind = float_type(values, "F32")
    assert np.array_equal(rounded(values, kind), values)
    assert float_type(rounded(values, "BF16"), "F32") == "BF16"


@given(NUMBERS, st.sampled_from(["BF16", "F32"]))
@example(np.array([1e-45, 1e-41], np.float32), "BF16")
def test_rounding_moves_by_half_a_step_at_most(values: np.ndarray, kind: str) -> None:
    off = np.abs(rounded(values, kind).astype(np.float64) - values)
    assert np.all(off <= 0.5 * ulps(values, kind))


@given(ANY)
def test_what_is_no_number_is_zero(values: np.ndarray) -> None:
    clean = finite(values)
    assert np.isfinite(clean).all()
    assert np.array_equal(clean[np.isfinite(values)], values[np.isfinite(values)])


def test_finite_numbers_are_not_copied() -> None:
    values = np.ones(3, np.float32)
    assert finite(values) is values


def test_a_stated_type_is_believed_only_where_it_is_narrow() -> None:
    values = np.array([1.0, 0.1], np.float32)
    assert float_type(values, "F16") == "F16"
    assert float_type(values, "F64") == "F32"
    assert float_type(rounded(values, "F16"), "F32") == "F16"
    assert [mantissa(kind) for kind in ("F32", "F16", "BF16", "?")] == [23, 10, 7, 23]


def test_sums_of_squares() -> None:
    values = np.array([[3.0, 4.0]], np.float32)
    assert energy(values) == 25
    assert rms(values) == pytest.approx(12.5**0.5)
    assert rms(values[:0]) == 0
    assert (ratio(1, 0), ratio(0, 0), ratio(1, 2)) == (float("inf"), 0, 0.5)


@given(
    st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=40),
    st.sampled_from([np.float32, np.float64]),
)
def test_the_median_is_that_of_numpy(values: list[float], kind: type[np.floating[Any]]) -> None:
    array = np.array(values, kind)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_equal(median(array), float(np.median(array)))
        np.testing.assert_equal(median(values), float(np.median(values)))
