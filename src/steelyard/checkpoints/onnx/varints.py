"""Decode the elements that an ONNX tensor keeps as protobuf varints.

A varint is a number of up to 64 bits, seven in each byte, the lowest first; the last byte is
below 0x80. A tensor has a run of them. Most types have a number for each element; those of two or
four bits have one for each byte that their elements fill. What comes out are the bytes that the
same tensor would have as `raw_data`, so that a digest or a statistic sees no difference.

Source: TensorProto in https://github.com/onnx/onnx/blob/main/onnx/onnx.in.proto
and https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.documents import shown
from steelyard.checkpoints.tensors import DTYPE_BITS, Tensor
from steelyard.errors import CheckpointError
from steelyard.sources.base import ByteReader

LONGEST_VARINT: Final = 10
"""Bytes of the longest varint."""

_WINDOW: Final = 1 << 16
"""Bytes read at once; each may become an element of eight bytes."""
_INTEGERS: Final = frozenset({"I2", "I4", "I8", "I16", "I32", "U2", "U4", "U8", "U16"})
"""Integers in `int32_data`, which writers extend with their sign or without: loaders take the low
bits."""
_SIXES: Final = frozenset({"F6_E2M3", "F6_E3M2"})
"""Four elements of these fill three bytes, but each has a number of its own."""
_WITHOUT: Final = frozenset({"F32", "F64", "C64", "C128"})
"""Types that ONNX never keeps as varints."""


def numbers(dtype: str, elements: int) -> int:
    """Return how many varints the elements of a tensor take."""
    bits = DTYPE_BITS[dtype]
    return -(-elements * bits // 8) if bits <= 4 else elements


def decoded(reader: ByteReader, tensor: Tensor, offset: int, step: int) -> Iterator[memoryview]:
    """Yield the bytes of a tensor's elements, row-major and little endian.

    Args:
        reader: The file that `tensor.file` names.
        tensor: What to read; its run takes `tensor.extent` bytes of the file.
        offset: First byte of the run.
        step: Longest piece in bytes; whole elements.

    Raises:
        Truncated: If the file does not hold the run.
        CheckpointError: If it does not hold the numbers that the tensor needs.
    """
    if tensor.dtype in _WITHOUT:
        raise _wrong(tensor, f"{tensor.dtype} elements are never stored as varints", offset)
    wanted = numbers(tensor.dtype, tensor.elements)
    waiting = np.zeros(0, np.uint64)
    seen = 0
    for values, at in _values(reader, tensor, offset):
        seen += values.size
        if seen > wanted:
            raise _wrong(tensor, f"it holds more than the {wanted} numbers that it needs", at)
        _check_range(tensor, values, at)
        if tensor.dtype in _SIXES:
            values = np.concatenate((waiting, values))
            whole = values.size - values.size % 4
            values, waiting = values[:whole], values[whole:]
        yield from _pieces(_packed(values, tensor.dtype), step)
    if seen < wanted:
        raise _wrong(tensor, f"it needs {wanted} numbers, but holds {seen}", offset)
    if waiting.size:
        padded = np.pad(waiting, (0, 4 - waiting.size))
        yield from _pieces(_packed(padded, tensor.dtype)[: (waiting.size * 6 + 7) // 8], step)


def _values(
    reader: ByteReader, tensor: Tensor, offset: int
) -> Iterator[tuple[NDArray[np.uint64], int]]:
    """Yield the numbers, many at a time, each time with the place of the first."""
    end = offset + tensor.extent
    rest = b""
    for start in range(offset, end, _WINDOW):
        at = start - len(rest)
        data = rest + reader.read(start, min(_WINDOW, end - start))
        run = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(run < 0x80) + 1
        starts = np.concatenate(([0], ends))
        lengths = np.diff(np.append(starts, run.size))
        if int(lengths.max()) > LONGEST_VARINT or _overflows(run, ends, lengths):
            raise _wrong(tensor, "it holds a number of more than 64 bits", at)
        rest = data[starts[-1] :]
        yield _numbers(run, starts[:-1], lengths[:-1]), at
    if rest:
        raise _wrong(tensor, "its last number does not end", end - len(rest))


def _overflows(run: NDArray[np.uint8], ends: NDArray[Any], lengths: NDArray[Any]) -> bool:
    """Tell whether the tenth byte of a number holds more than the one bit that is left."""
    return bool(np.any(run[ends[lengths[:-1] == LONGEST_VARINT] - 1] > 1))


def _numbers(
    run: NDArray[np.uint8], starts: NDArray[Any], lengths: NDArray[Any]
) -> NDArray[np.uint64]:
    """Decode the numbers at `starts`, the n-th byte of all of them at once."""
    values: NDArray[np.uint64] = (run[starts] & 0x7F).astype(np.uint64)
    longer = np.flatnonzero(lengths > 1)
    place = 1
    while longer.size:
        bits = (run[starts[longer] + place] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * place)
        place += 1
        longer = longer[lengths[longer] > place]
    return values


def _check_range(tensor: Tensor, values: NDArray[np.uint64], at: int) -> None:
    """Refuse numbers that do not fit the type; the low bits alone would be another element."""
    bits = max(DTYPE_BITS[tensor.dtype], 8)
    if tensor.dtype in _SIXES:
        bits = 6
    elif tensor.dtype == "BOOL":
        bits = 1
    fits = values <= np.uint64((1 << bits) - 1)
    if tensor.dtype in _INTEGERS:
        fits |= values >= np.uint64((1 << 64) - (1 << bits - 1))
    if not fits.all():
        value = int(values[~fits][:1].view(np.int64)[0])
        raise _wrong(tensor, f"it holds the number {value}, which is no {tensor.dtype}", at)


def _packed(values: NDArray[np.uint64], dtype: str) -> NDArray[np.uint8]:
    """Write numbers as `raw_data` has them; of the six-bit types, four at a time."""
    if dtype not in _SIXES:
        width = max(DTYPE_BITS[dtype] // 8, 1)
        return values.astype(f"<u{width}").view(np.uint8)
    fours = values.reshape(-1, 4).astype("<u4")
    fours = fours << np.array([0, 6, 12, 18], "<u4")
    threes: NDArray[Any] = np.bitwise_or.reduce(fours, axis=1).astype("<u4")
    return np.ascontiguousarray(threes.view(np.uint8).reshape(-1, 4)[:, :3]).reshape(-1)


def _pieces(block: NDArray[np.uint8], step: int) -> Iterator[memoryview]:
    for start in range(0, block.size, step):
        yield block[start : start + step].data


def _wrong(tensor: Tensor, why: str, at: int) -> CheckpointError:
    return CheckpointError(
        f"tensor {shown(tensor.name)} cannot be read",
        why=why,
        fix="download the file again and compare its SHA-256 with the publisher's",
        file=tensor.file,
        offset=at,
    )
