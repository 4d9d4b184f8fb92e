"""Where bytes live: local folder or file, hub cache, URL, hub repository; list and ranged read.

Each name is imported when it is first used: whoever reads bytes needs no way to find them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steelyard.sources.base import ByteReader, SkippedFile, SkipReason, Source, SourceFile
    from steelyard.sources.network import Network
    from steelyard.sources.opening import open_source

_PUBLIC = {
    "ByteReader": "steelyard.sources.base",
    "Network": "steelyard.sources.network",
    "SkipReason": "steelyard.sources.base",
    "SkippedFile": "steelyard.sources.base",
    "Source": "steelyard.sources.base",
    "SourceFile": "steelyard.sources.base",
    "open_source": "steelyard.sources.opening",
}

__all__ = [
    "ByteReader",
    "Network",
    "SkipReason",
    "SkippedFile",
    "Source",
    "SourceFile",
    "open_source",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'steelyard.sources' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value
