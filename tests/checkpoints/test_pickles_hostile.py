"""Pickles made to exhaust memory, time or the reader's patience."""

from __future__ import annotations

import pickle
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.pickles import interpret, looks_like_pickle
from steelyard.checkpoints.pickles.opcodes import OPCODES
from steelyard.checkpoints.pickles.values import PickleStream
from steelyard.errors import CheckpointError, Truncated


def run(code: bytes, limits: Limits = DEFAULT_LIMITS) -> PickleStream:
    return interpret(code, "p.pkl", 0, limits)


def deep_tuples() -> bytes:
    return b"(" * 100_000 + b"t" * 100_000 + b"."


def deep_lists() -> bytes:
    return b"]" * 100_000 + b"a" * 99_999 + b"."


def memo_bomb() -> bytes:
    # Each list holds the one before twice: 2**2000 leaves if anyone expanded them.
    body = b"".join(
        b"](j" + struct.pack("<I", n) * 1 + b"j" + struct.pack("<I", n) + b"e\x94"
        for n in range(2000)
    )
    return b"]\x94" + body + b"."


def many_dups() -> bytes:
    return b"(N" + b"2" * 500_000 + b"l."


def text_of_2_60() -> bytes:
    return b"N\x8d" + struct.pack("<Q", 2**60) + b"x."


def huge_integer() -> bytes:
    return b"N\x8b" + struct.pack("<i", 2**31 - 1) + b"x."


def negative_integer() -> bytes:
    return b"N\x8b" + struct.pack("<i", -1) + b"x."


def endless_line() -> bytes:
    return b"Nc" + b"a" * 1_000_000


def far_memo() -> bytes:
    return b"Nr\xff\xff\xff\xff" + b"p" + b"9" * 200 + b"\n."


@pytest.mark.parametrize(
    ("make", "complete"),
    [
        (deep_tuples, True),
        (deep_lists, True),
        (memo_bomb, True),
        (many_dups, True),
        (far_memo, True),
        (text_of_2_60, False),
        (huge_integer, False),
        (negative_integer, False),
        (endless_line, False),
    ],
)
def test_hostile_programs_cost_what_they_weigh(make: Callable[[], bytes], complete: bool) -> None:
    code = make()
    start = time.monotonic()
    stream = run(code)
    assert stream.complete is complete
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "code",
    [
        b"]" * 2000,
        b"N\x94" * 2000,
        b"(" * 2000,
        b")" * 2000,
        b"ca\nb\n" * 2000,
        (b"X\0\4\0\0" + b"x" * 1024) * 90,
    ],
)
def test_values_are_counted(code: bytes) -> None:
    stream = run(code + b".", Limits(json_nodes=1000))
    assert not stream.complete
    assert len(stream.imports) <= 1000


def test_opcodes_are_counted() -> None:
    stream = run(b"cos\nsystem\n" + b"N0" * 100, Limits(opcodes=50))
    assert not stream.complete
    assert stream.opcodes == 51
    assert [item.name for item in stream.imports] == ["os.system"]


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=200)
    | st.lists(
        st.sampled_from([bytes((code,)) for code in OPCODES]) | st.binary(max_size=3), max_size=60
    ).map(b"".join)
)
def test_any_bytes_are_interpreted_or_refused(data: bytes) -> None:
    looks_like_pickle(data)
    try:
        stream = run(data)
    except CheckpointError:
        return
    assert 0 <= stream.end_offset <= len(data)


def test_every_truncation_of_a_real_pickle() -> None:
    data = pickle.dumps({"a": [1, "b" * 300], "c": complex(1, 2)}, 4)
    for end in range(len(data)):
        try:
            assert not run(data[:end]).complete
        except Truncated:
            assert end < 13
