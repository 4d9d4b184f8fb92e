"""Figures as a person reads them: chances, shares, names of models."""

from __future__ import annotations

import math
from typing import Final

from steelyard.reports.text import amount, plain

_LONGEST_NAME: Final = 60
_DECIMAL: Final = -4
"""Chances above ten to this power are written as decimal numbers."""
_LEAST: Final = -1_000_000
"""What is said to be smaller is written as this power of ten, which bounds it all the same."""


def chance(log10_p: float) -> str:
    """Write a probability of which the power of ten is known: `10^-826`, `0.049`; never 0.

    Powers are rounded towards 1, so that a bound stays a bound.
    """
    if math.isnan(log10_p):
        return "unknown"
    if log10_p >= 0:
        return "1"
    if log10_p > _DECIMAL:
        return f"{10**log10_p:.2g}"
    return f"10^{max(math.ceil(log10_p), _LEAST) if math.isfinite(log10_p) else _LEAST}"


def share(value: float) -> str:
    """Write a share of one in percent, with two digits: `1.4 %`, `123 %`, `0.003 %`."""
    percent = 100 * value
    if not math.isfinite(percent):
        return "beyond measure"
    if percent == 0:
        return "0 %"
    if percent < 1e-4:
        return "less than 0.0001 %"
    if percent >= 10:
        return f"{amount(round(percent))} %"
    return f"{percent:.2g} %"


def span(values: tuple[float, ...]) -> str:
    """Write the range of some numbers with two decimals: `0.94 to 1.00`, `1.00`."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "unknown"
    low, high = f"{min(known):.2f}", f"{max(known):.2f}"
    return low if low == high else f"{low} to {high}"


def names(base: str, child: str) -> tuple[str, str]:
    """Return short names of base and child: as much of their paths as tells them apart."""
    ours, theirs = _parts(child), _parts(base)
    for count in range(1, max(len(ours), len(theirs)) + 1):
        if ours[-count:] != theirs[-count:]:
            return _joined(theirs, count), _joined(ours, count)
    return _joined(theirs, 1), _joined(ours, 1)


def _parts(name: str) -> tuple[str, ...]:
    """Split a path; what names a repository of the hub stays whole."""
    shown = plain(name, 1000)
    if shown.startswith("hf://"):
        return (shown.removeprefix("hf://"),)
    return tuple(part for part in shown.split("/") if part) or (shown or "?",)


def _joined(parts: tuple[str, ...], count: int) -> str:
    return plain("/".join(parts[-count:]), _LONGEST_NAME)
