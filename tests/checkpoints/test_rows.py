"""Rows of a tensor, read alone, equal those of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.rows import bytes_of_rows, read_rows, shape_of_rows
from steelyard.checkpoints.tensors import Tensor
from steelyard.errors import LimitExceeded, Truncated, Unsupported
from steelyard.sources.memory import BytesReader

VALUES = np.random.default_rng(0).standard_normal((10, 2, 3)).astype("<f4")
READER = BytesReader("f", b"head" + VALUES.tobytes())
TENSOR = Tensor("t", "F32", (10, 2, 3), "plain", "f", 4, VALUES.nbytes)


@given(first=st.integers(-3, 15), count=st.integers(-3, 15))
def test_rows_are_those_of_the_whole(first: int, count: int) -> None:
    start = max(first, 0)
    wanted = VALUES.reshape(10, 6)[start : start + max(count, 0)]
    assert np.array_equal(read_rows(READER, TENSOR, first, count), wanted)


def test_columns_first_are_brought_in_order() -> None:
    plain = VALUES.reshape(10, 6)
    turned = replace(TENSOR, shape=(6, 10), strides=(1, 6))
    assert np.array_equal(read_rows(READER, turned, 2, 3), plain.T[2:5])
    assert bytes_of_rows(turned, 3) == VALUES.nbytes


def test_halves_and_integers_become_numbers() -> None:
    half = BytesReader("f", np.array([[1.5, -2], [3, 4]], "<f2").tobytes())
    tensor = Tensor("t", "F16", (2, 2), "plain", "f", 0, 8)
    assert read_rows(half, tensor, 1, 1).tolist() == [[3.0, 4.0]]
    codes = BytesReader("f", np.array([[1, -2], [3, -4]], "i1").tobytes())
    tensor = Tensor("t", "I8", (2, 2), "plain", "f", 0, 4)
    assert read_rows(codes, tensor, 1, 5).tolist() == [[3.0, -4.0]]


def test_what_is_too_much_or_not_there_is_refused() -> None:
    huge = replace(TENSOR, shape=(1 << 40, 6), nbytes=24 << 40)
    with pytest.raises(LimitExceeded):
        read_rows(READER, huge, 0, 1 << 40)
    with pytest.raises(Truncated):
        read_rows(READER, huge, 1 << 39, 4)
    with pytest.raises(Unsupported):
        read_rows(READER, replace(TENSOR, dtype="C64", shape=(10, 3)), 0, 1)
    assert shape_of_rows(replace(TENSOR, shape=())) == (1, 1)
    assert read_rows(READER, replace(TENSOR, shape=(0, 6), nbytes=0), 0, 4).shape == (0, 6)
