from __future__ import annotations

import json
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.data import array
from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.safetensors import read
from steelyard.checkpoints.tensors import Checkpoint, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded, Truncated
from steelyard.sources.memory import BytesReader

FILE = "sub/model.safetensors"


def packed(header: Any, data: bytes = b"", *, raw: bytes | None = None) -> bytes:
    body = json.dumps(header).encode() if raw is None else raw
    return len(body).to_bytes(8, "little") + body + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def load(data: bytes, limits: Limits | None = None) -> Checkpoint:
    reader = BytesReader(FILE, data)
    return read(reader) if limits is None else read(reader, limits)


class Counting(BytesReader):
    """Notes every read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(FILE, data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return super().read(offset, length)

    def view(self, offset: int, length: int) -> memoryview:
        raise AssertionError("headers only")


DTYPES = ["bool", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", "c8"]


@st.composite
def arrays(draw: st.DrawFn) -> dict[str, np.ndarray[Any, Any]]:
    names = draw(st.lists(st.text(max_size=8).filter(lambda n: n != "__metadata__"), unique=True))
    result = {}
    for name in names:
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
        count = int(np.prod(shape))
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        values = np.arange(count) % (2 if dtype.kind == "b" else 100)
        result[name] = values.astype(dtype).reshape(shape)
    return result


# The reference writes a broken header for no tensors with metadata that is empty but not None.
METADATA = st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=3)


@given(arrays(), st.none() | METADATA)
def test_it_reads_what_the_reference_writes(
    tensors: dict[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None
) -> None:
    data = safetensors.numpy.save(tensors, metadata)
    reader = BytesReader(FILE, data)
    checkpoint = read(reader)
    assert checkpoint.problems == ()
    assert checkpoint.format == "safetensors"
    assert checkpoint.files == (FILE,)
    assert checkpoint.metadata == (metadata or {})
    assert [tensor.name for tensor in checkpoint.tensors] == sorted(tensors)
    for tensor in checkpoint.tensors:
        expected = tensors[tensor.name]
        found = array(reader, tensor)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)


def test_only_the_header_is_read_in_two_reads() -> None:
    header = {"a": entry()}
    reader = Counting(packed(header, bytes(8)))
    read(reader)
    assert reader.reads == [(0, 8), (8, len(json.dumps(header)))]


def test_spaces_may_pad_the_header() -> None:
    checkpoint = load(packed(None, bytes(8), raw=json.dumps({"a": entry()}).encode() + b"    "))
    assert checkpoint.tensors[0].offset == 8 + len(json.dumps({"a": entry()})) + 4


def test_an_empty_file_of_no_tensors_is_one() -> None:
    assert load(packed({})).tensors == ()


def test_null_metadata_is_none() -> None:
    assert load(packed({"__metadata__": None})).metadata == {}


def test_metadata_that_is_not_text_is_reported_and_left_out() -> None:
    header = {"__metadata__": {"format": "pt", "steps": 3, "x": [1]}, "a": entry()}
    checkpoint = load(packed(header, bytes(8)))
    assert checkpoint.metadata == {"format": "pt"}
    (problem,) = checkpoint.problems
    assert problem.kind is ProblemKind.ODD_METADATA
    assert '"steps", "x" are' in problem.what
    assert (problem.file, problem.offset) == (FILE, 8)


def test_unknown_fields_are_reported() -> None:
    (problem,) = load(packed({"a": entry(extra=1)}, bytes(8))).problems
    assert problem.kind is ProblemKind.ODD_METADATA
    assert '"a"' in problem.what


def test_gaps_and_a_tail_are_reported_with_their_place() -> None:
    header = {
        "a": entry(offsets=(4, 12)),
        "b": entry(offsets=(12, 20)),
        "c": entry(offsets=(25, 33)),
    }
    data = packed(header, bytes(40))
    start = len(data) - 40
    gaps, tail = load(data).problems
    assert (gaps.kind, gaps.offset) == (ProblemKind.UNUSED_BYTES, start)
    assert "9 bytes, in 2 gaps" in gaps.what
    assert (tail.kind, tail.offset) == (ProblemKind.UNUSED_BYTES, start + 33)
    assert "the last 7 bytes" in tail.what


WRONG = {
    "no dtype": {"a": {"shape": [2], "data_offsets": [0, 8]}},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 8]}},
    "no offsets": {"a": {"dtype": "F32", "shape": [2]}},
    "not an object": {"a": 3},
    "unknown dtype": {"a": entry("F31")},
    "dtype of a wrong type": {"a": entry(["F32"])},
    "bool in shape": {"a": entry(shape=[True, 2])},
    "float in shape": {"a": entry(shape=[2.0])},
    "text in shape": {"a": entry(shape=["2"])},
    "shape is a number": {"a": entry(shape=2)},
    "negative shape": {"a": entry(shape=[-2])},
    "negative offset": {"a": entry(offsets=[-8, 0])},
    "three offsets": {"a": entry(offsets=[0, 8, 8])},
    "float offsets": {"a": entry(offsets=[0.0, 8.0])},
    "reversed offsets": {"a": entry(offsets=[8, 0])},
    "too small": {"a": entry(offsets=[0, 4])},
    "too large": {"a": entry(offsets=[0, 12])},
    "half bytes": {"a": entry("F4", [3], [0, 2])},
    "metadata is a list": {"__metadata__": []},
    "metadata is a text": {"__metadata__": "x"},
}


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG.keys())
def test_wrong_entries_are_refused_as_the_reference_does(header: Any) -> None:
    data = packed(header, bytes(16))
    with pytest.raises(CheckpointError) as caught:
        load(data)
    assert (caught.value.file, caught.value.offset) == (FILE, 8)
    assert caught.value.fix
    with pytest.raises(safetensors.SafetensorError):
        safetensors.numpy.load(data)


@pytest.mark.parametrize(
    ("second", "names"),
    [((4, 12), '"a" and "b"'), ((0, 8), '"a" and "b"'), ((4, 4), '"a" and "b"')],
)
def test_overlaps_name_both_tensors(second: tuple[int, int], names: str) -> None:
    shape = [(second[1] - second[0]) // 4]
    data = packed({"a": entry(), "b": entry(shape=shape, offsets=second)}, bytes(12))
    with pytest.raises(CheckpointError, match="overlap") as caught:
        load(data)
    assert names in caught.value.what
    assert caught.value.offset == len(data) - 12 + second[0]


def test_empty_tensors_lie_anywhere_between() -> None:
    header = {
        "e": entry(shape=[0], offsets=(0, 0)),
        "a": entry(),
        "f": entry("F32", [2, 0], (8, 8)),
    }
    assert load(packed(header, bytes(8))).problems == ()


def test_a_file_cut_short_is_truncated() -> None:
    data = packed({"a": entry()}, bytes(8))
    for end in range(len(data)):
        with pytest.raises(Truncated) as caught:
            load(data[:end])
        assert caught.value.file == FILE
        assert caught.value.offset is not None
        assert caught.value.offset <= end


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"\xff" * 16, 0),
        ((1 << 62).to_bytes(8, "little") + b"{}", 0),
        (packed({}, raw=b"[]"), 8),
        (packed({}, raw=b" {}"), 8),
        (packed({}, raw=b""), 8),
        (packed({}, raw=b'{"a":'), 13),
        (packed({}, raw=b'{"\xff":1}'), 10),
        (packed({}, raw=b"{}x"), 10),
        (packed({}, raw=b'{"a":NaN}'), 13),
        (packed({}, raw=b'{"a":' + b"9" * 5000 + b"}"), 13),
        (packed({}, raw=b'{"a":1,"\\u0061":2}'), 15),
        (packed({}, raw=b'{"__metadata__":{"k":"1","k":"2"}}'), 33),
        (
            packed({}, raw=b'{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
            28,
        ),
        (packed({}, raw=b'{"\\ud800":1}'), 10),
    ],
)
def test_broken_headers_are_refused_with_their_place(data: bytes, offset: int) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(data)
    assert (caught.value.file, caught.value.offset, caught.value.line) == (FILE, offset, None)


def test_the_limits_hold() -> None:
    wide = {"a": entry(shape=[1] * 5, offsets=[0, 4]), "b": entry("U8", [1], [4, 5])}
    data = packed({"__metadata__": {"k": "v", "l": "v"}, **wide}, bytes(5))
    limits = Limits()
    for bound in (
        replace(limits, header_bytes=20),
        replace(limits, rank=4),
        replace(limits, tensors=1),
        replace(limits, metadata_keys=1),
        replace(limits, json_nodes=12),
        replace(limits, depth=2),
        replace(limits, name_bytes=0),
    ):
        with pytest.raises(LimitExceeded) as caught:
            load(data, bound)
        assert caught.value.file == FILE
    assert len(load(data).tensors) == 2


@pytest.mark.parametrize("shape", [[2**70], [2**40, 2**40], [0, 2**40, 2**40], [10**300]])
def test_shapes_beyond_any_machine_are_refused(shape: list[int]) -> None:
    with pytest.raises(LimitExceeded):
        load(packed({"a": entry(shape=shape, offsets=[0, 0])}))


def bomb(kind: str, size: int) -> bytes:
    if kind == "nesting":
        return b'{"a":' + b"[" * size
    if kind == "arrays":
        return b'{"a":[' + b"[]," * (size // 3) + b"[]]}"
    if kind == "key":
        return b'{"' + b"k" * size + b'":1}'
    if kind == "quotes":
        return b'{"a":[' + b'"",' * (size // 3) + b'""]}'
    if kind == "escapes":
        return b'{"' + b"\\\\" * (size // 2)
    return b"{" + b" " * size


@pytest.mark.parametrize("kind", ["nesting", "arrays", "key", "quotes", "escapes", "spaces"])
def test_header_bombs_cost_no_more_than_their_bytes(kind: str) -> None:
    data = packed(None, raw=bomb(kind, 30_000_000))
    reader = BytesReader(FILE, data)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(CheckpointError):
        read(reader)
    took = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 20
    assert peak < 5 * len(data)
