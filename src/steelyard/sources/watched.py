"""A source whose reading is told to somebody who watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from steelyard.progress import Progress
from steelyard.sources.base import ByteReader, SkippedFile, Source, SourceFile


class Watched(Source):
    """Another source; what is read of its files is added to a task that was started before.

    Law: it lists and reads what the other does.
    """

    def __init__(self, source: Source, progress: Progress) -> None:
        self._source, self._progress = source, progress
        self.spec, self.kind, self.revision = source.spec, source.kind, source.revision

    @property
    def files(self) -> Sequence[SourceFile]:
        """The files, sorted by path."""
        return self._source.files

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """What lies there but is not read."""
        return self._source.skipped

    @property
    def bytes_read(self) -> int:
        """Bytes read or fetched so far."""
        return self._source.bytes_read

    def open(self, path: str) -> ByteReader:
        """Open a listed file; see `Source.open`."""
        return WatchedReader(self._source.open(path), self._progress.advance)

    def local_path(self, path: str) -> Path | None:
        """Name the file on this machine's disk, if it lies there."""
        return self._source.local_path(path)

    def close(self) -> None:
        """Release what the source holds."""
        self._source.close()


class WatchedReader(ByteReader):
    """Another reader; `told` is given the bytes of each read once it is done."""

    def __init__(self, reader: ByteReader, told: Callable[[int], object]) -> None:
        self._reader, self._told = reader, told
        self.name, self.size = reader.name, reader.size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; see `ByteReader`."""
        data = self._reader.read(offset, length)
        self._told(length)
        return data

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes without a copy where the other reader can."""
        data = self._reader.view(offset, length)
        self._told(length)
        return data

    def close(self) -> None:
        """Release the file."""
        self._reader.close()
