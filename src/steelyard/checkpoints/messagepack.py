"""Walk a MessagePack object without building it: where its strings and bytes lie.

spaCy and Flax keep weights in such a file, and what is kept as bytes may be a file of its own (a
checkpoint of PyTorch within spaCy's). Containers are counted, not entered, so that neither depth
nor length costs memory; payloads are stepped over.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.base import ByteReader

DEEPEST: Final = 100
_WINDOW: Final = 65_536
_LONGEST_HEAD: Final = 6
"""The first byte of an object, at most four of its length, and one of an extension's type."""
_FIX: Final = "download the file again and compare its SHA-256 with the publisher's"

_SIZED: Final = {
    **{0xC4 + n: ("bytes", 1 << n, 0) for n in range(3)},
    **{0xC7 + n: ("extension", 1 << n, 1) for n in range(3)},
    **{0xD9 + n: ("string", 1 << n, 0) for n in range(3)},
    0xDC: ("array", 2, 0),
    0xDD: ("array", 4, 0),
    0xDE: ("map", 2, 0),
    0xDF: ("map", 4, 0),
}
"""First byte to kind, bytes of the length (or count), and bytes between it and the payload."""
_FIXED: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 0),
    0xCA: 4,
    0xCB: 8,
    **{0xCC + n: 1 << n for n in range(4)},
    **{0xD0 + n: 1 << n for n in range(4)},
}
"""First byte of nil, truth values and numbers to the bytes behind it."""


_HOLDS: Final = {"array": 1, "map": 2}
"""How many objects each entry of a container is."""


class Payload(NamedTuple):
    """The bytes of one string, run of bytes, or extension."""

    kind: str
    """`string`, `bytes` or `extension`."""
    offset: int
    size: int


def may_be_messagepack(head: bytes) -> bool:
    """Tell whether a file may be a map with a string for its first key, as models are."""
    width = {0xDE: 2, 0xDF: 4}.get(head[0], 0) if head else 0
    if not head or not (width or 0x81 <= head[0] <= 0x8F):
        return False
    key = head[1 + width : 2 + width]
    return bool(key) and (0xA0 < key[0] <= 0xBF or key[0] in (0xD9, 0xDA))


def is_messagepack(reader: ByteReader, most: int) -> bool:
    """Tell whether a file is one such map from its first byte to its last, in so many steps."""
    if not may_be_messagepack(reader.read(0, min(_LONGEST_HEAD, reader.size))):
        return False
    end = 0
    try:
        for payload in payloads(reader, most):
            end = payload.offset + payload.size
    except CheckpointError:
        return False
    return 0 < end <= reader.size


def payloads(reader: ByteReader, most: int) -> Iterator[Payload]:
    """Yield every string, run of bytes and extension of the object that a file is.

    Args:
        reader: The file; nothing may follow the object.
        most: How many objects may lie within one another or side by side.

    Raises:
        LimitExceeded: If there are more.
        CheckpointError: If it is malformed; what was yielded before may be anything.
    """
    window, base = b"", 0
    at, waiting = 0, [1]
    for _ in range(most):
        if not base <= at <= base + len(window) - _LONGEST_HEAD:
            window, base = reader.read(at, min(_WINDOW, reader.size - at)), at
        kind, size, at = _object(reader, window, base, at)
        waiting[-1] -= 1
        if kind in _HOLDS:
            waiting.append(size * _HOLDS[kind])
        if at + size * (kind not in _HOLDS) > reader.size or len(waiting) > DEEPEST:
            raise _malformed(reader, f"ends amid an object, or is nested {DEEPEST} deep", at)
        if kind and kind not in _HOLDS:
            yield Payload(kind, at, size)
            at += size
        while waiting and waiting[-1] == 0:
            waiting.pop()
        if not waiting:
            break
    else:
        raise LimitExceeded(f"holds more than {most} objects", fix=_FIX, file=reader.name)
    if at != reader.size:
        raise _malformed(reader, "goes on behind its object", at)


def _object(reader: ByteReader, window: bytes, base: int, at: int) -> tuple[str, int, int]:
    """Read the head of an object: its kind, its length or count, and where its payload begins."""
    if at >= reader.size:
        raise _malformed(reader, "ends amid an object", at)
    first = window[at - base]
    if first <= 0x7F or first >= 0xE0:
        return "", 0, at + 1
    if first <= 0x9F:
        return ("map" if first <= 0x8F else "array"), first & 0x0F, at + 1
    if first <= 0xBF:
        return "string", first & 0x1F, at + 1
    if first in _FIXED:
        return "", 0, at + 1 + _FIXED[first]
    if first in _SIZED:
        kind, width, more = _SIZED[first]
        size = window[at - base + 1 : at - base + 1 + width]
        if len(size) < width:
            raise _malformed(reader, "ends amid an object", at)
        return kind, int.from_bytes(size, "big"), at + 1 + width + more
    if 0xD4 <= first <= 0xD8:
        return "extension", 1 << (first - 0xD4), at + 2
    raise _malformed(reader, "has a byte that begins no object", at)


def _malformed(reader: ByteReader, what: str, offset: int) -> CheckpointError:
    return CheckpointError(
        what, why="it is not MessagePack", fix=_FIX, file=reader.name, offset=offset
    )
