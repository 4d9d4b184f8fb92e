"""MessagePack is walked as its own library writes it, and never trusted."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints.messagepack import (
    DEEPEST,
    is_messagepack,
    may_be_messagepack,
    payloads,
)
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.memory import BytesReader

MOST = 100_000
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=70)
    | st.binary(max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
)
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
)


def walked(data: bytes, most: int = MOST) -> list[tuple[str, bytes]]:
    found = payloads(BytesReader("f", data), most)
    return [(one.kind, data[one.offset : one.offset + one.size]) for one in found]


def held(value: Any) -> list[tuple[str, bytes]]:
    """Name what an object holds, in order."""
    match value:
        case str():
            return [("string", value.encode())]
        case bytes():
            return [("bytes", value)]
        case msgpack.ExtType():
            return [("extension", value.data)]
        case dict():
            return [each for pair in value.items() for one in pair for each in held(one)]
        case list():
            return [each for one in value for each in held(one)]
    return []


@settings(max_examples=60)
@given(OBJECTS)
def test_what_the_library_writes_is_walked(value: Any) -> None:
    assert walked(msgpack.packb(value)) == held(value)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_every_width_of_length(size: int) -> None:
    value = {"a": b"x" * size, "b": "y" * size, "c": msgpack.ExtType(1, b"z" * size)}
    assert walked(msgpack.packb(value)) == held(value)
    assert is_messagepack(BytesReader("f", msgpack.packb(value)), MOST)
    many = {"a": [0] * size, "b": "z"}
    assert walked(msgpack.packb(many), 2 * MOST + 9) == held(many)


@settings(max_examples=40)
@given(st.dictionaries(st.text(min_size=1), OBJECTS, min_size=1), st.data())
def test_what_is_cut_or_goes_on_is_none(value: Any, data: st.DataObject) -> None:
    whole = msgpack.packb(value)
    cut = data.draw(st.integers(1, len(whole)))
    assert may_be_messagepack(whole)
    assert not is_messagepack(BytesReader("f", whole[:-cut]), MOST)
    assert not is_messagepack(BytesReader("f", whole + b"\xc0"), MOST)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_walked_or_refused(data: bytes) -> None:
    with contextlib.suppress(CheckpointError):
        walked(data)
    is_messagepack(BytesReader("f", data), MOST)


def test_depth_and_length_are_bounded() -> None:
    with pytest.raises(CheckpointError, match="deep"):
        walked(b"\x91" * (DEEPEST + 1) + b"\xc0")
    with pytest.raises(LimitExceeded, match="more than 10 objects"):
        walked(msgpack.packb([0] * 20), most=10)
    with pytest.raises(CheckpointError, match="begins no object"):
        walked(b"\x91\xc1")
    # A count that no file could hold costs nothing.
    with pytest.raises(CheckpointError, match="ends amid"):
        walked(b"\xdd\xff\xff\xff\xff\x01")
