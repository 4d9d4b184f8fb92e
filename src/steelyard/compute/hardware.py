"""Accelerators and the assumptions of estimates, from `knowledge/hardware.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from steelyard import knowledge


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A kind of accelerator."""

    name: str
    peaks: Mapping[str, float]
    """Peak dense FLOP/s of one unit by number format (`BF16`, `FP8`, `FP32`)."""
    usual: tuple[str, float]
    """The format that training usually uses on it, and its peak."""
    source: str


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


def assumptions() -> Mapping[str, Any]:
    """Return the ranges that estimates assume, each with its reason."""
    found: Mapping[str, Any] = knowledge.load("hardware")["assumptions"]
    return found


_VENDORS = frozenset(
    {"nvidia", "google", "amd", "intel", "huawei", "tesla", "instinct", "gpu", "gpus"}
)


def _plain(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    return "".join(word for word in words if word not in _VENDORS)
