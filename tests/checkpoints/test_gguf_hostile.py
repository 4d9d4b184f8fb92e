"""Damaged and hostile GGUF files: each is refused with its file and the offset of the damage."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from steelyard.checkpoints import gguf
from steelyard.checkpoints.gguf.types import REMOVED
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.memory import BytesReader
from tests.checkpoints import gguf_files as files
from tests.checkpoints.gguf_files import Array, Raw, Typed, Value, Weights, gguf_bytes

HEADER = 24
"""Bytes before the first metadata entry."""
F32, Q4_0 = 0, 2


def refused(
    data: bytes,
    match: str,
    offset: int | None,
    kind: type[CheckpointError] = CheckpointError,
    limits: Limits = DEFAULT_LIMITS,
) -> CheckpointError:
    with pytest.raises(CheckpointError, match=match) as caught:
        gguf.read(BytesReader("bad.gguf", data), limits)
    error = caught.value
    assert type(error) is kind
    assert (error.file, error.offset) == ("bad.gguf", offset)
    assert error.fix
    return error


@pytest.mark.parametrize("data", [b"", b"GGU", b"GGML" + bytes(20), b"FUGG" + bytes(20)])
def test_not_gguf(data: bytes) -> None:
    refused(data, "not a GGUF file", 0)


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("version", [0, 1, 4, 65535])
def test_other_versions(version: int, byteorder: str) -> None:
    data = gguf_bytes(version=version, byteorder=byteorder)
    error = refused(data, f"GGUF version {version} is not supported", 4, Unsupported)
    assert ("32-bit" in error.why) == (version == 1)


def test_a_file_cut_anywhere_in_its_header_is_truncated() -> None:
    metadata: dict[str, Value] = {
        "a": 1,
        "b": Array(files.STRING, ["x"] * 70),
        "c": Array(files.INT16, [1] * 70),
    }
    data = gguf_bytes(metadata, [Weights("w", F32, (2,), bytes(8))])
    for length in range(4, len(data) - 32 + 8):
        with pytest.raises(Truncated) as caught:
            gguf.read(BytesReader("bad.gguf", data[:length]))
        assert caught.value.file == "bad.gguf"
        assert 0 <= (caught.value.offset or 0) <= length


@pytest.mark.parametrize("count", [2, 2**32, 2**64 - 1])
def test_counts_are_held_against_the_file(count: int) -> None:
    refused(gguf_bytes(key_count=count), f"metadata .{count} stated", HEADER, Truncated)
    refused(gguf_bytes(tensor_count=count), f"a table of {count} tensors", HEADER, Truncated)
    for kind in (files.UINT8, files.FLOAT64, files.STRING, files.ARRAY):
        data = gguf_bytes({"k": Array(kind, [], count=min(count * 100, 2**64 - 1))})
        refused(data, "value of 'k'", HEADER + 9 + 4 + 12, Truncated)


def test_string_lengths_are_held_against_the_file() -> None:
    long = struct.pack("<Q", 2**63)
    refused(gguf_bytes([("k", Raw(struct.pack("<I", 8) + long))]), "'k'", 45, Truncated)
    array = Raw(struct.pack("<IIQ", 9, 8, 100) + long + bytes(800))
    refused(gguf_bytes([("k", array)]), "'k'", HEADER + 9 + 16 + 8, Truncated)
    limits = Limits(kept_items=0)
    refused(gguf_bytes([("k", array)]), "'k'", HEADER + 9 + 16 + 8, Truncated, limits)


LIMITS: list[tuple[dict[str, Any], dict[str, int], str, int]] = [
    ({"metadata": {"a": 1, "b": 2}}, {"metadata_keys": 1}, "at most 1", HEADER),
    ({"metadata": {"long": 1}}, {"name_bytes": 3}, "key is 4 bytes long", HEADER),
    ({"metadata": {"k": "abcd"}}, {"string_bytes": 3}, "'k' is 4 bytes long", HEADER + 13),
    (
        {"metadata": {"k": Array(files.STRING, ["a", "abcd"])}},
        {"string_bytes": 3, "kept_items": 1},
        "'k' is 4 bytes long",
        HEADER + 25 + 9,
    ),
    ({"metadata": {"k": Array(0, [1, 2])}}, {"array_items": 1}, "at most 1", HEADER + 25),
    ({"metadata": {"k": "x" * 200}}, {"header_bytes": 100}, "longest header", HEADER + 21),
    ({"tensors": [Weights("a", F32, (0,))] * 2}, {"tensors": 1}, "at most 1", HEADER),
    ({"tensors": [Weights("a", F32, (1, 1, 1))]}, {"rank": 2}, "3 dimensions", HEADER),
    ({"tensors": [Weights("abcd", F32, (1,))]}, {"name_bytes": 3}, "4 bytes long", HEADER),
]


@pytest.mark.parametrize(("content", "limit", "match", "offset"), LIMITS)
def test_limits(content: dict[str, Any], limit: dict[str, int], match: str, offset: int) -> None:
    refused(gguf_bytes(**content), match, offset, LimitExceeded, Limits(**limit))


def nested(depth: int) -> Raw:
    """Pack one number into `depth` arrays, each within the next."""
    outer = struct.pack("<IQ", files.ARRAY, 1) * (depth - 1)
    inner = struct.pack("<IQB", files.UINT8, 1, 7)
    return Raw(struct.pack("<I", files.ARRAY) + outer + inner)


def test_arrays_nest_only_so_deep() -> None:
    good = gguf.read(BytesReader("good.gguf", gguf_bytes([("k", nested(64))])))
    assert good.metadata["k#length"] == 1
    for depth in (65, 100_000):
        data = gguf_bytes([("k", nested(depth))])
        refused(data, "nested more than 64 deep", HEADER + 13 + 64 * 12, LimitExceeded)


@pytest.mark.parametrize("kind", [13, 255, 2**32 - 1])
def test_value_types_that_do_not_exist(kind: int) -> None:
    for value in (struct.pack("<I", kind), struct.pack("<IIQ", 9, kind, 0)):
        refused(gguf_bytes([("k", Raw(value))]), f"value type {kind}", HEADER)


def test_names_must_be_utf8() -> None:
    refused(gguf_bytes([(b"\xff", 1)]), "key is not UTF-8", HEADER)
    refused(gguf_bytes([(b"\xed\xa0\x80", 1)]), "key is not UTF-8", HEADER)
    refused(gguf_bytes({}, [Weights(b"\xc0\x80", F32, ())]), "name is not UTF-8", HEADER)


def test_names_must_be_unique() -> None:
    refused(gguf_bytes([("k", 1), ("k", 1)]), "key 'k' stands twice", HEADER + 17)
    refused(gguf_bytes([("k#length", 1), ("k#length", 2)]), "stands twice", HEADER + 24)
    twice = [Weights("w", F32, (8,), bytes(32))] * 2
    refused(gguf_bytes({}, twice), "tensor 'w' stands twice", HEADER + 33)


@pytest.mark.parametrize(
    "value",
    [0, 3, 48, Typed(files.UINT64, 32), Typed(files.BOOL, True), "32", Array(files.UINT32, [32])],
)
def test_alignment_must_be_a_power_of_two(value: Value) -> None:
    data = gguf_bytes([("a", 1), ("general.alignment", value)])
    refused(data, "general.alignment is", HEADER + 17)


@pytest.mark.parametrize("type_id", sorted(REMOVED))
def test_removed_types_are_refused_by_name(type_id: int) -> None:
    data = gguf_bytes({}, [Weights("w", type_id, (256,), bytes(256))])
    refused(data, f"{REMOVED[type_id]} .{type_id}", HEADER, Unsupported)


@pytest.mark.parametrize("type_id", [43, 142, 2**32 - 1])
def test_unknown_types_are_refused(type_id: int) -> None:
    data = gguf_bytes({}, [Weights("w", type_id, (256,), bytes(256))])
    refused(data, f"unknown ggml type, {type_id}", HEADER, Unsupported)


@pytest.mark.parametrize("shape", [(), (31,), (2, 33), (32, 1)])
def test_rows_must_be_whole_blocks(shape: tuple[int, ...]) -> None:
    data = gguf_bytes({}, [Weights("w", Q4_0, shape, bytes(500))])
    error = refused(data, "'w' has rows of", HEADER)
    assert "32 elements" in error.why


@pytest.mark.parametrize(
    "shape", [(2**62,), (2**40, 2**40), (2**62,) * 32, (65536,) * 4, (9, 2**61)]
)
def test_products_of_dimensions_do_not_wrap_around(shape: tuple[int, ...]) -> None:
    data = gguf_bytes({}, [Weights("w", F32, shape, bytes(64))])
    refused(data, "'w' reaches beyond the end", HEADER, Truncated)


def test_dimensions_are_signed() -> None:
    refused(gguf_bytes({}, [Weights("w", F32, (0, 2**63))]), r"2\*\*63", HEADER)


@pytest.mark.parametrize("offset", [1, 16, 2**64 - 1])
def test_data_must_be_aligned(offset: int) -> None:
    refused(gguf_bytes({}, [Weights("w", F32, (1,), bytes(4), offset)]), "not aligned", HEADER)
    wide = {"general.alignment": 64}
    data = gguf_bytes(wide, [Weights("w", F32, (1,), bytes(4), 32)], alignment=64)
    refused(data, "not aligned", HEADER + 33)


@pytest.mark.parametrize("offset", [32, 2**40, 2**64 - 32])
def test_data_must_lie_in_the_file(offset: int) -> None:
    data = gguf_bytes({}, [Weights("w", F32, (1,), bytes(4), offset)])
    refused(data, "'w' reaches beyond the end", HEADER, Truncated)


def test_tensors_must_not_overlap() -> None:
    weights = [
        Weights("long", F32, (32,), bytes(128), 0),
        Weights("inside", F32, (8,), bytes(32), 32),
    ]
    error = refused(gguf_bytes({}, weights), "'long' and 'inside' overlap", HEADER + 36)
    assert "the second starts at" in error.why
    same = [Weights("a", F32, (8,), bytes(32), 0), Weights("b", F32, (8,), bytes(32), 0)]
    refused(gguf_bytes({}, same), "'a' and 'b' overlap", HEADER + 33)


def test_empty_tensors_overlap_nothing() -> None:
    weights = [
        Weights("empty", F32, (0, 5), b"", 0),
        Weights("full", F32, (16,), bytes(64), 0),
        Weights("within", F32, (3, 0), b"", 32),
    ]
    checkpoint = gguf.read(BytesReader("good.gguf", gguf_bytes({}, weights)))
    assert [tensor.nbytes for tensor in checkpoint.tensors] == [0, 64, 0]
    assert checkpoint.problems == ()
