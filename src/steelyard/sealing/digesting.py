"""One pass over the bytes of a model that feeds every digest.

SHA-256 of each file (for signatures and locks) and the identity of the weights are computed while
the bytes go by once; what the cache remembers of unchanged files is not read at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digests import Digests, digest
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError, SourceError
from steelyard.progress import NoProgress, Progress
from steelyard.sealing.listing import sealed_files
from steelyard.sources import Network, Source, open_source
from steelyard.sources.paths import printable

SINGLE = "."
"""How OpenSSF model signing names the file where the model is one file."""


class Subject(AbstractContextManager["Subject"]):
    """A model on this machine that is to be sealed or verified; close it after use."""

    def __init__(self, spec: str | Path) -> None:
        self.source: Source = open_source(str(spec), network=Network(offline=True))
        self.path = Path(spec)
        self.single = self.source.kind == "file"

    @classmethod
    def open(cls, spec: str | Path) -> Self:
        """Open a folder or file.

        Raises:
            SourceError: If it is not on this machine, or cannot be read.
        """
        if "://" in str(spec):
            raise SourceError(
                "only files on this machine can be signed and verified",
                why="whoever serves remote files can serve others the next time",
                fix="download them and name the folder",
                file=printable(str(spec)),
            )
        return cls(spec)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.source.close()

    def within(self, path: Path) -> str | None:
        """Return the path of a file within the model's folder; None if it lies elsewhere."""
        if self.single:
            return None
        folder, place = self.path.resolve(), path.parent.resolve() / path.name
        return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else None

    def files(
        self, ignored: Iterable[str] = (), *, allow_symlinks: bool = False
    ) -> Mapping[str, Path]:
        """List the files that a signature covers; see `sealed_files`."""
        if not self.single:
            return sealed_files(self.path, ignored, allow_symlinks=allow_symlinks)
        if self.path.is_symlink() and not allow_symlinks:
            raise SourceError(
                "is a symbolic link, which no signature covers",
                fix="name the file itself, or say --allow-symlinks",
                file=printable(str(self.path)),
            )
        return {SINGLE: self.path.resolve()}

    def read(self) -> tuple[Model | None, CheckpointError | None]:
        """Read headers and documents; where the weights cannot be read, return why instead."""
        # Every reader of every format: a verification that goes well needs none of them.
        from steelyard.checkpoints.opening import read_model

        try:
            return read_model(self.source), None
        except CheckpointError as error:
            return None, error


@dataclass(frozen=True, slots=True)
class Digested:
    """The digests of one model."""

    files: Mapping[str, str]
    """SHA-256 in hex by path."""
    weights: Digests
    notes: tuple[str, ...] = ()


def digest_files(
    subject: Subject,
    files: Mapping[str, Path],
    model: Model | None = None,
    *,
    cache: DigestCache | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Digested:
    """Compute the SHA-256 of files and, where a model is given, its identity in the same pass.

    Args:
        subject: Where the files lie.
        files: The files, as `Subject.files` lists them.
        model: The model that they hold.
        cache: Where digests of unchanged files are kept; None to read every byte.
        progress: Told of the bytes done.
        workers: Threads that read and hash; None for one a core.

    Raises:
        SourceError: If a file cannot be read or changes while it is read.
    """
    # The source calls its one file by its name.
    names = {SINGLE: subject.source.files[0].path} if subject.single else {}
    found = digest(
        subject.source,
        model.main if model is not None else None,
        also={names.get(path, path): place for path, place in files.items()},
        cache=cache,
        progress=progress or NoProgress(),
        workers=workers,
    )
    sums = {path: found.files[names.get(path, path)].sha256 for path in files}
    return Digested(sums, found, found.notes)
