"""The numbers that the eight-bit floating-point types stand for.

There are 256 of each, so a table says it all: the byte is the index. The formats differ in how
they divide the byte between exponent and fraction, and in what they do without (infinities,
negative zero, a sign).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

_SMALL_FLOATS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "F8_E4M3": (3, 7),
        "F8_E5M2": (2, 15),
        "F8_E4M3FNUZ": (3, 8),
        "F8_E5M2FNUZ": (2, 16),
    }
)
"""For each: bits of the mantissa, and the exponent's bias."""


def value_table(dtype: str) -> NDArray[np.float32] | None:
    """Return the value of each byte of an eight-bit floating-point type; None for others.

    Source: OCP 8-bit Floating Point Specification 1.0 (E4M3, E5M2), OCP Microscaling Formats
    1.0 (E8M0), and the FNUZ types as LLVM defines them: no infinities, no negative zero.
    """
    codes = np.arange(256)
    if dtype == "F8_E8M0":
        return np.where(codes == 255, np.nan, np.exp2(codes - 127.0)).astype(np.float32)
    if dtype not in _SMALL_FLOATS:
        return None
    bits, bias = _SMALL_FLOATS[dtype]
    exponent = (codes & 127) >> bits
    fraction = codes & ((1 << bits) - 1)
    scaled = np.where(exponent == 0, fraction, fraction + (1 << bits))
    magnitudes = np.ldexp(scaled.astype(np.float64), np.maximum(exponent, 1) - bias - bits)
    values: NDArray[np.float32] = np.where(codes > 127, -magnitudes, magnitudes).astype(np.float32)
    if dtype.endswith("FNUZ"):
        values[128] = np.nan
    elif dtype == "F8_E4M3":
        values[[127, 255]] = np.nan
    else:
        top = exponent == 31
        values[top] = np.where(fraction[top] > 0, np.nan, np.copysign(np.inf, values[top]))
    return values
