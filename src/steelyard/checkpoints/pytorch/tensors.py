"""How PyTorch writes a tensor into a pickle: the arithmetic of storages and strides.

A tensor is a window on a storage: element type, shape, strides and a first element. In a pickle
it is a call of `torch._utils._rebuild_tensor_v2` on a persistent reference
`("storage", type, key, location, count)`; the bytes lie elsewhere in the file under that key.
This module decodes both and checks every number before use (`torch/_utils.py` and
`torch/serialization.py`, releases 0.3 to 2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final, TypeGuard

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.pickles.values import (
    Call,
    Global,
    Persistent,
    Value,
    called_global,
    items_of,
)
from steelyard.checkpoints.tensors import PLAIN, Tensor
from steelyard.errors import CheckpointError, LimitExceeded

LARGEST_COUNT: Final = 2**63 - 1
"""PyTorch counts elements and bytes in signed 64-bit integers."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element type of PyTorch."""

    dtype: str
    """Its name in `DTYPE_BITS`; for a quantized type, what it decodes to."""
    size: int
    """Bytes of one item of the storage."""
    encoding: str = PLAIN
    packed: int = 1
    """Elements in one item."""


def _storages() -> dict[str, Element]:
    plain = {
        "Double": "F64",
        "Float": "F32",
        "Half": "F16",
        "BFloat16": "BF16",
        "Long": "I64",
        "Int": "I32",
        "Short": "I16",
        "Char": "I8",
        "Byte": "U8",
        "Bool": "BOOL",
        "ComplexFloat": "C64",
        "ComplexDouble": "C128",
    }
    found = {f"{name}Storage": DTYPES[_torch_name(dtype)] for name, dtype in plain.items()}
    for name, size, packed in (
        ("QInt8", 1, 1),
        ("QUInt8", 1, 1),
        ("QInt32", 4, 1),
        ("QUInt4x2", 1, 2),
        ("QUInt2x4", 1, 4),
    ):
        found[f"{name}Storage"] = Element("F32", size, name.lower(), packed)
    return found


def _torch_name(dtype: str) -> str:
    return next(name for name, element in DTYPES.items() if element.dtype == dtype)


DTYPES: Mapping[str, Element] = MappingProxyType(
    {
        "float64": Element("F64", 8),
        "double": Element("F64", 8),
        "float32": Element("F32", 4),
        "float": Element("F32", 4),
        "float16": Element("F16", 2),
        "half": Element("F16", 2),
        "bfloat16": Element("BF16", 2),
        "float8_e4m3fn": Element("F8_E4M3", 1),
        "float8_e5m2": Element("F8_E5M2", 1),
        "float8_e4m3fnuz": Element("F8_E4M3FNUZ", 1),
        "float8_e5m2fnuz": Element("F8_E5M2FNUZ", 1),
        "float8_e8m0fnu": Element("F8_E8M0", 1),
        "int64": Element("I64", 8),
        "long": Element("I64", 8),
        "int32": Element("I32", 4),
        "int": Element("I32", 4),
        "int16": Element("I16", 2),
        "short": Element("I16", 2),
        "int8": Element("I8", 1),
        "uint8": Element("U8", 1),
        "uint16": Element("U16", 2),
        "uint32": Element("U32", 4),
        "uint64": Element("U64", 8),
        "bool": Element("BOOL", 1),
        "complex64": Element("C64", 8),
        "cfloat": Element("C64", 8),
        "complex128": Element("C128", 16),
        "cdouble": Element("C128", 16),
    }
)
"""Element types by their name in `torch`."""

STORAGES: Mapping[str, Element] = MappingProxyType(_storages())
"""Element types by the class of their typed storage."""

UNTYPED: Final = Element("U8", 1)
"""What an untyped storage counts in; the tensor on it names its own type."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a storage lie."""

    offset: int | None
    """First byte in the file; None when they are compressed."""
    nbytes: int
    member: str | None = None
    """The archive member that holds them when they are compressed."""


Locate = Callable[[str, int, int], Place]
"""Find a storage by its key and its length in bytes; the offset is for errors."""


@dataclass(frozen=True, slots=True)
class StorageReference:
    """What a persistent reference says of a storage."""

    key: str
    element: Element | None
    """None for a type that is not known."""
    type_name: str
    count: int
    """Items in the storage itself."""
    first: int
    """First item of the view, in items; 0 but in old files."""
    view_count: int
    """Items from there on."""
    offset: int
    """Where the pickle refers to it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Shape and strides, checked."""

    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    """None when row-major contiguous."""
    first: int
    """First item in the storage."""
    span: int
    """Items from the first to the last, both included."""


def wrong(file: str, offset: int, what: str) -> CheckpointError:
    """Describe a tensor or storage that contradicts itself or its file."""
    return CheckpointError(
        what,
        why="the file is cut short, damaged, or made to mislead its readers",
        fix="download the file again and compare its SHA-256 with the publisher's",
        file=file,
        offset=offset,
    )


def storage_reference(value: Persistent, file: str) -> StorageReference | None:
    """Decode a persistent reference; None if it does not refer to a storage.

    Raises:
        CheckpointError: If it does but makes no sense.
    """
    parts = items_of(value.id)
    if not parts or parts[0] != "storage":
        return None
    kind = called_global(parts[1]) if len(parts) > 1 else None
    key = parts[2] if len(parts) > 2 else None
    count = parts[4] if len(parts) > 4 else None
    if isinstance(key, int):
        key = str(key)
    if kind is None or not isinstance(key, str) or not _is_count(count):
        raise wrong(file, value.offset, "a storage is described in a way PyTorch never does")
    first, view_count = _view(parts[5] if len(parts) > 5 else None, count, file, value.offset)
    name = kind.name
    untyped = name == "UntypedStorage"
    element = UNTYPED if untyped else STORAGES.get(name)
    return StorageReference(key, element, name, count, first, view_count, value.offset)


def _view(value: Value, count: int, file: str, offset: int) -> tuple[int, int]:
    """Decode what old files say of a storage that is part of another: key, first, count."""
    parts = items_of(value)
    if parts is None:
        return 0, count
    first, view_count = (parts[1], parts[2]) if len(parts) == 3 else (None, None)
    if not _is_count(first) or not _is_count(view_count) or first + view_count > count:
        raise wrong(file, offset, "a storage claims to be part of another but lies outside it")
    return first, view_count


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def layout(
    name: str, size: Value, stride: Value, first: Value, where: tuple[str, int], limits: Limits
) -> Layout:
    """Check the numbers that describe a tensor's window on its storage.

    Args:
        name: The tensor, for errors.
        size: What the pickle gives as shape.
        stride: What it gives as strides, in elements.
        first: What it gives as first element.
        where: File and offset, for errors.
        limits: Bound on the rank.

    Raises:
        LimitExceeded: If there are too many dimensions.
        CheckpointError: If a number is negative, missing or too large.
    """
    sizes, steps = _items(size), _items(stride)
    if max(len(sizes or ()), len(steps or ())) > limits.rank:
        raise LimitExceeded(
            f"tensor {name} has more than {limits.rank} dimensions",
            why="no model needs so many",
            fix="raise the limit if you trust the file",
            file=where[0],
            offset=where[1],
        )
    shape, strides = _counts(sizes), _counts(steps)
    if shape is None or strides is None or len(shape) != len(strides) or not _is_count(first):
        raise wrong(*where, f"tensor {name} has a shape, strides or first element that cannot be")
    span = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if prod(shape) > LARGEST_COUNT or first + span > LARGEST_COUNT:
        raise wrong(*where, f"tensor {name} has more elements than PyTorch can count")
    return Layout(shape, None if _is_contiguous(shape, strides) else strides, first, span)


def _items(value: Value) -> list[Value] | None:
    """Unwrap a tuple that may be wrapped as `torch.Size`."""
    if isinstance(value, Call) and isinstance(value.function, Global):
        args = items_of(value.args)
        value = args[0] if value.function.dotted == "torch.Size" and args else None
    return items_of(value)


def _counts(items: list[Value] | None) -> tuple[int, ...] | None:
    """Read counts; None if one of them is not."""
    counts = tuple(item for item in items or () if _is_count(item))
    return counts if items is not None and len(counts) == len(items) else None


def _is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Say whether elements lie in row-major order; strides of single rows do not matter."""
    if 0 in shape:
        return True
    expected = 1
    for count, stride in zip(reversed(shape), reversed(strides), strict=True):
        if count != 1 and stride != expected:
            return False
        expected *= count
    return True


def tensor(
    name: str,
    element: Element,
    window: Layout,
    place: Place,
    where: tuple[str, int],
    byteorder: str,
) -> Tensor:
    """Set a window on a storage's bytes.

    Raises:
        CheckpointError: If it reaches outside the storage.
    """
    start = window.first // element.packed * element.size
    end = -(-(window.first + window.span) // element.packed) * element.size
    nbytes = end - start if window.span else 0
    if start + nbytes > place.nbytes:
        raise wrong(
            *where,
            f"tensor {name} wants bytes {start} to {start + nbytes} of a storage of {place.nbytes}",
        )
    return Tensor(
        name=name,
        dtype=element.dtype,
        shape=window.shape,
        encoding=element.encoding,
        file=where[0],
        offset=None if place.offset is None else place.offset + start,
        nbytes=nbytes,
        strides=window.strides,
        member=place.member,
        byteorder=byteorder,
    )
