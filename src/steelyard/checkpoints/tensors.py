"""The one table that every checkpoint format is read into.

A `Tensor` says what a weight is and where its bytes lie, never the bytes themselves.
Element types carry safetensors' names (`F32`, `BF16`, `F8_E4M3`, ...); how the elements are
packed is the `encoding`: `plain`, or a quantization scheme under its usual name (`Q4_K`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from steelyard.checkpoints.problems import PickleImport, Problem, ProblemKind

__all__ = [
    "ABSENT",
    "DTYPE_BITS",
    "PLAIN",
    "SCATTERED",
    "VARINT",
    "ArrayPlace",
    "Checkpoint",
    "MetadataValue",
    "PickleImport",
    "Problem",
    "ProblemKind",
    "Scalar",
    "Tensor",
]

PLAIN = "plain"
"""The encoding of elements that lie one after another in their own type."""
VARINT = "varint"
"""The encoding of elements that are stored as one run of protobuf varints."""
SCATTERED = "scattered"
"""The encoding of elements that do not lie in one piece."""
ABSENT = "meta"
"""The encoding of a tensor that has a shape but was saved without its elements."""

DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 8,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        "U4": 4,
        "I4": 4,
        "U2": 2,
        "I2": 2,
        "U8": 8,
        "I8": 8,
        "F8_E5M2": 8,
        "F8_E4M3": 8,
        "F8_E5M2FNUZ": 8,
        "F8_E4M3FNUZ": 8,
        "F8_E8M0": 8,
        "I16": 16,
        "U16": 16,
        "F16": 16,
        "BF16": 16,
        "I32": 32,
        "U32": 32,
        "F32": 32,
        "C64": 64,
        "F64": 64,
        "I64": 64,
        "U64": 64,
        "C128": 128,
    }
)
"""Bits for each element type of a plain tensor."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One stored tensor: what it is and where its bytes lie.

    Laws: `shape` is row-major with the slowest dimension first, whatever the container's own
    order; `offset + extent` never exceeds the file's size (a reader raises before it builds a
    tensor that breaks this); `elements` is the number of logical elements, so a quantized
    block counts what it decodes to.
    """

    name: str
    """As the container names it."""
    dtype: str
    """Element type, a key of `DTYPE_BITS`; for a quantized encoding, the type it decodes to."""
    shape: tuple[int, ...]
    """Logical shape; `()` is a scalar."""
    encoding: str
    """`plain`, or the scheme that packs the elements (`Q4_1`, `IQ2_XS`, ...)."""
    file: str
    """File within the source that holds the bytes (for ONNX, perhaps an external one)."""
    offset: int | None
    """First byte in `file`; None when the bytes are compressed or scattered (see `member`)."""
    nbytes: int
    """Bytes of the elements, uncompressed."""
    strides: tuple[int, ...] | None = None
    """Strides in elements when the layout is not row-major contiguous, else None."""
    member: str | None = None
    """The archive member that holds the bytes when `offset` is None."""
    byteorder: str = "little"
    """`little` or `big`."""
    stored: int | None = None
    """Bytes taken in `file` from `offset` on, where the encoding makes that another number than
    `nbytes`, else None."""

    @property
    def extent(self) -> int:
        """Count the bytes taken in `file` from `offset` on."""
        return self.nbytes if self.stored is None else self.stored

    @property
    def quantized(self) -> bool:
        """Tell whether a scheme packs the elements, so that they are not of `dtype` as stored."""
        return self.encoding not in (PLAIN, VARINT, SCATTERED, ABSENT)

    @property
    def elements(self) -> int:
        """Count the logical elements."""
        return prod(self.shape)


Scalar = str | int | float | bool
MetadataValue = Scalar | tuple[Scalar, ...] | None


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """Where an array of a header lies of which only the first items are kept in the metadata."""

    file: str
    code: str
    """Character of `struct` for its items; empty for strings, each after a 64-bit length."""
    count: int
    offset: int
    """Where the first item begins."""
    end: int
    """Where the last item ends."""
    marks: tuple[tuple[int, int], ...] = ()
    """Of strings, some items and where they begin, so that not all must be walked again."""
    byteorder: str = "little"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One weights set as read: the table of its tensors, and what its headers say."""

    format: str
    """`safetensors`, `gguf`, `pytorch`, `onnx`, `numpy`."""
    files: tuple[str, ...]
    """The files it was read from, sorted; external data files included."""
    tensors: tuple[Tensor, ...]
    """Sorted by name."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    """Key to value as the headers state them; long arrays are cut to a stated limit."""
    problems: tuple[Problem, ...] = ()
    imports: tuple[PickleImport, ...] = ()
    """What a pickle would import; empty for formats that cannot import."""
    steps: int = field(default=0, compare=False)
    """What reading it took of `Limits.opcodes`."""
    arrays: Mapping[str, ArrayPlace] = field(default_factory=dict, compare=False)
    """Where the long arrays of the metadata lie, by key; for GGUF alone."""
