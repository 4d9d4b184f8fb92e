"""The alphabet of pickles: each opcode, and how its argument is read.

A pickle is a program for a small stack machine. This module only spells: it turns bytes into
opcode and argument for every opcode of protocols 0 to 5. What the opcodes mean is in
`pickle_machine`. Long byte strings, long texts and huge integers are stepped over, not read:
an `Opaque` says where they lie. The meaning of each argument follows CPython's
`Lib/pickle.py`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from steelyard.checkpoints.pickles.cursor import Cursor

LONGEST_INTEGER: Final = 255
"""Bytes (or digits) of the longest integer that is read; a longer one is `Opaque`."""

_ESCAPE: Final = rb"(?s)\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)"
_PLAIN_ESCAPES: Mapping[bytes, bytes] = MappingProxyType(
    {
        b"a": b"\a",
        b"b": b"\b",
        b"f": b"\f",
        b"n": b"\n",
        b"r": b"\r",
        b"t": b"\t",
        b"v": b"\v",
        b"\n": b"",
    }
)


@dataclass(slots=True, eq=False)
class Opaque:
    """A value that is there but was not read into memory.

    One is made for each byte string of a pickle, and a frozen one takes twice as long.
    """

    kind: str
    """`bytes`, `str`, `int`, or `buffer` for one that lies outside the pickle."""
    offset: int
    """First byte of the content, counted as the cursor counts."""
    length: int
    """Bytes of content."""


class Name(NamedTuple):
    """The two words that name an import in `GLOBAL` and `INST`."""

    module: str
    name: str


Argument = None | bool | int | float | str | Name | Opaque


def text(data: bytes) -> str:
    """Decode UTF-8; what is not UTF-8 becomes a visible escape, so the text is always clean."""
    return data.decode("utf-8", "backslashreplace")


def unescape(data: bytes) -> bytes:
    """Undo the escapes of a Python bytes literal, as `STRING` needs."""

    def replace(match: re.Match[bytes]) -> bytes:
        body = match[1]
        if body[:1] == b"x" and len(body) == 3:
            return bytes((int(body[1:], 16),))
        if body[0] in b"01234567":
            return bytes((int(body, 8) & 0xFF,))
        if body in b"\\'\"":
            return body
        return _PLAIN_ESCAPES.get(body, match[0])

    return re.sub(_ESCAPE, replace, data)


def _nothing(_cursor: Cursor) -> Argument:
    return None


def _fixed(layout: str) -> Callable[[Cursor], Argument]:
    shape = struct.Struct(layout)

    def read(cursor: Cursor) -> Argument:
        value: int | float = shape.unpack(cursor.take(shape.size))[0]
        return value

    return read


def _length(cursor: Cursor, layout: str) -> int:
    shape = struct.Struct(layout)
    value: int = shape.unpack(cursor.take(shape.size))[0]
    if value < 0:
        raise cursor.error(f"a length is negative: {value}")
    return value


def _data(layout: str) -> Callable[[Cursor], Argument]:
    def read(cursor: Cursor) -> Argument:
        length = _length(cursor, layout)
        value = Opaque("bytes", cursor.offset, length)
        cursor.skip(length)
        return value

    return read


def _words(layout: str) -> Callable[[Cursor], Argument]:
    def read(cursor: Cursor) -> Argument:
        length = _length(cursor, layout)
        if length > cursor.limits.name_bytes:
            value = Opaque("str", cursor.offset, length)
            cursor.skip(length)
            return value
        return text(cursor.take(length))

    return read


def _long(layout: str) -> Callable[[Cursor], Argument]:
    def read(cursor: Cursor) -> Argument:
        length = _length(cursor, layout)
        if length > LONGEST_INTEGER:
            value = Opaque("int", cursor.offset, length)
            cursor.skip(length)
            return value
        return int.from_bytes(cursor.take(length), "little", signed=True)

    return read


def _integer_line(cursor: Cursor) -> Argument:
    start = cursor.offset
    line, length = cursor.line()
    if line == b"00":
        return False
    if line == b"01":
        return True
    if length > LONGEST_INTEGER:
        return Opaque("int", start, length)
    # C's unpickler reads 010 as octal; Python's int() refuses it unless told the base.
    base = 8 if line[:1] == b"0" and line.isdigit() and line.strip(b"0") else 0
    try:
        return int(line.removesuffix(b"L"), base)
    except ValueError:
        raise cursor.error("a line does not hold an integer", start) from None


def _index_line(cursor: Cursor) -> Argument:
    start = cursor.offset
    line, length = cursor.line()
    try:
        index = int(line) if length <= LONGEST_INTEGER else -1
    except ValueError:
        index = -1
    if index < 0:
        raise cursor.error("a line does not hold a memo index", start)
    return index


def _float_line(cursor: Cursor) -> Argument:
    start = cursor.offset
    line, _ = cursor.line()
    try:
        return float(line)
    except ValueError:
        raise cursor.error("a line does not hold a number", start) from None


def _quoted_line(cursor: Cursor) -> Argument:
    start = cursor.offset
    line, length = cursor.line()
    if length > cursor.limits.name_bytes:
        return Opaque("str", start, length)
    if len(line) < 2 or line[0] not in b"\"'" or line[-1] != line[0]:
        raise cursor.error("a line does not hold a quoted string", start)
    return text(unescape(line[1:-1]))


def _unicode_line(cursor: Cursor) -> Argument:
    start = cursor.offset
    line, length = cursor.line()
    if length > cursor.limits.name_bytes:
        return Opaque("str", start, length)
    try:
        words = line.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        return text(line)
    return words.encode("utf-8", "backslashreplace").decode()


def _word_line(cursor: Cursor) -> str:
    start = cursor.offset
    line, length = cursor.line()
    try:
        words = line.decode()
    except UnicodeDecodeError:
        words = "\0"
    if length > cursor.limits.name_bytes or not words.isprintable():
        raise cursor.error("a line does not hold the name of anything in Python", start)
    return words


def _name_lines(cursor: Cursor) -> Argument:
    return Name(_word_line(cursor), _word_line(cursor))


def _id_line(cursor: Cursor) -> Argument:
    start = cursor.offset
    line, length = cursor.line()
    return Opaque("str", start, length) if length > cursor.limits.name_bytes else text(line)


class Opcode(NamedTuple):
    """One opcode: its name in `pickle.py`, and how its argument is read."""

    name: str
    read: Callable[[Cursor], Argument]


_TABLE: tuple[tuple[bytes, str, Callable[[Cursor], Argument]], ...] = (
    (b"(", "MARK", _nothing),
    (b".", "STOP", _nothing),
    (b"0", "POP", _nothing),
    (b"1", "POP_MARK", _nothing),
    (b"2", "DUP", _nothing),
    (b"F", "FLOAT", _float_line),
    (b"I", "INT", _integer_line),
    (b"J", "BININT", _fixed("<i")),
    (b"K", "BININT1", _fixed("<B")),
    (b"L", "LONG", _integer_line),
    (b"M", "BININT2", _fixed("<H")),
    (b"N", "NONE", _nothing),
    (b"P", "PERSID", _id_line),
    (b"Q", "BINPERSID", _nothing),
    (b"R", "REDUCE", _nothing),
    (b"S", "STRING", _quoted_line),
    (b"T", "BINSTRING", _words("<i")),
    (b"U", "SHORT_BINSTRING", _words("<B")),
    (b"V", "UNICODE", _unicode_line),
    (b"X", "BINUNICODE", _words("<I")),
    (b"a", "APPEND", _nothing),
    (b"b", "BUILD", _nothing),
    (b"c", "GLOBAL", _name_lines),
    (b"d", "DICT", _nothing),
    (b"}", "EMPTY_DICT", _nothing),
    (b"e", "APPENDS", _nothing),
    (b"g", "GET", _index_line),
    (b"h", "BINGET", _fixed("<B")),
    (b"i", "INST", _name_lines),
    (b"j", "LONG_BINGET", _fixed("<I")),
    (b"l", "LIST", _nothing),
    (b"]", "EMPTY_LIST", _nothing),
    (b"o", "OBJ", _nothing),
    (b"p", "PUT", _index_line),
    (b"q", "BINPUT", _fixed("<B")),
    (b"r", "LONG_BINPUT", _fixed("<I")),
    (b"s", "SETITEM", _nothing),
    (b"t", "TUPLE", _nothing),
    (b")", "EMPTY_TUPLE", _nothing),
    (b"u", "SETITEMS", _nothing),
    (b"G", "BINFLOAT", _fixed(">d")),
    (b"\x80", "PROTO", _fixed("<B")),
    (b"\x81", "NEWOBJ", _nothing),
    (b"\x82", "EXT1", _fixed("<B")),
    (b"\x83", "EXT2", _fixed("<H")),
    (b"\x84", "EXT4", _fixed("<i")),
    (b"\x85", "TUPLE1", _nothing),
    (b"\x86", "TUPLE2", _nothing),
    (b"\x87", "TUPLE3", _nothing),
    (b"\x88", "NEWTRUE", _nothing),
    (b"\x89", "NEWFALSE", _nothing),
    (b"\x8a", "LONG1", _long("<B")),
    (b"\x8b", "LONG4", _long("<i")),
    (b"B", "BINBYTES", _data("<I")),
    (b"C", "SHORT_BINBYTES", _data("<B")),
    (b"\x8c", "SHORT_BINUNICODE", _words("<B")),
    (b"\x8d", "BINUNICODE8", _words("<Q")),
    (b"\x8e", "BINBYTES8", _data("<Q")),
    (b"\x8f", "EMPTY_SET", _nothing),
    (b"\x90", "ADDITEMS", _nothing),
    (b"\x91", "FROZENSET", _nothing),
    (b"\x92", "NEWOBJ_EX", _nothing),
    (b"\x93", "STACK_GLOBAL", _nothing),
    (b"\x94", "MEMOIZE", _nothing),
    (b"\x95", "FRAME", _fixed("<Q")),
    (b"\x96", "BYTEARRAY8", _data("<Q")),
    (b"\x97", "NEXT_BUFFER", _nothing),
    (b"\x98", "READONLY_BUFFER", _nothing),
)

OPCODES: Mapping[int, Opcode] = MappingProxyType(
    {code[0]: Opcode(name, read) for code, name, read in _TABLE}
)
"""Every opcode of protocols 0 to 5, by its byte."""
