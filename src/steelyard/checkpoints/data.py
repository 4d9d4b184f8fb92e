"""The bytes of a tensor, on demand and in one canonical form.

Containers store the same weights differently: big endian, transposed, inside an archive. A
digest or a statistic must not see that. `chunks` gives the bytes of the elements one after
another, row-major and little endian, in bounded pieces. Quantized blocks are given as stored.
`array` gives the numbers, with the small floating-point types widened to `float32`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from steelyard.checkpoints.documents import shown
from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.small_floats import value_table
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, VARINT, Tensor
from steelyard.checkpoints.zip_members import payload
from steelyard.checkpoints.zips import ZipMember, directory
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.base import ByteReader

CHUNK_BYTES: Final = 1 << 24
"""Longest piece that `chunks` gives unless told otherwise."""
ARRAY_BYTES: Final = 1 << 30
"""Largest array that `array` makes unless told otherwise."""
REPEATED_BYTES: Final = 1 << 28
"""Most bytes given of a tensor whose strides repeat elements: a few bytes of a file may claim
to be terabytes."""
WHOLE_BYTES: Final = 1 << 26
"""Largest tensor that is held whole because it is both compressed and not row-major."""

_MOST_BITS: Final = 1 << 63
_ELEMENTWISE: Final = frozenset({PLAIN, VARINT})
"""Encodings that are given as elements, not as stored."""

_COMPONENT_BYTES: Mapping[str, int] = MappingProxyType({"C64": 4, "C128": 8})
_NUMPY_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "u1",
        "U8": "u1",
        "I8": "i1",
        "I16": "<i2",
        "U16": "<u2",
        "F16": "<f2",
        "I32": "<i4",
        "U32": "<u4",
        "F32": "<f4",
        "I64": "<i8",
        "U64": "<u8",
        "F64": "<f8",
        "C64": "<c8",
        "C128": "<c16",
    }
)


def stored_bytes(
    dtype: str, shape: Sequence[int], *, name: str, file: str, offset: int, limits: Limits
) -> int:
    """Return how many bytes the elements of a plain tensor take.

    Args:
        dtype: A key of `DTYPE_BITS`.
        shape: Non-negative whole numbers of any size.
        name: The tensor's name, for errors.
        file: The file, for errors.
        offset: Where the file says so, for errors.
        limits: Bounds on the number of dimensions.

    Raises:
        LimitExceeded: If it has too many dimensions, or so many elements that none could count.
        CheckpointError: If the elements do not fill whole bytes.
    """
    if len(shape) > limits.rank:
        raise LimitExceeded(
            f"tensor {shown(name)} has {len(shape)} dimensions, more than the limit `rank` = "
            f"{limits.rank}",
            fix="if the file is genuine, raise the limit",
            file=file,
            offset=offset,
        )
    bits = DTYPE_BITS[dtype]
    # An empty tensor's other dimensions count too: no array library can make what they claim.
    for size in shape:
        bits *= max(size, 1)
        if bits >= _MOST_BITS:
            raise LimitExceeded(
                f"tensor {shown(name)} claims more elements than any machine can hold",
                why="a dimension is damaged or forged",
                fix="download the file again and compare its SHA-256 with the publisher's",
                file=file,
                offset=offset,
            )
    bits = 0 if 0 in shape else bits
    if bits % 8:
        raise CheckpointError(
            f"the {dtype} elements of tensor {shown(name)} do not fill whole bytes",
            why="elements smaller than a byte are stored in pairs or more",
            fix="ask the publisher for a sound file",
            file=file,
            offset=offset,
        )
    return bits // 8


def chunks(
    reader: ByteReader,
    tensor: Tensor,
    size: int = CHUNK_BYTES,
    *,
    members: Mapping[str, ZipMember] | None = None,
) -> Iterator[memoryview]:
    """Yield a tensor's bytes in canonical form, in pieces of at most `size` bytes.

    Elements, plain or decoded from varints, come row-major and little endian, whole ones in each
    piece (so `size` is rounded down, though never below one); quantized blocks come as
    stored.

    Args:
        reader: The file that `tensor.file` names.
        tensor: What to read.
        size: Longest piece, in bytes.
        members: The archive's members by name, if they are known already.

    Raises:
        Truncated: If the file does not hold the bytes.
        Unsupported: If the bytes are packed or scattered in a way that is not read.
        LimitExceeded: If the elements repeat, or are compressed and not row-major, beyond reason.
        CheckpointError: If what is stored does not fit the tensor.
    """
    width = _width(tensor)
    step = max(size - size % width, width)
    strides = _strides(tensor)
    if tensor.encoding in _ELEMENTWISE and strides is None:
        _check_span(tensor, -(-tensor.elements * DTYPE_BITS[tensor.dtype] // 8))
    pieces: Iterator[memoryview]
    if strides is not None:
        pieces = _gathered(_whole(reader, tensor, members), tensor, strides, step)
    elif tensor.offset is None:
        pieces = _inflated(reader, tensor, step, members)
    elif tensor.encoding == VARINT:
        from steelyard.checkpoints.onnx.varints import decoded

        yield from decoded(reader, tensor, tensor.offset, step)
        return
    else:
        pieces = _read(reader, tensor.offset, tensor.nbytes, step)
    for piece in pieces:
        yield _little(piece, tensor) if tensor.byteorder == "big" else piece


def array(
    reader: ByteReader,
    tensor: Tensor,
    limit_bytes: int = ARRAY_BYTES,
    *,
    members: Mapping[str, ZipMember] | None = None,
) -> NDArray[Any]:
    """Return a tensor's numbers in its shape, as an array of its own.

    `BF16` and the eight-bit floating-point types are widened to `float32`, which holds each of
    their values exactly; `BOOL` becomes `bool`; the others keep their type.

    Args:
        reader: The file that `tensor.file` names.
        tensor: What to read.
        limit_bytes: Most bytes the array may take.
        members: The archive's members by name, if they are known already.

    Raises:
        LimitExceeded: If the array would take more than `limit_bytes`.
        Unsupported: If the elements are quantized or smaller than a byte.
        CheckpointError: If what is stored does not fit the tensor; see `chunks`.
    """
    if tensor.encoding not in _ELEMENTWISE:
        raise _unsupported(tensor, f"its elements are packed as {tensor.encoding}")
    if DTYPE_BITS[tensor.dtype] < 8:
        raise _unsupported(tensor, f"{tensor.dtype} elements are not unpacked")
    target = _target(tensor.dtype)
    if tensor.elements * target.itemsize > limit_bytes:
        raise LimitExceeded(
            f"tensor {shown(tensor.name)} would take {tensor.elements * target.itemsize} bytes of "
            f"memory, more than {limit_bytes}",
            fix="read it in chunks, or raise the limit",
            file=tensor.file,
            offset=tensor.offset,
        )
    result = np.empty(tensor.elements, target)
    table = value_table(tensor.dtype)
    stored = _NUMPY_TYPES.get(tensor.dtype, "<u2" if tensor.dtype == "BF16" else "u1")
    filled = 0
    for piece in chunks(reader, tensor, members=members):
        values = np.frombuffer(piece, stored)
        part = result[filled : filled + values.size]
        filled += values.size
        if tensor.dtype == "BF16":
            np.left_shift(values, 16, out=part.view("<u4"), dtype="<u4")
        else:
            part[...] = values if table is None else table[values]
    return result.reshape(tensor.shape)


def _target(dtype: str) -> np.dtype[Any]:
    if dtype == "BOOL":
        return np.dtype(np.bool_)
    return np.dtype(_NUMPY_TYPES.get(dtype, "<f4"))


def _width(tensor: Tensor) -> int:
    """Return the bytes of one element; 1 where elements are packed or smaller than that."""
    return max(DTYPE_BITS[tensor.dtype] // 8, 1) if tensor.encoding in _ELEMENTWISE else 1


def _strides(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the strides, checked; None when the elements lie row-major anyway."""
    strides = tensor.strides
    if strides is None or tensor.elements == 0:
        return None
    if tensor.encoding != PLAIN or DTYPE_BITS[tensor.dtype] < 8:
        raise _unsupported(tensor, "packed elements do not lie row-major")
    if len(strides) != len(tensor.shape) or min(strides, default=0) < 0:
        raise _wrong(tensor, "its strides do not fit its shape")
    steps = [(count, stride) for count, stride in zip(tensor.shape, strides, strict=True)]
    span = 1 + sum((count - 1) * stride for count, stride in steps)
    _check_span(tensor, span * _width(tensor))
    total = tensor.elements * _width(tensor)
    if tensor.elements > span and total > REPEATED_BYTES:
        raise LimitExceeded(
            f"tensor {shown(tensor.name)} repeats {span} stored elements to {total} bytes",
            why="its strides are forged, or it was saved without being made contiguous",
            fix="save it contiguous",
            file=tensor.file,
            offset=tensor.offset,
        )
    return strides


def _check_span(tensor: Tensor, span: int) -> None:
    """Hold the bytes that the elements lie in against those that are stored."""
    if span != tensor.nbytes:
        raise _wrong(tensor, f"its elements span {span} bytes, but {tensor.nbytes} are stored")


def _read(reader: ByteReader, offset: int, nbytes: int, step: int) -> Iterator[memoryview]:
    # No view of a map: a file that somebody shortens meanwhile would kill this process.
    for start in range(0, nbytes, step):
        yield memoryview(reader.read(offset + start, min(step, nbytes - start)))


def _little(piece: memoryview, tensor: Tensor) -> memoryview:
    """Swap the bytes of each number (of both parts of a complex one)."""
    width = _COMPONENT_BYTES.get(tensor.dtype, _width(tensor))
    return np.frombuffer(piece, f"u{width}").byteswap().data.cast("B")


def _gathered(
    span: memoryview, tensor: Tensor, strides: tuple[int, ...], step: int
) -> Iterator[memoryview]:
    """Copy scattered elements row by row into pieces of at most `step` bytes."""
    width = _width(tensor)
    stored = np.frombuffer(span, f"V{width}" if width > 8 else f"u{width}")
    steps = tuple(stride * width for stride in strides)
    for block in _blocks(as_strided(stored, tensor.shape, steps, writeable=False), step // width):
        yield np.ascontiguousarray(block).reshape(-1).view(np.uint8).data


def _blocks(whole: NDArray[Any], most: int) -> Iterator[NDArray[Any]]:
    """Cut an array into pieces of at most `most` elements, in row-major order."""
    axis, inner = whole.ndim, 1
    while axis > 0 and inner * whole.shape[axis - 1] <= most:
        axis -= 1
        inner *= whole.shape[axis]
    if axis == 0:
        yield whole
        return
    rows = most // inner
    for index in np.ndindex(whole.shape[: axis - 1]):
        part = whole[index]
        for start in range(0, part.shape[0], rows):
            yield part[start : start + rows]


def _whole(
    reader: ByteReader, tensor: Tensor, members: Mapping[str, ZipMember] | None
) -> memoryview:
    """Return all the bytes that a tensor's elements lie in."""
    if tensor.offset is not None:
        # Only where a copy would take too much memory, the risk of a map is run; see `_read`.
        small = tensor.nbytes <= WHOLE_BYTES
        take = reader.read if small else reader.view
        return memoryview(take(tensor.offset, tensor.nbytes))
    if tensor.nbytes > WHOLE_BYTES:
        raise LimitExceeded(
            f"tensor {shown(tensor.name)} is compressed and not row-major, and takes "
            f"{tensor.nbytes} bytes, more than {WHOLE_BYTES}",
            fix="save it row-major or uncompressed",
            file=tensor.file,
        )
    whole = bytearray()
    for piece in _inflated(reader, tensor, CHUNK_BYTES, members):
        whole += piece
    return memoryview(whole)


def _inflated(
    reader: ByteReader,
    tensor: Tensor,
    step: int,
    members: Mapping[str, ZipMember] | None,
) -> Iterator[memoryview]:
    """Stream the elements that lie in an archive member, inflated."""
    if tensor.member is None:
        raise _unsupported(tensor, "its bytes do not lie in one place of the file")
    if members is None:
        members = {member.name: member for member in directory(reader)}
    member = members.get(tensor.member)
    if member is None:
        raise _wrong(tensor, f"the archive has no member {shown(tensor.member)}")
    if not member.name.endswith(".npy") and member.size != tensor.nbytes:
        raise _unsupported(tensor, "it is a part of a compressed archive member")
    pieces = _regrouped(payload(reader, member), tensor.nbytes, step)
    given = 0
    for piece in pieces:
        given += piece.nbytes
        yield piece
    if given < tensor.nbytes:
        raise Truncated(
            f"tensor {shown(tensor.name)} lacks {tensor.nbytes - given} bytes",
            why=f"the archive member {shown(member.name)} ends before",
            fix="download the file again and compare its SHA-256 with the publisher's",
            file=tensor.file,
            offset=member.data_offset,
        )


def _regrouped(pieces: Iterable[bytes], nbytes: int, step: int) -> Iterator[memoryview]:
    """Cut the first `nbytes` of a stream anew, into pieces of `step` bytes and a rest."""
    waiting = bytearray()
    missing = nbytes
    for piece in pieces:
        waiting += piece
        while missing and len(waiting) >= min(step, missing):
            ready = bytes(waiting[: min(step, missing)])
            del waiting[: len(ready)]
            missing -= len(ready)
            yield memoryview(ready)
        if not missing:
            return
    if waiting:
        yield memoryview(bytes(waiting))


def _wrong(tensor: Tensor, why: str) -> CheckpointError:
    return CheckpointError(
        f"tensor {shown(tensor.name)} cannot be read",
        why=why,
        fix="download the file again and compare its SHA-256 with the publisher's",
        file=tensor.file,
        offset=tensor.offset,
    )


def _unsupported(tensor: Tensor, why: str) -> Unsupported:
    return Unsupported(
        f"the elements of tensor {shown(tensor.name)} are not read",
        why=why,
        fix="convert the file to safetensors",
        file=tensor.file,
        offset=tensor.offset,
    )
