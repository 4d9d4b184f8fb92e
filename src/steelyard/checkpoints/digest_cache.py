"""Digests of files that have not changed since they were computed.

Reading hundreds of gigabytes again to say what was said yesterday helps nobody. An entry holds
for one file as it lies on disk: absolute path, length, modification and change time, inode and
device; any difference, and the entry is void. A file that changed within the last two seconds
is not kept, because its next change might leave the same times behind. The cache is a
convenience, never needed: a damaged one is thrown away, a busy or read-only one is done without.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

T = TypeVar("T")

SETTLE_NS: Final = 2_000_000_000
"""How long a file must have lain unchanged; FAT keeps times in steps of two seconds."""
_MOST_ENTRIES: Final = 20_000
_BUSY_SECONDS: Final = 5.0
_APPLICATION: Final = 0x53796C64
_SCHEMA: Final = """
    CREATE TABLE digests (
        path BLOB NOT NULL, kind TEXT NOT NULL, stamp TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (path, kind)
    )
"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One file as it lies on disk; equal stamps mean that nothing was written in between."""

    path: str
    """Absolute path, links resolved."""
    size: int
    mtime_ns: int
    ctime_ns: int
    """Change time: unlike the modification time, no user can set it back."""
    inode: int
    device: int

    @classmethod
    def of(cls, path: Path, facts: os.stat_result) -> Self:
        """Take the stamp of the file that `facts` were read from."""
        times = facts.st_mtime_ns, facts.st_ctime_ns
        return cls(str(path.absolute()), facts.st_size, *times, facts.st_ino, facts.st_dev)

    @property
    def text(self) -> str:
        """Write down everything but the path."""
        return f"{self.size}:{self.mtime_ns}:{self.ctime_ns}:{self.inode}:{self.device}"


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """How much a cache holds."""

    path: Path
    entries: int
    size: int
    """Bytes on disk."""

    def __str__(self) -> str:
        return f"{self.entries} digests in {self.size} bytes"


class DigestCache:
    """Keep digests in one SQLite file. Safe to share between threads and processes."""

    def __init__(self, path: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._clock = clock

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each operation opens and closes the file by itself."""

    def settled(self, stamp: Stamp) -> bool:
        """Tell whether a file is old enough; ask before reading it, not after."""
        return self._clock() - max(stamp.mtime_ns, stamp.ctime_ns) >= SETTLE_NS

    def get(self, stamp: Stamp, kind: str) -> bytes | None:
        """Return what was kept for a file in exactly this state; None when nothing was.

        Args:
            stamp: The file.
            kind: What was computed and how: algorithm, version, and what else it depends on.
        """
        rows = self._ask(
            "SELECT value FROM digests WHERE path = ? AND kind = ? AND stamp = ?",
            (_key(stamp), kind, stamp.text),
        )
        value = rows[0][0] if rows else None
        return value if isinstance(value, bytes) else None

    def put(self, stamp: Stamp, kind: str, value: bytes) -> None:
        """Keep `value`, in place of what was kept for this path and kind."""
        self._run(
            lambda database: (
                database.execute(
                    "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)",
                    (_key(stamp), kind, stamp.text, value),
                ),
                database.execute(
                    "DELETE FROM digests WHERE rowid <= (SELECT max(rowid) FROM digests) - ?",
                    (_MOST_ENTRIES,),
                ),
            )
        )

    def clear(self) -> None:
        """Forget everything."""
        self._discard()

    def info(self) -> CacheInfo:
        """Count what is kept."""
        rows = self._ask("SELECT count(*) FROM digests", ())
        entries = rows[0][0] if rows else 0
        size = self.path.stat().st_size if self.path.exists() else 0
        return CacheInfo(self.path, entries if isinstance(entries, int) else 0, size)

    def _ask(self, question: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        """Answer a query; nothing when there is no cache."""
        if not self.path.exists():
            return []
        return self._run(lambda database: database.execute(question, values).fetchall()) or []

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do one piece of work in one transaction; None when SQLite or the disk cannot."""
        for _ in range(2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
                with closing(connection), connection:
                    _prepare(connection)
                    return work(connection)
            except (sqlite3.OperationalError, sqlite3.DataError, OSError):
                return None  # busy, read-only or full: the answer is computed without it
            except sqlite3.DatabaseError:
                self._discard()  # damaged: start afresh, once
        return None

    def _discard(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink()


def _prepare(database: sqlite3.Connection) -> None:
    """Make the table in an empty file; refuse a database that is somebody else's."""
    if _is_ours(database):
        return
    # Another process may be doing the same: whoever holds the lock looks again.
    database.execute("BEGIN IMMEDIATE")
    if _is_ours(database):
        return
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.OperationalError("not a digest cache")
    database.execute(f"PRAGMA application_id = {_APPLICATION}")
    database.execute(_SCHEMA)


def _is_ours(database: sqlite3.Connection) -> bool:
    mark: int = database.execute("PRAGMA application_id").fetchone()[0]
    return mark == _APPLICATION


def _key(stamp: Stamp) -> bytes:
    """Return the path as bytes: it may hold bytes that are no text."""
    return os.fsencode(stamp.path)
