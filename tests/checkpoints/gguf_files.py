"""Write GGUF files for tests: good ones from a few words, hostile ones by overriding a field.

    data = gguf_bytes({"general.name": "tiny"}, [Weights("a", 0, (2, 3), bytes(24))])

Shapes are slowest dimension first, as everywhere in Steelyard; the writer reverses them. Plain
Python values get a natural type; `Typed` chooses another, and `Raw` writes any bytes at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = range(10)
UINT64, INT64, FLOAT64 = range(10, 13)

NUMBER_CODES: Mapping[int, str] = {
    UINT8: "B",
    INT8: "b",
    UINT16: "H",
    INT16: "h",
    UINT32: "I",
    INT32: "i",
    FLOAT32: "f",
    BOOL: "B",
    UINT64: "Q",
    INT64: "q",
    FLOAT64: "d",
}


@dataclass(frozen=True)
class Typed:
    """A scalar of a stated value type."""

    kind: int
    value: str | bytes | int | float


@dataclass(frozen=True)
class Array:
    """An array of a stated item type; `count` overrides the true number of items."""

    kind: int
    items: Sequence[str | bytes | int | float | Array]
    count: int | None = None


@dataclass(frozen=True)
class Raw:
    """Bytes that are written as they are, value type included."""

    data: bytes


Value = str | int | float | Typed | Array | Raw


@dataclass(frozen=True)
class Weights:
    """One tensor; `offset` overrides its place in the data."""

    name: str | bytes
    type_id: int
    shape: tuple[int, ...]
    data: bytes = b""
    offset: int | None = None


class Packer:
    """Packs GGUF's primitives in one byte order."""

    def __init__(self, byteorder: str = "little") -> None:
        self.mark = "<" if byteorder == "little" else ">"

    def number(self, code: str, value: float) -> bytes:
        return struct.pack(self.mark + code, value)

    def text(self, value: str | bytes) -> bytes:
        raw = value.encode() if isinstance(value, str) else value
        return self.number("Q", len(raw)) + raw

    def scalar(self, kind: int, value: str | bytes | float) -> bytes:
        if isinstance(value, str | bytes):
            return self.text(value)
        return self.number(NUMBER_CODES[kind], value)

    def array(self, array: Array) -> bytes:
        count = len(array.items) if array.count is None else array.count
        items = (
            self.array(item) if isinstance(item, Array) else self.scalar(array.kind, item)
            for item in array.items
        )
        return self.number("I", array.kind) + self.number("Q", count) + b"".join(items)

    def value(self, value: Value) -> bytes:
        """Pack a value after its type."""
        if isinstance(value, Raw):
            return value.data
        if isinstance(value, Array):
            return self.number("I", ARRAY) + self.array(value)
        typed = value if isinstance(value, Typed) else Typed(_natural_kind(value), value)
        return self.number("I", typed.kind) + self.scalar(typed.kind, typed.value)

    def tensor(self, weights: Weights, offset: int) -> bytes:
        """Pack one row of the tensor table."""
        sizes = [self.number("Q", size) for size in reversed(weights.shape)]
        return b"".join(
            (
                self.text(weights.name),
                self.number("I", len(sizes)),
                *sizes,
                self.number("I", weights.type_id),
                self.number("Q", offset),
            )
        )


def _natural_kind(value: str | int | float) -> int:
    if isinstance(value, str):
        return STRING
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, float):
        return FLOAT64
    return UINT32 if value >= 0 else INT32


def _padding(length: int, alignment: int) -> bytes:
    return bytes(-length % alignment)


def vocabulary(texts: Sequence[str], types: Sequence[int]) -> dict[str, Value]:
    """Give the metadata of a tokenizer: its tokens and what kind each is."""
    return {
        "tokenizer.ggml.tokens": Array(STRING, list(texts)),
        "tokenizer.ggml.token_type": Array(INT32, list(types)),
    }


def gguf_bytes(
    metadata: Mapping[str, Value] | Iterable[tuple[str | bytes, Value]] = (),
    tensors: Sequence[Weights] = (),
    *,
    byteorder: str = "little",
    version: int = 3,
    magic: bytes = b"GGUF",
    alignment: int = 32,
    tensor_count: int | None = None,
    key_count: int | None = None,
    trailing: bytes = b"",
) -> bytes:
    """Write a file. `alignment` lays out the data; state it as `general.alignment` yourself."""
    pack = Packer(byteorder)
    entries = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
    head = [
        magic,
        pack.number("I", version),
        pack.number("Q", len(tensors) if tensor_count is None else tensor_count),
        pack.number("Q", len(entries) if key_count is None else key_count),
    ]
    head += [pack.text(key) + pack.value(value) for key, value in entries]
    data = bytearray()
    for weights in tensors:
        offset = len(data) if weights.offset is None else weights.offset
        head.append(pack.tensor(weights, offset))
        data += weights.data + _padding(len(weights.data), alignment)
    header = b"".join(head)
    return header + _padding(len(header), alignment) + bytes(data) + trailing
