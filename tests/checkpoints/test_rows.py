"""Rows of a tensor, read alone, equal those of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.rows import (
    bytes_of_rows,
    has_columns,
    read_columns,
    read_rows,
    read_stored,
    shape_of_rows,
)
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


@given(first=st.integers(-3, 9), count=st.integers(-3, 9))
def test_columns_are_those_of_the_whole(first: int, count: int) -> None:
    start = max(first, 0)
    wanted = VALUES.reshape(10, 6)[:, start : start + max(count, 0)]
    assert has_columns(TENSOR)
    assert np.array_equal(read_columns(READER, TENSOR, first, count), wanted)


def test_few_columns_are_read_piece_by_piece() -> None:
    class Watched(BytesReader):
        taken = 0

        def read(self, offset: int, length: int) -> bytes:
            Watched.taken += length
            return super().read(offset, length)

    values = np.arange(4000, dtype="<u2").reshape(20, 200)
    tensor = Tensor("t", "U16", (20, 200), "plain", "f", 0, values.nbytes)
    reader = Watched("f", values.tobytes())
    assert np.array_equal(read_columns(reader, tensor, 50, 3), values[:, 50:53])
    assert Watched.taken == 20 * 3 * 2
    assert np.array_equal(read_columns(reader, tensor, 0, 190), values[:, :190])


def test_codes_keep_their_type() -> None:
    values = np.array([[2**31 - 1, -(2**31)], [2**24 + 1, 0]], "<i4")
    tensor = Tensor("t", "I32", (2, 2), "plain", "f", 0, 16)
    reader = BytesReader("f", values.tobytes())
    assert np.array_equal(read_stored(reader, tensor, 0, 2), values)
    assert np.array_equal(read_columns(reader, tensor, 1, 1), values[:, 1:])


def test_where_columns_do_not_lie_apart_the_whole_is_read() -> None:
    turned = replace(TENSOR, shape=(6, 10), strides=(1, 6))
    assert not has_columns(turned)
    assert np.array_equal(read_columns(READER, turned, 2, 1), VALUES.reshape(10, 6).T[:, 2:3])
    assert not has_columns(replace(TENSOR, encoding="Q8_0", dtype="F32"))
    assert not has_columns(replace(TENSOR, dtype="F4"))
    assert not has_columns(replace(TENSOR, shape=(1 << 40, 6)))
