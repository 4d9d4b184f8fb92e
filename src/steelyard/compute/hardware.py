"""Accelerators and the assumptions of estimates, from `knowledge/hardware.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from steelyard import knowledge
from steelyard.facts import Interval

_LONGEST: Final = 500
_MOST_KINDS: Final = 8


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A kind of accelerator."""

    name: str
    peaks: Mapping[str, float]
    """Peak dense FLOP/s of one unit by number format (`BF16`, `FP8`, `FP32`)."""
    usual: tuple[str, float]
    """The format that training usually uses on it, and its peak."""
    source: str


@dataclass(frozen=True, slots=True)
class Peak:
    """What the named kinds of accelerators can do at most."""

    flop_per_second: Interval
    by_format: bool
    """True when the number format of the training decided it."""
    said: tuple[str, ...]
    """What was assumed, in words."""


@cache
def _accelerators() -> Mapping[str, Accelerator]:
    found: dict[str, Accelerator] = {}
    for name, entry in knowledge.load("hardware")["accelerators"].items():
        peaks = {form: float(peak) for form, peak in entry["peaks"].items()}
        usual = entry.get("usual") or next(iter(peaks))
        item = Accelerator(name, peaks, (usual, peaks[usual]), entry["source"])
        for known in (name, *entry.get("aliases", ())):
            found[_plain(str(known))] = item
    return found


def accelerators() -> tuple[Accelerator, ...]:
    """Return every kind, each once."""
    return tuple({item.name: item for item in _accelerators().values()}.values())


def accelerator(name: str) -> Accelerator | None:
    """Find a kind by its name, or by an alias; vendor names and spacing do not matter."""
    return _accelerators().get(_plain(name))


def peak_of(names: str, form: str | None) -> Peak | None:
    """Return the peak of one kind of accelerator, or the range over several.

    Args:
        names: One kind, or several: `A100`, `A100 and H100`, `TPU v4, TPU v5e`.
        form: Number format of the training (`BF16`); None if unknown, and then the format that
            is usual on each kind is assumed.

    Returns:
        None if there is no name, or if one of them is unknown: its share may be the largest.
    """
    parts = [part for part in re.split(r",|;|/|\+|\band\b", names[:_LONGEST]) if part.strip()]
    kinds = [accelerator(part) for part in parts[:_MOST_KINDS]]
    known = [kind for kind in kinds if kind is not None]
    if not known or len(known) < len(parts):
        return None
    wanted = form.strip().upper() if form is not None else ""
    if all(wanted in kind.peaks for kind in known):
        return Peak(Interval.hull(*(kind.peaks[wanted] for kind in known)), True, _mixed(known))
    said = [f"{kind.name} used at {kind.usual[0]}, {kind.usual[1]:.3g} FLOP/s" for kind in known]
    return Peak(Interval.hull(*(kind.usual[1] for kind in known)), False, (*said, *_mixed(known)))


def _mixed(known: list[Accelerator]) -> tuple[str, ...]:
    if len({kind.name for kind in known}) < 2:
        return ()
    return ("the share of each kind of accelerator is unknown",)


def assumptions() -> Mapping[str, Any]:
    """Return the ranges that estimates assume, each with its reason."""
    found: Mapping[str, Any] = knowledge.load("hardware")["assumptions"]
    return found


_VENDORS: Final = frozenset(
    {"nvidia", "google", "amazon", "aws", "amd", "intel", "huawei", "tesla", "instinct", "gpu"}
    | {"gpus", "chip", "chips"}
)


def _plain(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", name[:_LONGEST].lower()).split()
    return "".join(word for word in words if word not in _VENDORS)
