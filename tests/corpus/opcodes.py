"""Opcodes by hand."""

from __future__ import annotations

import struct


def text(words: str) -> bytes:
    """BINUNICODE."""
    data = words.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def short(words: str) -> bytes:
    """SHORT_BINUNICODE."""
    data = words.encode()
    return b"\x8c" + bytes((len(data),)) + data


def octets(data: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + struct.pack("<I", len(data)) + data


def named(dotted: str) -> bytes:
    """GLOBAL."""
    module, _, name = dotted.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def call(dotted: str, argument: str = "true") -> bytes:
    """GLOBAL, one text, TUPLE1, REDUCE."""
    return named(dotted) + text(argument) + b"\x85R"


def program(body: bytes, protocol: int = 2) -> bytes:
    """Frame a body with its protocol and STOP; protocols 0 and 1 have no mark."""
    mark = b"\x80" + bytes((protocol,)) if protocol >= 2 else b""
    return mark + body + b"."
