"""Walk a protobuf message field by field, without reading what the fields hold.

A protobuf message is a run of fields; each begins with a tag (field number and wire type) and is
either a number or a length and that many bytes. `Wire.fields` yields where each payload lies and
never reads it, so a tensor of 2 GB costs the few bytes of its tag and length. A message inside a
message is one more payload: descend with `Span.inner`, which counts the depth. Small buffered
windows stand between the walk and the file, so that neither a thousand small fields nor a ranged
read over a network costs a request for each.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.base import ByteReader

VARINT, I64, LEN, START_GROUP, END_GROUP, I32 = range(6)
"""The wire types; 6 and 7 do not exist."""

LARGEST_MESSAGE = 2**31 - 1
"""Bytes in the longest protobuf message, and so in any field of one."""

SMALLEST_WINDOW = 4096
"""Bytes read after a jump; doubled while what is read is walked for the most part."""
LARGEST_WINDOW = 262_144
"""Bytes read at once at most."""

_LONGEST_VARINT = 10
_LONGEST_HEAD = 2 * _LONGEST_VARINT
"""A tag and the number or length behind it."""

_FIX = "download the file again and compare its SHA-256 with the publisher's"


class Field(NamedTuple):
    """One field of a message: its tag and where its payload lies."""

    tag: int
    """Field number times 8 plus wire type, as the file has it; see `tag`."""
    value: int
    """The number (varint or fixed width, unsigned); for `LEN` the payload's length."""
    offset: int
    """First byte of the payload in the file."""
    length: int
    """Bytes of the payload."""

    @property
    def number(self) -> int:
        """Give the field number, from 1."""
        return self.tag >> 3

    @property
    def wire(self) -> int:
        """Give the wire type."""
        return self.tag & 7


class Span(NamedTuple):
    """Where a message lies, and how many messages it lies in."""

    offset: int
    length: int
    depth: int = 0

    def inner(self, field: Field) -> Span:
        """Name the message that is the payload of `field`."""
        return Span(field.offset, field.length, self.depth + 1)


def tag(number: int, wire: int) -> int:
    """Put a field number and a wire type together as a tag."""
    return number << 3 | wire


def signed64(value: int) -> int:
    """Read a varint's 64 bits as two's complement (`int64`, `int32`, enums)."""
    return value - (1 << 64) if value >> 63 else value


def decode_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """Decode the varint at index `at`.

    Returns:
        The unsigned value and the index behind it, or None where the bytes end before it does,
        or where it does not fit 64 bits.
    """
    value = shift = 0
    for index in range(at, min(at + _LONGEST_VARINT, len(data))):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return None if value >> 64 else (value, index + 1)
        shift += 7
    return None


class Wire:
    """Walk the messages of one file within `limits`.

    Bounds: `limits.opcodes` on fields walked, `limits.header_bytes` on tags, numbers, lengths and
    texts read, `limits.depth` on nesting. Payloads that nobody asks for count for nothing.
    """

    def __init__(self, reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> None:
        self.name = reader.name
        self.limits = limits
        self._most_fields, self._most_bytes = limits.opcodes, limits.header_bytes
        self._reader = reader
        self._size = reader.size
        self._fields = 0
        self._spent = self._mark = 0
        self._data = b""
        self._start = self._stop = 0
        self._step = SMALLEST_WINDOW // 2

    @property
    def steps(self) -> int:
        """Count the fields walked so far."""
        return self._fields

    def whole(self) -> Span:
        """Name the whole file as one message.

        Raises:
            CheckpointError: If the file is longer than a protobuf message can be.
        """
        if self._size > LARGEST_MESSAGE:
            raise CheckpointError(
                f"is {self._size} bytes long, but a protobuf message ends at {LARGEST_MESSAGE}",
                why="it is not a protobuf file, or something was appended to one",
                fix=_FIX,
                file=self.name,
                offset=LARGEST_MESSAGE,
            )
        return Span(0, self._size)

    def fields(self, span: Span) -> Iterator[Field]:
        """Yield the fields of the message at `span`, in the file's order.

        Raises:
            Truncated: If the file ends inside a field.
            LimitExceeded: If it is nested too deep, or has too many fields.
            Unsupported: If it holds a group, which protobuf gave up long ago.
            CheckpointError: If a tag, number or length is malformed or leaves the message.
        """
        if span.depth > self.limits.depth:
            raise self._exceeded(
                f"nests messages deeper than {self.limits.depth}", "Limits.depth", span.offset
            )
        position, end = span.offset, span.offset + span.length
        while position < end:
            field = self._short_field(position, end) or self._field(position, end)
            yield field
            position = field.offset + field.length

    def payload(self, field: Field, limit: int, what: str) -> bytes:
        """Read the payload of a short field.

        Args:
            field: A field of wire type `LEN`.
            limit: Most bytes it may have.
            what: What it is, for the error: "the name of a tensor".

        Raises:
            LimitExceeded: If it is longer than `limit`, or too much was read already.
        """
        if field.length > limit:
            raise self._exceeded(
                f"{what} is {field.length} bytes long, more than {limit}", "Limits", field.offset
            )
        self._charge(field.length, field.offset)
        if not self._start <= field.offset <= field.offset + field.length <= self._stop:
            if field.length > SMALLEST_WINDOW:
                return self._reader.read(field.offset, field.length)
            self._fill(field.offset)
        at = field.offset - self._start
        return self._data[at : at + field.length]

    def text(self, field: Field, limit: int, what: str) -> str:
        """Read a short text; a byte that is not UTF-8 comes out as its escape, as in Python."""
        return self.payload(field, limit, what).decode("utf-8", "backslashreplace")

    def entry(self, span: Span, most: int) -> tuple[str, str | None]:
        """Read an entry of text to text (key is field 1, value is field 2).

        The value is None where it is longer than `most` bytes.
        """
        key: str = ""
        value: str | None = ""
        for field in self.fields(span):
            if field.tag == tag(1, LEN):
                key = self.text(field, self.limits.name_bytes, "a key")
            elif field.tag == tag(2, LEN):
                value = self.text(field, most, "a value") if field.length <= most else None
        return key, value

    def packed_varints(self, field: Field, most: int, what: str) -> list[int]:
        """Read a short packed run of at most `most` varints, unsigned."""
        data = self.payload(field, most * _LONGEST_VARINT, what)
        values: list[int] = []
        at = 0
        while at < len(data):
            decoded = decode_varint(data, at)
            if decoded is None:
                raise self._malformed("holds a number that does not end", field.offset + at)
            value, at = decoded
            values.append(value)
            if len(values) > most:
                raise self._exceeded(f"{what} has more than {most} items", "Limits", field.offset)
        return values

    def _short_field(self, position: int, end: int) -> Field | None:
        """Decode a field of a one-byte tag and a one-byte value, as most are; faster by a third.

        None where it is another, or anything is wrong with it: `_field` then says what.
        """
        at = position - self._start
        data = self._data
        if not 0 <= at < len(data) - 1 or self._fields >= self._most_fields:
            return None
        head, value = data[at], data[at + 1]
        if not 8 <= head < 0x80 or value >= 0x80:
            return None
        wire = head & 7
        if wire == LEN:
            offset, length = position + 2, value
        elif wire == VARINT:
            offset, length = position + 1, 1
        else:
            return None
        if offset + length > end or self._spent + 2 > self._most_bytes:
            return None
        self._fields += 1
        self._spent += 2
        return Field(head, value, offset, length)

    def _field(self, position: int, end: int) -> Field:
        """Decode the field at `position` of a message that ends at `end`."""
        if not (
            self._start <= position
            and (position + _LONGEST_HEAD <= self._stop or self._stop == self._size)
        ):
            self._fill(position)
        head, after = self._number(position, end)
        wire = head & 7
        if head >> 3 == 0 or head >> 32:
            raise self._malformed(f"has a field of number {head >> 3}, which cannot be", position)
        if wire == VARINT:
            value, after_value = self._number(after, end)
            length = after_value - after
        elif wire == LEN:
            value, after = self._number(after, end)
            length = value
        else:
            length = self._fixed_width(wire, position)
            value = -1
        if length > end - after:
            raise self._overrun(position, length, end)
        if value < 0:
            at = after - self._start
            value = int.from_bytes(self._data[at : at + length], "little")
        self._fields += 1
        self._charge(after - position if wire == LEN else after - position + length, position)
        return Field(head, value, after, length)

    def _number(self, position: int, end: int) -> tuple[int, int]:
        """Decode the varint at `position`; give it and the offset behind it."""
        at = position - self._start
        data = self._data
        if at < len(data) and data[at] < 0x80 and position < end:
            return data[at], position + 1
        decoded = decode_varint(data, at)
        if decoded is None and at + _LONGEST_VARINT <= len(data):
            raise self._malformed("has a number of more than 64 bits", position)
        if decoded is None or decoded[1] + self._start > end:
            raise self._overrun(position, 1, end)
        return decoded[0], decoded[1] + self._start

    def _fixed_width(self, wire: int, position: int) -> int:
        """Give the bytes of a number of fixed width, or refuse the wire type."""
        if wire == I32:
            return 4
        if wire == I64:
            return 8
        if wire == START_GROUP:
            raise Unsupported(
                "holds a protobuf group",
                why="groups were withdrawn from protobuf, and no writer of models uses them",
                fix=_FIX,
                file=self.name,
                offset=position,
            )
        kind = "the end of a group that never began" if wire == END_GROUP else f"wire type {wire}"
        raise self._malformed(f"has {kind}", position)

    def _fill(self, position: int) -> None:
        """Read the window that begins at `position`.

        It is larger than the last one if that was walked for the most part, else small again.
        """
        dense = 2 * (self._spent - self._mark) >= self._stop - self._start
        self._step = min(self._step * 2, LARGEST_WINDOW) if dense else SMALLEST_WINDOW
        self._mark = self._spent
        length = min(self._step, self._size - position)
        self._data = self._reader.read(position, length)
        self._start, self._stop = position, position + length

    def _charge(self, count: int, position: int) -> None:
        """Count what was walked and read, and stop a file that asks for too much."""
        self._spent += count
        if self._fields > self.limits.opcodes:
            raise self._exceeded(
                f"has more than {self.limits.opcodes} fields", "Limits.opcodes", position
            )
        if self._spent > self.limits.header_bytes:
            raise self._exceeded(
                f"has more than {self.limits.header_bytes} bytes of header",
                "Limits.header_bytes",
                position,
            )

    def _overrun(self, position: int, length: int, end: int) -> CheckpointError:
        """Describe a field that goes on behind its message."""
        if length > LARGEST_MESSAGE:
            return self._malformed(f"has a field of {length} bytes; protobuf allows 2 GB", position)
        if end == self._size:
            return Truncated(
                f"ends at byte {end}, inside a field that goes on",
                why="the file is cut short, or a length in it is wrong",
                fix=_FIX,
                file=self.name,
                offset=position,
            )
        return self._malformed(
            f"has a field that goes on behind its message's end at {end}", position
        )

    def _malformed(self, what: str, position: int) -> CheckpointError:
        return CheckpointError(
            what,
            why="the bytes are not a protobuf message",
            fix=_FIX,
            file=self.name,
            offset=position,
        )

    def _exceeded(self, what: str, limit: str, position: int) -> LimitExceeded:
        return LimitExceeded(
            what,
            why=f"{limit} allows no more; real models stay far below it",
            fix="raise the limit if you trust the file",
            file=self.name,
            offset=position,
        )
