"""What a source lists, and what it passes over."""

from __future__ import annotations

from steelyard.sources.base import SkipReason
from steelyard.sources.local import LocalSource


def paths(source: LocalSource) -> list[str]:
    return [file.path for file in source.files]


def reasons(source: LocalSource) -> dict[str, SkipReason]:
    return {each.path: each.reason for each in source.skipped}
