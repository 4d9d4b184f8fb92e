"""Text attributes of HDF5 files, with h5py as the oracle."""

from __future__ import annotations

import contextlib
import io

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints.hdf5 import root_texts
from steelyard.checkpoints.limits import Limits
from steelyard.errors import CheckpointError, LimitExceeded, Unsupported
from steelyard.sources.memory import BytesReader

WANTED = ("model_config", "keras_version")


def h5(attributes: dict[str, object], **options: object) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", **options) as opened:
        for name, value in attributes.items():
            opened.attrs[name] = value
        opened.create_group("model_weights").create_dataset("x", data=[1, 2, 3])
    return file.getvalue()


def texts(data: bytes, limits: Limits | None = None) -> dict[str, str]:
    return dict(root_texts(BytesReader("m.h5", data), WANTED, limits or Limits()))


@pytest.mark.parametrize("libver", ["earliest", "latest", "v108", "v110"])
@pytest.mark.parametrize("track_order", [False, True])
@pytest.mark.parametrize("value", ["short", "ü" * 70_000, b"bytes", np.bytes_(b"fixed")])
def test_what_h5py_writes_is_read(libver: str, track_order: bool, value: str | bytes) -> None:
    data = h5(
        {"n": 3, "model_config": value, "names": [b"a", b"b"], "keras_version": "3.0"},
        libver=libver,
        track_order=track_order,
    )
    shown = value if isinstance(value, str) else value.decode()
    assert texts(data) == {"model_config": shown, "keras_version": "3.0"}


def test_a_user_block_before_it() -> None:
    assert texts(h5({"model_config": "x"}, userblock_size=1024)) == {"model_config": "x"}


def test_a_header_that_is_continued() -> None:
    many = {f"other{number}": "y" * 500 for number in range(100)}
    assert texts(h5({**many, "model_config": "x"})) == {"model_config": "x"}


def test_a_list_of_texts_is_no_text() -> None:
    assert texts(h5({"model_config": ["a", "b"]})) == {}


def test_attributes_in_a_heap_are_refused_not_passed_over() -> None:
    many: dict[str, object] = {f"a{number}": number for number in range(20)}
    with pytest.raises(Unsupported, match="fractal heap"):
        texts(h5({**many, "model_config": "x"}, libver="latest"))


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        texts(h5({"model_config": "x" * 1000}), Limits(string_bytes=999))


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n", b"\0" * 5000])
def test_what_is_no_hdf5_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        texts(data)


GOOD = [h5({"model_config": "x" * 50}), h5({"model_config": "x" * 50}, libver="latest")]
BYTES = st.integers(0, 255)


@settings(max_examples=300)
@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 2500), BYTES), max_size=8),
       st.integers(0, 6000))  # fmt: skip
def test_damaged_files_are_read_or_refused(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(data[: max(cut, 100)])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with contextlib.suppress(CheckpointError):
        texts(bytes(damaged))
