"""The walk over protobuf's wire format: what it yields, what it leaves unread, what it refuses."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.onnx.protobuf import (
    I32,
    I64,
    LARGEST_MESSAGE,
    LARGEST_WINDOW,
    LEN,
    SMALLEST_WINDOW,
    VARINT,
    Field,
    Span,
    Wire,
    decode_varint,
    signed64,
    tag,
)
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.memory import BytesReader, check_range


def varint(value: int) -> bytes:
    """Encode an unsigned number, as the encoding guide says it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def chunk(number: int, payload: bytes) -> bytes:
    return varint(tag(number, LEN)) + varint(len(payload)) + payload


def wire(data: bytes, limits: Limits | None = None) -> Wire:
    return Wire(BytesReader("m.onnx", data), limits or Limits())


def walk(data: bytes, limits: Limits | None = None) -> list[Field]:
    walker = wire(data, limits)
    return list(walker.fields(walker.whole()))


class NotingReader(BytesReader):
    """Bytes in memory; notes what is read of them."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name, data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return super().read(offset, length)


class SparseReader(BytesReader):
    """A large file of zeros with a few bytes in it; notes what is read."""

    def __init__(self, size: int, pieces: dict[int, bytes]) -> None:
        super().__init__("large.onnx", b"")
        self.size = size
        self.reads: list[tuple[int, int]] = []
        self._pieces = pieces

    def read(self, offset: int, length: int) -> bytes:
        check_range(self.name, self.size, offset, length)
        self.reads.append((offset, length))
        data = bytearray(length)
        for start, piece in self._pieces.items():
            for index, byte in enumerate(piece, start - offset):
                if 0 <= index < length:
                    data[index] = byte
        return bytes(data)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_varints_round_trip(value: int, before: bytes, after: bytes) -> None:
    data = before + varint(value) + after
    assert decode_varint(data, len(before)) == (value, len(data) - len(after))


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_round_trip(value: int) -> None:
    assert signed64(value % 2**64) == value


def test_a_varint_may_have_needless_zeros() -> None:
    assert decode_varint(b"\x81\x80\x80\x00", 0) == (1, 4)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\xff" * 10, b"\xff" * 9 + b"\x02"])
def test_a_varint_that_ends_too_soon_or_too_late_is_none(data: bytes) -> None:
    assert decode_varint(data, 0) is None


NUMBER = st.integers(1, 2**29 - 1)
PARTS = st.lists(
    st.one_of(
        st.tuples(NUMBER, st.just(VARINT), st.integers(0, 2**64 - 1)),
        st.tuples(NUMBER, st.just(I32), st.integers(0, 2**32 - 1)),
        st.tuples(NUMBER, st.just(I64), st.integers(0, 2**64 - 1)),
        st.tuples(NUMBER, st.just(LEN), st.binary(max_size=2 * SMALLEST_WINDOW)),
    ),
    max_size=30,
)


@given(PARTS)
def test_fields_round_trip(parts: list[tuple[int, int, int | bytes]]) -> None:
    data = b""
    for number, kind, value in parts:
        if isinstance(value, bytes):
            data += chunk(number, value)
            continue
        forms = {I32: struct.Struct("<I").pack, I64: struct.Struct("<Q").pack, VARINT: varint}
        data += varint(tag(number, kind)) + forms[kind](value)
    fields = walk(data)
    assert [(field.number, field.wire) for field in fields] == [part[:2] for part in parts]
    for field, (_, _, value) in zip(fields, parts, strict=True):
        payload = data[field.offset : field.offset + field.length]
        if isinstance(value, bytes):
            assert (payload, field.value) == (value, len(value))
        else:
            assert field.value == value


def test_a_message_of_two_gigabytes_is_skipped_by_its_length() -> None:
    head = varint(tag(9, LEN)) + varint(LARGEST_MESSAGE - 100)
    tail_at = len(head) + LARGEST_MESSAGE - 100
    reader = SparseReader(tail_at + 2, {0: head, tail_at: b"\x08\x2a"})
    walker = Wire(reader)
    large, last = walker.fields(walker.whole())
    assert (large.offset, large.length) == (len(head), LARGEST_MESSAGE - 100)
    assert (last.number, last.value) == (1, 42)
    assert sum(length for _, length in reader.reads) <= 2 * SMALLEST_WINDOW


def test_many_small_fields_cost_few_reads() -> None:
    data = b"\x08\x01" * 500_000
    reader = NotingReader("m.onnx", data)
    walker = Wire(reader)
    assert sum(field.value for field in walker.fields(walker.whole())) == 500_000
    assert len(reader.reads) < 12
    assert max(length for _, length in reader.reads) == LARGEST_WINDOW
    assert sum(length for _, length in reader.reads) < len(data) + 1000


def test_large_payloads_are_not_read() -> None:
    data = b"".join(chunk(5, chunk(8, b"w") + chunk(9, bytes(50_000))) for _ in range(40))
    reader = NotingReader("m.onnx", data)
    walker = Wire(reader)
    whole = walker.whole()
    inner = [part for outer in walker.fields(whole) for part in walker.fields(whole.inner(outer))]
    assert len(inner) == 80
    assert sum(length for _, length in reader.reads) <= 41 * 2 * SMALLEST_WINDOW


def test_nested_messages_are_walked_within_their_bounds() -> None:
    data = chunk(1, chunk(2, b"\x08\x05") + b"\x18\x07") + b"\x08\x09"
    walker = wire(data)
    outer, last = walker.fields(walker.whole())
    inner = walker.whole().inner(outer)
    assert (inner.depth, last.value) == (1, 9)
    first, second = walker.fields(inner)
    assert [field.value for field in walker.fields(inner.inner(first))] == [5]
    assert second.value == 7


def test_walks_of_an_outer_and_an_inner_message_may_take_turns() -> None:
    data = b"".join(chunk(1, b"\x08" + varint(index)) for index in range(5000))
    walker = wire(data)
    whole = walker.whole()
    values = [
        field.value for part in walker.fields(whole) for field in walker.fields(whole.inner(part))
    ]
    assert values == list(range(5000))


def test_texts_and_packed_numbers() -> None:
    text, numbers, long = "größe".encode(), varint(3) + varint(2**64 - 1), b"x" * 9000
    data = chunk(1, text) + chunk(2, numbers) + chunk(3, b"\xff\xfe") + chunk(4, long)
    walker = wire(data)
    first, second, third, fourth = walker.fields(walker.whole())
    assert walker.text(first, 100, "a text") == "größe"
    assert walker.packed_varints(second, 2, "numbers") == [3, 2**64 - 1]
    assert walker.text(third, 100, "a text") == "\\xff\\xfe"
    assert walker.text(fourth, 9000, "a text") == long.decode()
    assert walker.text(first, 100, "a text") == "größe"
    with pytest.raises(LimitExceeded, match="a text is 7 bytes"):
        walker.text(first, 6, "a text")
    with pytest.raises(LimitExceeded, match="more than 1"):
        walker.packed_varints(second, 1, "numbers")


def test_a_packed_number_that_does_not_end() -> None:
    walker = wire(chunk(1, b"\x80"))
    (field,) = walker.fields(walker.whole())
    with pytest.raises(CheckpointError, match="does not end") as caught:
        walker.packed_varints(field, 5, "numbers")
    assert caught.value.offset == 2


def test_entries() -> None:
    walker = wire(chunk(1, b"key") + chunk(2, b"value") + b"\x18\x01")
    assert walker.entry(walker.whole(), 5) == ("key", "value")
    assert walker.entry(walker.whole(), 4) == ("key", None)


@pytest.mark.parametrize(
    ("data", "kind", "what", "offset"),
    [
        (b"\x08\x01\x00\x01", CheckpointError, "number 0", 2),
        (varint(2**29 << 3) + b"\x01", CheckpointError, "number 536870912", 0),
        (b"\x0e", CheckpointError, "wire type 6", 0),
        (b"\x08\x01\x0f", CheckpointError, "wire type 7", 2),
        (b"\x0b\x0c", Unsupported, "group", 0),
        (b"\x08\x01\x0c", CheckpointError, "never began", 2),
        (b"\x08", Truncated, "inside a field", 1),
        (b"\x08\xff", Truncated, "inside a field", 1),
        (b"\x88", Truncated, "inside a field", 0),
        (b"\x0d\x01\x02\x03", Truncated, "inside a field", 0),
        (b"\x09\x01\x02\x03\x04\x05\x06\x07", Truncated, "inside a field", 0),
        (b"\x0a\x05abcd", Truncated, "inside a field", 0),
        (b"\x0a\xff\xff\xff\xff\x07", Truncated, "inside a field", 0),
        (b"\x0a" + varint(2**31), CheckpointError, "2 GB", 0),
        (b"\x0a" + varint(2**64 - 1), CheckpointError, "2 GB", 0),
        (b"\x08" + b"\xff" * 10, CheckpointError, "64 bits", 1),
        (b"\x08" + b"\xff" * 9 + b"\x7f" + bytes(9), CheckpointError, "64 bits", 1),
    ],
)
def test_malformed_bytes_are_refused_where_they_lie(
    data: bytes, kind: type[CheckpointError], what: str, offset: int
) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        walk(data)
    assert type(caught.value) is kind
    assert (caught.value.file, caught.value.offset) == ("m.onnx", offset)
    assert caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize("inner", [b"\x0a\x02", b"\x08\xff", b"\x0d\x01", b"\x08"])
def test_a_field_may_not_leave_its_message(inner: bytes) -> None:
    walker = wire(chunk(1, inner) + chunk(2, b"1234567"))
    outer = next(walker.fields(walker.whole()))
    with pytest.raises(CheckpointError, match=r"behind its message's end at [34]"):
        list(walker.fields(walker.whole().inner(outer)))


def test_a_file_longer_than_protobuf_allows() -> None:
    reader = SparseReader(LARGEST_MESSAGE + 1, {})
    with pytest.raises(CheckpointError, match="2147483647"):
        Wire(reader).whole()
    assert not reader.reads


def test_limits_on_depth_fields_and_bytes() -> None:
    limits = Limits(depth=2, opcodes=10, header_bytes=60)
    walker = wire(b"\x08\x01", limits)
    assert list(walker.fields(Span(0, 2, depth=2)))
    with pytest.raises(LimitExceeded, match="deeper than 2"):
        list(walker.fields(Span(0, 2, depth=3)))
    with pytest.raises(LimitExceeded, match="more than 10 fields"):
        walk(b"\x08\x01" * 11, limits)
    with pytest.raises(LimitExceeded, match="more than 60 bytes"):
        walk((b"\x88" + b"\x80" * 7 + b"\x00" + b"\x01") * 7, limits)
