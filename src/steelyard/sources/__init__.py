"""Where bytes live: local folder or file, hub cache, URL, hub repository; list and ranged read."""

from steelyard.sources.base import ByteReader, SkippedFile, SkipReason, Source, SourceFile
from steelyard.sources.network import Network
from steelyard.sources.opening import open_source

__all__ = [
    "ByteReader",
    "Network",
    "SkipReason",
    "SkippedFile",
    "Source",
    "SourceFile",
    "open_source",
]
