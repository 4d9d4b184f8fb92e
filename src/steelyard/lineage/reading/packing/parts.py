"""What a packed matrix is made of, and the arithmetic that all schemes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.tensors import Tensor
from steelyard.errors import CheckpointError
from steelyard.lineage.matrix import Floats
from steelyard.lineage.reading.views import Codes, Stored, View

Open = Callable[[Tensor], View]
"""Give a tensor's rows as stored: all dimensions but the first joined, a vector as (n,)."""
_WORD: Final = 32
"""Bits of the integers into which codes are packed."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What the configuration says of the packing."""

    bits: int | None = None
    group: int | None = None
    zeros_less_one: bool = True
    """Whether GPTQ's zero points are stored less one, as all but its second format do."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The tensors of one matrix."""

    main: Tensor
    """The codes."""
    part: str
    """What the main tensor is called: `weight` or `packed`."""
    beside: Mapping[str, Tensor]
    """What decodes them, by part: `scale`, `zero_point`, `order`, `state_nf4`, ..."""
    inputs: int | None = None
    """Numbers that a row decodes to, where the matrix's role tells."""
    outputs: int | None = None
    """Rows, where the matrix's role tells."""
    stated: Stated = field(default_factory=Stated)

    @property
    def nbytes(self) -> int:
        """Count the bytes of all."""
        return self.main.nbytes + sum(tensor.nbytes for tensor in self.beside.values())


@dataclass(frozen=True, slots=True)
class Decoded:
    """A matrix that can be read, whatever packs it."""

    view: View
    scheme: str
    """As people call it: `GPTQ 4-bit`, `NF4`, `int8`; `plain` where nothing packs it."""
    shape: tuple[int, ...]
    """Logical shape; experts in one tensor come first."""


def stored(view: View, tensor: Tensor) -> Stored:
    """Return a tensor's numbers as stored.

    Raises:
        CheckpointError: If nothing gives them.
    """
    if view.stored is None:
        raise damaged(tensor, "its codes are not to be had")
    return view.stored


def joined(tensor: Tensor, columns: int) -> Tensor:
    """Describe a tensor as a matrix of so many columns; its elements lie row-major."""
    return replace(tensor, shape=(tensor.elements // max(columns, 1), columns))


def plain_matrix(tensor: Tensor | None) -> bool:
    """Tell whether a tensor is a matrix that lies row by row."""
    return tensor is not None and len(tensor.shape) == 2 and tensor.strides is None


def unpacked(words: Codes, bits: int) -> Codes:
    """Unpack codes that follow each other bit by bit, the lowest first.

    Args:
        words: m x k integers of 8 or 32 bits.
        bits: Bits of one code, 1 to 8.

    Returns:
        m x n codes as bytes.
    """
    size = 4 if words.dtype.itemsize > 1 else 1
    held = np.ascontiguousarray(words).astype(f"<u{size}").view(np.uint8)
    held = held.reshape(len(words), words.shape[1] * size)
    if bits == 8:
        return held
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = (held[..., None] >> shifts) & np.uint8((1 << bits) - 1)
        apart: Codes = codes.reshape(len(words), held.shape[1] * len(shifts))
        return apart
    each = np.unpackbits(held, axis=1, bitorder="little")
    count = each.shape[1] // bits
    each = each[:, : count * bits].reshape(len(words), count, bits)
    weights = (1 << np.arange(bits)).astype(np.uint8)
    joint: Codes = (each * weights).sum(axis=-1, dtype=np.uint8)
    return joint


def codes_of_words(words: int, bits: int) -> int:
    """Count the codes in so many words."""
    return words * _WORD // bits


def columns_of_codes(
    view: View, tensor: Tensor, bits: int, first: int, count: int
) -> NDArray[np.uint8]:
    """Read columns of codes that are packed along the rows of words: rows x count."""
    # Codes of three bits lie across words: 32 of them fill a whole number again.
    run = bits if 8 % bits else 1
    per = codes_of_words(run, bits)
    start, stop = first // per, -(-(first + count) // per)
    words = stored(view, tensor).columns(start * run, (stop - start) * run)
    codes = unpacked(words, bits)[:, first - start * per :]
    return codes[:, :count]


def spread(values: Floats, width: int, columns: int) -> Floats:
    """Repeat each column `width` times, and cut what is too much."""
    return np.repeat(values, width, axis=1)[:, :columns]


def multiplied(codes: Codes, steps: Floats) -> Floats:
    """Multiply codes by their steps."""
    result: Floats = codes.astype(np.float32, copy=False) * steps
    return result


def group_of(size: int, groups: int) -> int:
    """Return how many of `size` share one of `groups` scales: a power of two where one fits.

    Several sizes may fit where the last group is not full; those in use are powers of two.
    """
    least = -(-size // max(groups, 1))
    power = 1 << max(least - 1, 0).bit_length()
    return power if -(-size // power) == groups else max(least, 1)


def rows_of(shape: tuple[int, ...]) -> int:
    """Count the rows of a matrix, or of a stack of them."""
    return prod(shape[:-1])


def damaged(tensor: Tensor, why: str) -> CheckpointError:
    """Return the error for parts that do not fit."""
    return CheckpointError(
        f"the packed tensor {tensor.name} cannot be decoded",
        why=why,
        fix="download the files again and compare their SHA-256 with the publisher's",
        file=tensor.file,
        offset=tensor.offset,
    )
