"""Protobuf messages written as text (`.pbtxt`), walked field by field without their definition.

What comes out is what is written: where a message begins and ends, under which name, and each
scalar as its text. Nothing is kept, so memory stays small whatever the file holds; the number of
tokens and the depth are bounded.

Source: Text Format Language Specification, https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.errors import CheckpointError, LimitExceeded

_TOKEN: Final = re.compile(
    rb"(?:[ \t\r\n\f\v]++|#[^\n]*+)*+"
    rb"(?P<token>\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|[{}<>\[\]:;,/]|[\w.+-]++|$)"
)
_ESCAPE: Final = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_LETTERS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f",
                   b"v": b"\v"}  # fmt: skip
_CLOSERS: Final = {b"{": b"}", b"<": b">"}
_QUOTES: Final = (b'"', b"'")
_LAST_CHARACTER: Final = 0x10FFFF


class Event(NamedTuple):
    """One step: a message begins (`value` is None), a scalar stands, or a message ends."""

    name: str
    """The field's name; empty where a message ends."""
    value: str | None
    """A scalar, with the escapes of a string resolved; None for a message."""
    offset: int

    @property
    def ends(self) -> bool:
        """Tell the end of a message."""
        return not self.name


def events(data: bytes, file: str, limits: Limits = DEFAULT_LIMITS) -> Iterator[Event]:
    """Walk a message that is written as text.

    Args:
        data: The text.
        file: Its name, for errors.
        limits: Bounds on tokens (`opcodes`), on depth and on the length of names.

    Raises:
        LimitExceeded: If it is longer or deeper than the limits allow.
        CheckpointError: If it is no such text.
    """
    return _Walk(data, file, limits).fields()


class _Walk:
    """A place in the text, and the messages that are open there."""

    def __init__(self, data: bytes, file: str, limits: Limits) -> None:
        self._data = data
        self._file = file
        self._limits = limits
        self._left = limits.opcodes
        self._at = 0
        self._open: list[tuple[bytes, str]] = []
        """Of each open message: what closes it, and its name where it is one of a list."""

    def fields(self) -> Iterator[Event]:
        """Yield events up to the end of the text."""
        while True:
            token, offset = self._next()
            if token in (b",", b";"):
                continue
            if not token:
                if self._open:
                    raise self._error("ends inside a message", offset)
                return
            if token in (b"}", b">"):
                yield from self._close(token, offset)
                continue
            name = self._name(token, offset)
            token, offset = self._next()
            if token == b":":
                token, offset = self._next()
            elif token not in (b"{", b"<", b"["):
                raise self._error(f"has no value for the field {name!r}", offset)
            yield from self._value(name, token, offset)

    def _name(self, token: bytes, offset: int) -> str:
        """Read the name of a field; that of an extension stands in brackets."""
        if token == b"[":
            parts = []
            token, _ = self._next()
            while token and token != b"]":
                parts.append(token)
                token, _ = self._next()
            token = b"".join((b"[", *parts, b"]"))
        elif not (token[:1].isalpha() or token[:1] == b"_"):
            raise self._error("is not a protobuf message as text", offset)
        if len(token) > self._limits.name_bytes:
            raise self._error("has a name that is longer than any", offset)
        return token.decode("utf-8", "replace")

    def _value(self, name: str, token: bytes, offset: int) -> Iterator[Event]:
        if token in _CLOSERS:
            yield self._enter(name, token, offset, listed=False)
        elif token == b"[":
            yield from self._list(name)
        else:
            yield Event(name, self._scalar(token, offset), offset)

    def _list(self, name: str) -> Iterator[Event]:
        """Read a list up to its end, or up to a message in it, after whose end it goes on."""
        while True:
            token, offset = self._next()
            if token == b"]":
                return
            if token == b",":
                continue
            if token in _CLOSERS:
                yield self._enter(name, token, offset, listed=True)
                return
            yield Event(name, self._scalar(token, offset), offset)

    def _enter(self, name: str, token: bytes, offset: int, *, listed: bool) -> Event:
        if len(self._open) >= self._limits.depth:
            raise LimitExceeded(
                f"holds messages more than {self._limits.depth} deep",
                file=self._file,
                offset=offset,
            )
        self._open.append((_CLOSERS[token], name if listed else ""))
        return Event(name, None, offset)

    def _close(self, token: bytes, offset: int) -> Iterator[Event]:
        if not self._open or self._open[-1][0] != token:
            raise self._error("closes a message that is not open", offset)
        _, listed = self._open.pop()
        yield Event("", None, offset)
        if listed:
            yield from self._list(listed)

    def _scalar(self, token: bytes, offset: int) -> str:
        """Read a scalar; strings that follow each other are one."""
        if token[:1] not in _QUOTES:
            if not token or not (token[:1].isalnum() or token[:1] in b"_-+."):
                raise self._error("has a value that is none", offset)
            return token.decode("utf-8", "replace")
        pieces = [token[1:-1]]
        while True:
            found = _TOKEN.match(self._data, self._at)
            if found is None or found["token"][:1] not in _QUOTES:
                break
            pieces.append(self._next()[0][1:-1])
        return _ESCAPE.sub(_unescaped, b"".join(pieces)).decode("utf-8", "replace")

    def _next(self) -> tuple[bytes, int]:
        """Give the next token and where it stands; an empty one at the end."""
        self._left -= 1
        if self._left < 0:
            raise LimitExceeded(
                f"is a text of more than {self._limits.opcodes} words", file=self._file
            )
        found = _TOKEN.match(self._data, self._at)
        if found is None:
            raise self._error("is not a protobuf message as text", self._at)
        self._at = found.end()
        return found["token"], found.start("token")

    def _error(self, what: str, offset: int) -> CheckpointError:
        return CheckpointError(what, file=self._file, offset=offset)


def _unescaped(found: re.Match[bytes]) -> bytes:
    octal, short, four, eight, letter = found.groups()
    if octal:
        return bytes((int(octal, 8) & 0xFF,))
    if short:
        return bytes((int(short, 16),))
    if four or eight:
        number = int(four or eight, 16)
        return chr(min(number, _LAST_CHARACTER)).encode("utf-8", "replace")
    return _LETTERS.get(letter, letter)
