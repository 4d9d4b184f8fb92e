"""Tars assembled block by block, as no archiver writes them."""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: str, size: int, kind: bytes = b"0", *, binary: bool = False, mark: bool = True
) -> bytes:
    """Write a header with the right checksum.

    Args:
        name: The member's name.
        size: How many bytes it says that follow.
        kind: Its type flag.
        binary: Whether the size is in base 256, as GNU's writes large ones.
        mark: Whether it has ustar's mark; Unix 7 had none.
    """
    block = bytearray(BLOCK)
    block[: len(name)] = name.encode()
    block[124:136] = b"\x80" + size.to_bytes(11, "big") if binary else b"%011o\0" % size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000" if mark else bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Fill data up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def pax(records: Mapping[str, str], kind: bytes = b"x") -> bytes:
    """Write a pax header with these records."""
    body = b"".join(_record(key, value) for key, value in records.items())
    return header("pax", len(body), kind) + padded(body)


def _record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest
