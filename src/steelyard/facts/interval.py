"""Quantities that are not exactly known.

An `Interval` is the closed range that a quantity lies in. Arithmetic widens it as interval
arithmetic must; comparison answers true, false, or unknown when the range straddles. Training
compute spans tens of orders of magnitude, so the midpoint and the width are logarithmic.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from steelyard.facts.logic import Truth, negate

Number = int | float

_SCALE = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_ROUNDED = re.compile(r"(\d{1,15})(?:\.(\d{1,15}))?\s*([kmbt]?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interval:
    """The closed range `[low, high]`.

    Laws: `low <= high`; both are finite or infinite numbers, never NaN; arithmetic on
    intervals contains every result of the same arithmetic on members.
    """

    low: Number
    high: Number

    def __post_init__(self) -> None:
        if math.isnan(self.low) or math.isnan(self.high) or self.low > self.high:
            raise ValueError(f"not an interval: {self.low} .. {self.high}")

    @classmethod
    def of(cls, value: Number | Interval) -> Interval:
        """Return `value` itself if it is an interval, else the interval of that one point."""
        return value if isinstance(value, Interval) else cls(value, value)

    @classmethod
    def hull(cls, *values: Number | Interval) -> Interval:
        """Return the smallest interval that holds all `values` (at least one)."""
        spans = [cls.of(value) for value in values]
        return cls(min(s.low for s in spans), max(s.high for s in spans))

    @classmethod
    def from_rounded(cls, text: str, *, within: float | None = None) -> Interval | None:
        """Read a rounded figure such as `135M`, `1.7B` or `7b` as the range it may stand for.

        The range is half a unit of the last digit to each side; `within` caps it at that
        share of the figure (0.05 for five percent). None if `text` is no such figure.
        """
        match = _ROUNDED.fullmatch(text.strip())
        if match is None:
            return None
        whole, fraction, suffix = match[1], match[2] or "", match[3].lower()
        scale = _SCALE[suffix]
        value = int(whole + fraction) * scale / 10 ** len(fraction)
        half = scale / 10 ** len(fraction) / 2
        if within is not None:
            half = min(half, value * within)
        return cls(value - half, value + half)

    @property
    def exact(self) -> bool:
        """Tell whether the interval is a single point."""
        return self.low == self.high

    @property
    def middle(self) -> float:
        """Return the geometric middle of a positive interval, else the arithmetic one."""
        if self.low > 0 and math.isfinite(self.high):
            return math.exp((math.log(self.low) + math.log(self.high)) / 2)
        return (self.low + self.high) / 2

    @property
    def factor(self) -> float:
        """Return `high / low`, the width on a logarithmic scale; infinite when `low` <= 0."""
        return self.high / self.low if self.low > 0 else math.inf

    def __add__(self, other: Number | Interval) -> Interval:
        """Add."""
        o = Interval.of(other)
        return Interval(self.low + o.low, self.high + o.high)

    __radd__ = __add__

    def __sub__(self, other: Number | Interval) -> Interval:
        """Subtract."""
        o = Interval.of(other)
        return Interval(self.low - o.high, self.high - o.low)

    def __rsub__(self, other: Number) -> Interval:
        """Subtract from a number."""
        return Interval.of(other) - self

    def __mul__(self, other: Number | Interval) -> Interval:
        """Multiply."""
        o = Interval.of(other)
        products = [_times(a, b) for a in (self.low, self.high) for b in (o.low, o.high)]
        return Interval(min(products), max(products))

    __rmul__ = __mul__

    def __truediv__(self, other: Number | Interval) -> Interval:
        """Divide by an interval that does not hold zero.

        Raises:
            ZeroDivisionError: If `other` holds zero.
        """
        o = Interval.of(other)
        if o.low <= 0 <= o.high:
            raise ZeroDivisionError("division by an interval that holds zero")
        return self * Interval(1 / o.high, 1 / o.low)

    def __rtruediv__(self, other: Number) -> Interval:
        """Divide a number by the interval."""
        return Interval.of(other) / self

    def overlaps(self, other: Number | Interval) -> bool:
        """Tell whether some number lies in both."""
        o = Interval.of(other)
        return self.low <= o.high and o.low <= self.high

    def less(self, other: Number | Interval) -> Truth:
        """Tell whether the quantity is strictly less than `other`."""
        o = Interval.of(other)
        if self.high < o.low:
            return True
        return False if self.low >= o.high else None

    def greater(self, other: Number | Interval) -> Truth:
        """Tell whether the quantity is strictly greater than `other`."""
        return Interval.of(other).less(self)

    def at_most(self, other: Number | Interval) -> Truth:
        """Tell whether the quantity is less than or equal to `other`."""
        return negate(self.greater(other))

    def at_least(self, other: Number | Interval) -> Truth:
        """Tell whether the quantity is greater than or equal to `other`."""
        return negate(self.less(other))

    def equals(self, other: Number | Interval) -> Truth:
        """Tell whether the quantity equals `other`; only exact values can."""
        o = Interval.of(other)
        if not self.overlaps(o):
            return False
        return True if self.exact and o.exact else None


def _times(a: Number, b: Number) -> Number:
    """Multiply so that zero times infinity is zero, as the bounds of intervals need."""
    return 0 if a == 0 or b == 0 else a * b
