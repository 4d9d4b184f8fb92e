"""What the decoders of ggml's block types share: arrays of blocks, codes of a few bits, scales."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Blocks = NDArray[Any]
"""Records of one block type, one an item."""
Codes = NDArray[np.uint8]
Values = NDArray[np.float32]
Decoder = Callable[[Blocks], Values]
Fields = list[tuple[Any, ...]]
"""The fields of a block in order, as `numpy.dtype` takes them."""

HALF: Final = "<f2"


def wide(part: NDArray[Any]) -> Values:
    """Return scales as floats with a last axis to multiply along."""
    return part.astype(np.float32)[..., None]


def shifted(codes: Codes, run: int, width: int) -> Codes:
    """Unpack codes of `width` bits: of each run of bytes first all the lowest, then the next.

    Args:
        codes: blocks x bytes.
        run: Bytes whose codes lie together.
        width: Bits of one code.

    Returns:
        blocks x codes.
    """
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    parts = codes.reshape(len(codes), -1, 1, run) >> shifts
    result: Codes = (parts & np.uint8((1 << width) - 1)).reshape(len(codes), -1)
    return result
