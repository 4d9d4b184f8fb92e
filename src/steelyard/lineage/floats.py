"""How floats are stored: their types, what rounding to one does, and what is no number."""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steelyard.lineage.matrix import Floats

Doubles = NDArray[np.float64]
FULL: Final = 23
"""Bits after the leading one that float32 keeps, in which everything is read."""
_MANTISSA: Final = {"F16": 10, "BF16": 7, "F8_E4M3": 3, "F8_E5M2": 2}
_SMALLEST: Final = {"F16": 2.0**-24, "BF16": 2.0**-133, "F32": 2.0**-149}
"""Distance of neighbors about zero."""
_LOOKED_AT: Final = 256


def mantissa(kind: str) -> int:
    """Return the bits after the leading one of a type."""
    return _MANTISSA.get(kind, FULL)


def finite(values: Floats) -> Floats:
    """Return the numbers with zeros for what is not finite; themselves if all are finite."""
    if np.isfinite(values).all():
        return values
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def energy(values: Floats | Doubles) -> float:
    """Return the sum of squares."""
    flat = values.astype(np.float64, copy=False).ravel()
    return float(flat @ flat)


def rms(values: Floats | Doubles) -> float:
    """Return the root mean square; 0 of nothing."""
    return sqrt(energy(values) / values.size) if values.size else 0.0


def median(values: ArrayLike) -> float:
    """Return the median of some numbers, NaN if one of them is NaN.

    It is NumPy's, whose function imports all of its masked arrays first; zero has no sign.
    """
    ordered = np.sort(np.asarray(values), axis=None)
    middle = ordered.size // 2
    if np.isnan(ordered[-1]):
        return float("nan")
    if ordered.size % 2:
        return float(ordered[middle]) + 0.0
    return float((ordered[middle - 1] + ordered[middle]) / 2) + 0.0


def ratio(part: float, whole: float) -> float:
    """Divide; 0 of nothing is 0, something of nothing is infinite."""
    if whole > 0:
        return part / whole
    return 0.0 if part <= 0 else float("inf")


def float_type(values: Floats, dtype: str) -> str:
    """Return the narrowest type that holds finite numbers, whatever they are stored as."""
    stored = dtype.upper()
    if mantissa(stored) < FULL or not values.size:
        return stored
    few = values.reshape(-1)[:_LOOKED_AT]
    for narrow in ("BF16", "F16"):
        # The first numbers of a wider type tell already that the others need not be rounded.
        fits = np.array_equal(rounded(few, narrow), few)
        if fits and np.array_equal(rounded(values, narrow), values):
            return narrow
    return "F32"


def rounded(values: Floats, kind: str) -> Floats:
    """Round finite numbers to `BF16` or `F16`, ties to even; others stay as they are."""
    if kind == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return finite((up & np.uint32(0xFFFF0000)).view(np.float32))
    if kind == "F16":
        return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)
    return values


def ulps(values: Floats, kind: str) -> Doubles:
    """Return the distance of neighbors of each number in a type."""
    exponents = np.frexp(values.astype(np.float64))[1] - 1
    least = _SMALLEST.get(kind, _SMALLEST["F32"])
    steps = np.ldexp(1.0, exponents - mantissa(kind))
    return np.asarray(np.maximum(steps, least) * (values != 0))
