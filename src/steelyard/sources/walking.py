"""List a folder that somebody else filled.

A downloaded folder is hostile input: links lead out of it or in circles, pipes block whoever
opens them, trees go on without end. The walk follows a link only if its target stays within
the folder (or within one more folder that the caller allows), opens nothing, and is bounded in
files, folders and depth. What it does not list it reports as a `SkippedFile`, except for the
names in `NOISE`, which version control, caches and desktops leave behind and which are passed
over in silence.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from steelyard.errors import AccessDenied
from steelyard.sources.base import SkippedFile, SkipReason
from steelyard.sources.paths import path_trouble, printable

MAX_FILES = 100_000
"""Most entries (files, folders, links) that one walk looks at."""
MAX_DEPTH = 64
"""Most folders below one another."""
NOISE = frozenset(
    {
        ".DS_Store",
        ".Spotlight-V100",
        ".Trashes",
        ".cache",
        ".fseventsd",
        ".git",
        ".hg",
        ".ipynb_checkpoints",
        ".svn",
        "Thumbs.db",
        "__MACOSX",
        "__pycache__",
        "desktop.ini",
    }
)
"""Names of files and folders that are passed over in silence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One regular file as the walk saw it, to be checked again when it is opened."""

    real: Path
    """Absolute path with every link resolved."""
    size: int
    """Length in bytes."""
    changed_ns: int
    """Time of last modification, nanoseconds since 1970."""
    place: tuple[int, int]
    """Device and inode: two files with one place are one file, whatever led there."""

    @classmethod
    def of(cls, real: Path, facts: os.stat_result) -> Entry:
        """Describe the file at `real` by what the system says of it."""
        return cls(real, facts.st_size, facts.st_mtime_ns, (facts.st_dev, facts.st_ino))


@dataclass(slots=True)
class Listing:
    """What a walk found."""

    entries: dict[str, Entry] = field(default_factory=dict)
    """Path within the source to file."""
    skipped: list[SkippedFile] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Folder:
    prefix: str
    """Path within the source, with a slash at its end unless it is the root."""
    real: Path
    above: tuple[Path, ...]
    """The real folders that lead here, this one included; a link to any of them is a circle."""


def list_folder(
    root: Path,
    *,
    also: Path | None = None,
    max_files: int = MAX_FILES,
    max_depth: int = MAX_DEPTH,
    noise: Collection[str] = NOISE,
) -> Listing:
    """List the regular files below `root`.

    Args:
        root: The folder.
        also: One more folder that links may lead into (the blobs of a hub cache).
        max_files: Most entries to look at; what follows is one `TOO_MANY`.
        max_depth: Most folders below one another; each deeper one is a `TOO_MANY`.
        noise: Names that are passed over in silence.

    Raises:
        AccessDenied: If `root` itself cannot be listed.
    """
    home = Path(os.path.realpath(root))
    bounds = (home,) if also is None else (home, Path(os.path.realpath(also)))
    walk = _Walk(bounds, max_files, max_depth, noise)
    walk.run(home)
    return walk.listing


class _Walk:
    def __init__(
        self, bounds: tuple[Path, ...], max_files: int, max_depth: int, noise: Collection[str]
    ) -> None:
        self.listing = Listing()
        self._bounds = bounds
        self._max_depth = max_depth
        self._left = max_files
        self._noise = noise

    def run(self, home: Path) -> None:
        """Walk depth first in name order, so that the same tree always lists the same."""
        pending = [_Folder("", home, (home,))]
        while pending:
            folder = pending.pop()
            names = self._names(folder)
            below = [self._look(folder, name, link) for name, link in names]
            pending.extend(each for each in reversed(below) if each is not None)
            if self._left < 0:
                self._skip(folder.prefix, SkipReason.TOO_MANY, "the folder holds too many entries")
                return

    def _names(self, folder: _Folder) -> list[tuple[str, bool]]:
        """Return the names in a folder, each with whether it is a link, sorted."""
        try:
            found = sorted(islice(_scan(folder.real, self._noise), max(self._left, 0) + 1))
        except OSError as error:
            if not folder.prefix:
                raise AccessDenied(
                    "cannot list the folder",
                    why=error.strerror or str(error),
                    fix="check its permissions, or copy it to a place that you can read",
                    file=printable(str(folder.real)),
                ) from error
            self._skip(folder.prefix, SkipReason.UNREADABLE, error.strerror or str(error))
            return []
        allowed = found[: max(self._left, 0)]
        self._left -= len(found)
        return allowed

    def _look(self, folder: _Folder, name: str, is_link: bool) -> _Folder | None:
        """Record one entry; return it instead if it is a folder to walk."""
        path = folder.prefix + name
        if trouble := path_trouble(path):
            self._skip(path, SkipReason.UNREADABLE, trouble)
            return None
        real = folder.real / name
        try:
            if is_link:
                real = Path(os.path.realpath(real, strict=True))
            facts = real.lstat()
        except OSError as error:
            denied = isinstance(error, PermissionError) or not is_link
            reason = SkipReason.UNREADABLE if denied else SkipReason.BROKEN_LINK
            self._skip(path, reason, error.strerror or str(error))
            return None
        if is_link and not any(real.is_relative_to(bound) for bound in self._bounds):
            self._skip(path, SkipReason.ESCAPES, f"leads to {printable(str(real))}")
            return None
        if stat.S_ISDIR(facts.st_mode):
            return self._enter(folder, path, real)
        self._record(path, real, facts)
        return None

    def _enter(self, folder: _Folder, path: str, real: Path) -> _Folder | None:
        if real in folder.above:
            self._skip(path, SkipReason.BROKEN_LINK, "leads in a circle")
            return None
        if len(folder.above) > self._max_depth:
            self._skip(path, SkipReason.TOO_MANY, f"more than {self._max_depth} folders deep")
            return None
        return _Folder(path + "/", real, (*folder.above, real))

    def _record(self, path: str, real: Path, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode):
            self._skip(path, SkipReason.NOT_REGULAR, "a device, pipe or socket")
        elif not os.access(real, os.R_OK):
            self._skip(path, SkipReason.UNREADABLE, "permission denied")
        else:
            self.listing.entries[path] = Entry.of(real, facts)

    def _skip(self, path: str, reason: SkipReason, detail: str) -> None:
        name = printable(path.rstrip("/") or ".")
        self.listing.skipped.append(SkippedFile(name, reason, detail))


def _scan(folder: Path, noise: Collection[str]) -> Iterator[tuple[str, bool]]:
    """Yield the names in `folder` that are not noise, each with whether it is a link."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name not in noise:
                yield entry.name, entry.is_symlink()
