"""Rows of a tensor as numbers, without reading the rest of it.

Containers store rows one after another, so a run of rows is a run of bytes. Where that does not
hold (compressed, column-major, varints) the whole tensor is read, within a limit, and cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.data import array
from steelyard.checkpoints.documents import shown
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, VARINT, Tensor
from steelyard.checkpoints.zips import ZipMember
from steelyard.errors import LimitExceeded, Unsupported
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import BytesReader

ROWS_BYTES: Final = 1 << 30
"""Most memory that the numbers of one call may take."""
_READABLE: Final = frozenset({PLAIN, VARINT})
_FEW: Final = 4
"""Columns are read piece by piece where that fetches less than a fourth of the tensor."""
_MOST_PIECES: Final = 65_536
_COMPLEX: Final = frozenset({"C64", "C128"})


def shape_of_rows(tensor: Tensor) -> tuple[int, int]:
    """Return how many rows a tensor has, and how many numbers a row; a scalar is one row."""
    if not tensor.shape:
        return 1, 1
    return tensor.shape[0], prod(tensor.shape[1:])


def read_rows(
    reader: ByteReader,
    tensor: Tensor,
    first: int,
    count: int,
    *,
    members: Mapping[str, ZipMember] | None = None,
) -> NDArray[np.float32]:
    """Read rows `first` to `first + count` (clipped) of a tensor as float32.

    Args:
        reader: The file that `tensor.file` names.
        tensor: What to read; all dimensions but the first are joined.
        first: First row.
        count: How many rows.
        members: The archive's members by name, if they are known already.

    Returns:
        rows x numbers, an array of its own.

    Raises:
        LimitExceeded: If the numbers would take more than `ROWS_BYTES`.
        Unsupported: If the elements are packed in a way that is not decoded.
        CheckpointError: If what is stored does not fit the tensor.
        SourceError: If the bytes cannot be fetched.
    """
    rows, width = shape_of_rows(tensor)
    first, count = _clipped(first, count, rows)
    if not tensor.quantized or tensor.offset is None or tensor.nbytes % max(rows, 1):
        return as_floats(read_stored(reader, tensor, first, count, members=members))
    if count == 0 or width == 0:
        return np.empty((count, width), np.float32)
    _check_room(tensor, count, width)
    size = tensor.nbytes // rows
    blocks = reader.read(tensor.offset + first * size, count * size)
    stored = np.frombuffer(blocks, np.uint8)
    # Few models are packed this way, and the tables for it take a while to import.
    from steelyard.checkpoints.gguf.dequantize import dequantize

    return dequantize(tensor.encoding, stored, byteorder=tensor.byteorder).reshape(count, width)


def read_stored(
    reader: ByteReader,
    tensor: Tensor,
    first: int,
    count: int,
    *,
    members: Mapping[str, ZipMember] | None = None,
) -> NDArray[Any]:
    """Read rows as `read_rows` does, in the type that `data.array` gives: codes stay whole."""
    rows, width = shape_of_rows(tensor)
    first, count = _clipped(first, count, rows)
    _check(tensor)
    if count == 0 or width == 0:
        return np.empty((count, width), np.float32)
    _check_room(tensor, count, width)
    size = _row_bytes(tensor)
    if size is not None and tensor.offset is not None:
        start = tensor.offset + first * size
        part = replace(tensor, shape=(count, width), offset=start, nbytes=count * size)
        return array(reader, part, 2 * ROWS_BYTES)
    whole = array(reader, tensor, ROWS_BYTES, members=members).reshape(rows, width)
    return whole[first : first + count]


def read_columns(
    reader: ByteReader,
    tensor: Tensor,
    first: int,
    count: int,
    *,
    members: Mapping[str, ZipMember] | None = None,
) -> NDArray[Any]:
    """Read columns `first` to `first + count` (clipped), in the type that `data.array` gives.

    Few columns of a tensor that lies row by row are read piece by piece, so that their number
    and not the tensor's size says how much is fetched. Errors are those of `read_rows`.

    Returns:
        rows x columns, an array of its own.
    """
    rows, width = shape_of_rows(tensor)
    first, count = _clipped(first, count, width)
    _check(tensor)
    if rows == 0 or count == 0:
        return np.empty((rows, count), np.float32)
    if not has_columns(tensor) or tensor.offset is None or count * _FEW > width:
        whole = read_stored(reader, tensor, 0, rows, members=members)
        return np.ascontiguousarray(whole[:, first : first + count])
    _check_room(tensor, rows, count)
    item = DTYPE_BITS[tensor.dtype] // 8
    start, step, size = tensor.offset + first * item, width * item, count * item
    held = b"".join([reader.read(start + row * step, size) for row in range(rows)])
    part = replace(tensor, shape=(rows, count), offset=0, nbytes=len(held))
    return array(BytesReader(tensor.file, held), part, 2 * ROWS_BYTES)


def has_columns(tensor: Tensor) -> bool:
    """Tell whether few columns can be read without the rest."""
    lies = _row_bytes(tensor) is not None and DTYPE_BITS[tensor.dtype] >= 8
    return lies and shape_of_rows(tensor)[0] <= _MOST_PIECES


def bytes_of_rows(tensor: Tensor, count: int) -> int:
    """Return how many bytes must be fetched for `count` rows."""
    rows = shape_of_rows(tensor)[0]
    if rows == 0:
        return 0
    if tensor.quantized or _row_bytes(tensor) is not None:
        return tensor.nbytes // rows * min(count, rows)
    return tensor.nbytes


def _row_bytes(tensor: Tensor) -> int | None:
    """Return the bytes of a row; None where rows do not lie one after another, whole."""
    rows, width = shape_of_rows(tensor)
    bits = DTYPE_BITS[tensor.dtype] * width
    lies = tensor.encoding == PLAIN and tensor.strides is None and tensor.offset is not None
    return bits // 8 if lies and bits % 8 == 0 and tensor.nbytes * 8 == bits * rows else None


def _clipped(first: int, count: int, size: int) -> tuple[int, int]:
    first = min(max(first, 0), size)
    return first, min(max(count, 0), size - first)


def _check_room(tensor: Tensor, rows: int, columns: int) -> None:
    if rows * columns * 4 > ROWS_BYTES:
        raise LimitExceeded(
            f"{rows} rows of tensor {shown(tensor.name)} would take {rows * columns * 4} bytes",
            why=f"the limit is {ROWS_BYTES}",
            fix="read fewer rows at a time",
            file=tensor.file,
            offset=tensor.offset,
        )


def _check(tensor: Tensor) -> None:
    if tensor.encoding not in _READABLE or tensor.dtype in _COMPLEX:
        raise Unsupported(
            f"the elements of tensor {shown(tensor.name)} are not read",
            why=f"they are {tensor.dtype}, stored as {tensor.encoding}",
            fix="convert the file to safetensors",
            file=tensor.file,
            offset=tensor.offset,
        )


def as_floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32; what is too large for it becomes infinite without a warning."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(values, dtype=np.float32)
