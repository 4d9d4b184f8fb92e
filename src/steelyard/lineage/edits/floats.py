"""How floats are stored: their types, what rounding to one does, and what is no number."""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats, Matrix

Doubles = NDArray[np.float64]
MANTISSA: Final = {"F64": 23, "F32": 23, "F16": 10, "BF16": 7, "F8_E4M3": 3, "F8_E5M2": 2}
_SMALLEST: Final = {"F16": 2.0**-24}
_LOOKED_AT: Final = 256


def finite(values: Floats) -> Floats:
    """Return the numbers with zeros for what is not finite; themselves if all are finite."""
    if np.isfinite(values).all():
        return values
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def rms(values: Floats | Doubles) -> float:
    """Return the root mean square; 0 of nothing."""
    return sqrt(float(np.mean(values.astype("f8") ** 2))) if values.size else 0.0


def ratio(part: float, whole: float) -> float:
    """Divide; 0 of nothing is 0, something of nothing is infinite."""
    if whole > 0:
        return part / whole
    return 0.0 if part <= 0 else float("inf")


def is_packed(matrix: Matrix) -> bool:
    """Tell whether a scheme packs the elements."""
    return matrix.scheme.lower() not in ("plain", "")


def float_type(values: Floats, matrix: Matrix) -> str:
    """Return the narrowest type that holds the numbers, whatever they are stored as."""
    stored = matrix.dtype.upper()
    if MANTISSA.get(stored, 23) < 23 or not values.size:
        return stored
    few = values.reshape(-1)[:_LOOKED_AT]
    for narrow in ("BF16", "F16"):
        # The first numbers of a wider type tell already that the others need not be rounded.
        fits = np.array_equal(rounded(few, narrow), few)
        if fits and np.array_equal(rounded(values, narrow), values):
            return narrow
    return "F32"


def mantissa(values: Floats, matrix: Matrix) -> int:
    """Return the bits after the leading one of the type that holds the numbers."""
    return MANTISSA.get(float_type(values, matrix), 23)


def rounded(values: Floats, dtype: str) -> Floats:
    """Round finite numbers to `BF16` or `F16`, ties to even; others stay as they are."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return finite((up & np.uint32(0xFFFF0000)).view(np.float32))
    if dtype == "F16":
        return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)
    return values


def ulps(values: Floats, dtype: str) -> Doubles:
    """Return the distance of neighbors of each number in a type."""
    bits = MANTISSA.get(dtype, 23)
    exponents = np.frexp(values.astype("f8"))[1] - 1
    least = _SMALLEST.get(dtype, 2.0**-149)
    return np.asarray(np.maximum(np.ldexp(1.0, exponents - bits), least) * (values != 0))
