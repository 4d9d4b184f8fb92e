"""Files on this machine: a folder, a single file, or a snapshot in the hub cache.

The files are listed once, when the source is opened; each is looked at again when it is read:
still the same place, still a regular file, still of the same length and age. Links are judged
by `walking` when they are listed, and what is opened is the resolved file, never a link.
Reads use `pread`; views are slices of one memory map for each reader.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from steelyard.errors import AccessDenied, SourceError, SourceNotFound
from steelyard.sources.base import ByteReader, SkippedFile, SourceFile
from steelyard.sources.hf_cache import (
    Snapshot,
    blob_sha256,
    enclosing_snapshot,
    find_snapshot,
    is_repository,
)
from steelyard.sources.memory import check_range
from steelyard.sources.network import Tally
from steelyard.sources.paths import no_such_file, path_trouble, printable
from steelyard.sources.walking import Entry, Listing, list_folder

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class LocalReader(ByteReader):
    """Read ranges of one file on disk. Not thread-safe; open one for each thread."""

    def __init__(self, name: str, descriptor: int, size: int, tally: Tally) -> None:
        self.name = name
        self.size = size
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._tally = tally
        self._map: mmap.mmap | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            Truncated: If the range is not wholly inside the file.
            SourceError: If the disk fails, or the file has shrunk since it was opened.
        """
        self._check(offset, length)
        pieces = []
        missing = length
        while missing:
            try:
                piece = os.pread(self._file.fileno(), missing, offset + length - missing)
            except OSError as error:
                raise self._failed(error) from error
            if not piece:
                raise self._shrunk()
            pieces.append(piece)
            missing -= len(piece)
        self._tally.add_bytes(length)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes as a slice of a memory map; all of `length` counts as read.

        Raises:
            Truncated: If the range is not wholly inside the file.
            SourceError: If the file has shrunk since it was opened.
        """
        self._check(offset, length)
        if not length:
            return memoryview(b"")
        # Touching a page past the end of a file kills the process (SIGBUS), so look first.
        if os.fstat(self._file.fileno()).st_size < offset + length:
            raise self._shrunk()
        if self._map is None:
            try:
                self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                return memoryview(self.read(offset, length))
        self._tally.add_bytes(length)
        return memoryview(self._map)[offset : offset + length]

    def close(self) -> None:
        """Release the file. A map that views still use goes when the last of them goes."""
        self._file.close()
        if self._map is not None:
            try:
                self._map.close()
            except BufferError:
                self._map = None

    def _check(self, offset: int, length: int) -> None:
        if self._file.closed:
            raise SourceError(
                "the file is already closed",
                fix="read it before its reader is closed",
                file=self.name,
            )
        check_range(self.name, self.size, offset, length)

    def _failed(self, error: OSError) -> SourceError:
        return SourceError(
            "cannot read the file",
            why=error.strerror or str(error),
            fix="check the disk or the network mount, and copy the file to another disk",
            file=self.name,
        )

    def _shrunk(self) -> SourceError:
        return SourceError(
            "the file became shorter while it was read",
            why=f"it had {self.size} bytes when it was opened",
            fix="wait until whatever writes it has finished, and run again",
            file=self.name,
        )


class LocalSource:
    """Files on this machine, as a `Source`; made by `open_local` or `open_snapshot`."""

    def __init__(self, spec: str, kind: str, revision: str | None, listing: Listing) -> None:
        self.spec = spec
        self.kind = kind
        self.revision = revision
        self._entries: Mapping[str, Entry] = listing.entries
        self._files = tuple(
            SourceFile(path, entry.size, blob_sha256(entry.real))
            for path, entry in sorted(listing.entries.items())
        )
        self._skipped = tuple(sorted(listing.skipped, key=lambda each: (each.path, each.reason)))
        self._tally = Tally()

    @property
    def files(self) -> Sequence[SourceFile]:
        """The files, sorted by path."""
        return self._files

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """What lies there but is not read, sorted by path."""
        return self._skipped

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, of all files; a view counts as its whole length."""
        return self._tally.bytes

    def open(self, path: str) -> LocalReader:
        """Open a listed file for ranged reads.

        Raises:
            SourceNotFound: If `path` is not among `files`.
            AccessDenied: If it may not be read.
            SourceError: If it is no longer the file that was listed.
        """
        entry = self._entries.get(path)
        if entry is None:
            raise no_such_file(self.spec, path)
        return LocalReader(path, _open_again(path, entry), entry.size, self._tally)

    def local_path(self, path: str) -> Path | None:
        """Name the file on disk, links resolved; None when `path` is not among `files`."""
        entry = self._entries.get(path)
        return None if entry is None else entry.real

    def close(self) -> None:
        """Do nothing: each reader holds its own file."""


def open_local(spec: str) -> LocalSource:
    """Open a folder, a file, or a folder of the hub cache.

    Raises:
        SourceNotFound: If there is nothing at `spec`, or the cache folder holds no snapshot.
        AccessDenied: If it may not be read.
        SourceError: If it is neither a folder nor a regular file.
    """
    path = Path(spec)
    try:
        real = Path(os.path.realpath(path, strict=True))
        mode = real.stat().st_mode
    except PermissionError as error:
        raise _denied(spec, error) from error
    except (OSError, ValueError) as error:
        raise SourceNotFound(
            "there is no such file or folder",
            why=str(getattr(error, "strerror", None) or error),
            fix="check the path; a hub repository is written hf://org/name",
            file=printable(spec),
        ) from error
    if stat.S_ISREG(mode):
        return LocalSource(spec, "file", None, _list_file(path.name or real.name, real))
    if not stat.S_ISDIR(mode):
        raise SourceError(
            "is neither a folder nor a regular file",
            why="a device, pipe or socket cannot be read in ranges",
            fix="save its contents to a file and name that",
            file=printable(spec),
        )
    if is_repository(real):
        return open_snapshot(spec, find_snapshot(real, None))
    if snapshot := enclosing_snapshot(real):
        listing = list_folder(real, also=snapshot.blobs)
        return LocalSource(spec, "hf-cache", snapshot.revision, listing)
    return LocalSource(spec, "folder", None, list_folder(real))


def open_snapshot(spec: str, snapshot: Snapshot, file: str | None = None) -> LocalSource:
    """Open a snapshot of the hub cache, or one file of it.

    Raises:
        SourceNotFound: If `file` is not in the snapshot.
    """
    listing = list_folder(snapshot.folder, also=snapshot.blobs)
    if file is not None:
        if file not in listing.entries:
            raise SourceNotFound(
                f"the local cache does not hold {file}",
                why=f"snapshot {snapshot.revision} was downloaded without it",
                fix="go online once, or download the file with `hf download`",
                file=spec,
            )
        listing = Listing({file: listing.entries[file]})
    return LocalSource(spec, "hf-cache", snapshot.revision, listing)


def _list_file(name: str, real: Path) -> Listing:
    if path_trouble(name):
        name = printable(name).replace("\\", "_").lstrip("/")
    if not os.access(real, os.R_OK):
        raise _denied(name, None)
    facts = real.stat()
    return Listing({name: Entry.of(real, facts)})


def _open_again(path: str, entry: Entry) -> int:
    """Open a file that was listed before, and make sure that it is still the same one."""
    try:
        descriptor = os.open(entry.real, _OPEN_FLAGS)
    except PermissionError as error:
        raise _denied(path, error) from error
    except OSError as error:
        raise _changed(path) from error
    facts = os.fstat(descriptor)
    now = Entry.of(entry.real, facts)
    if not stat.S_ISREG(facts.st_mode) or (now != entry and not _moved(now, entry)):
        os.close(descriptor)
        raise _changed(path)
    return descriptor


def _moved(now: Entry, entry: Entry) -> bool:
    """Tell whether only the inode differs: some network mounts number their files anew.

    There the path alone can say that no folder on the way was swapped for a link.
    """
    if (now.size, now.changed_ns) != (entry.size, entry.changed_ns):
        return False
    try:
        return os.path.realpath(entry.real, strict=True) == str(entry.real)
    except OSError:
        return False


def _changed(path: str) -> SourceError:
    return SourceError(
        "the file changed after the source was listed",
        why="it was written, replaced or removed in between",
        fix="wait until whatever writes it has finished, and run again",
        file=path,
    )


def _denied(path: str, error: OSError | None) -> AccessDenied:
    return AccessDenied(
        "may not be read",
        why=(error.strerror or str(error)) if error else "permission denied",
        fix="check its permissions, or copy it to a place that you can read",
        file=printable(path),
    )
