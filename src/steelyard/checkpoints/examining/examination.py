"""Look for pickles in every file of a source, and in everything that the files hold.

A file is what its bytes say: a pickle, pickles in a row, a zip or tar, compressed data, an array
of Python objects, or several of these at once. Whatever is found within is looked at again the
same way, down to strings and bytes of pickles. `Findings` hold what would be imported, the call
in words, and what was not examined to its end.

The place of what was found is the file, then each step into it, joined by `!`:
`model.zip!model/data.pkl`, `weights.pkl.gz!gzip`, `a.pkl!base64 at byte 40`. Offsets count in the
innermost of these.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from steelyard.checkpoints.examining.findings import Budget, Findings
from steelyard.checkpoints.examining.looking import Look
from steelyard.checkpoints.filenames import named_like_pickle, named_like_weights
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.problems import PickleImport, Problem
from steelyard.errors import located
from steelyard.sources.base import ByteReader, Source
from steelyard.sources.memory import BytesReader

_AT_ONCE: Final = 1 << 16
_PACKED_SUFFIXES: Final = frozenset(
    {".7z", ".bz2", ".gz", ".lz4", ".lzma", ".nemo", ".rar", ".tar", ".tgz", ".xz", ".z", ".zip",
     ".zst"}
)  # fmt: skip
"""Suffixes of archives and compressed files, for sources where each look is a request."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What the pickles of some files would import, and what of them was not read."""

    imports: tuple[PickleImport, ...] = ()
    """Sorted by file, offset and name."""
    pickles: tuple[str, ...] = ()
    """Places that hold a pickle, sorted."""
    problems: tuple[Problem, ...] = ()
    """What was not examined to its end; never clean."""


def examine(
    source: Source, limits: Limits = DEFAULT_LIMITS, *, known: Set[str] = frozenset()
) -> Examination:
    """Examine every file of a source, by content.

    A remote file is looked into only when it is named like weights or an archive: each look is a
    request.

    Args:
        source: Where the files are.
        limits: Bounds on all of them together.
        known: Remote files that need no look, since their pickles were read already.

    Raises:
        SourceError: If the source fails while it is read.
    """
    budget = Budget(limits)
    parts = []
    for file in source.files:
        remote = source.local_path(file.path) is None
        if not file.size or (remote and (file.path in known or not _worth_a_request(file.path))):
            continue
        with located(file.path), source.open(file.path) as reader:
            parts.append(_look(reader, budget, remote=remote))
    return _joined(parts)


def examine_file(reader: ByteReader, budget: Budget | None = None) -> Examination:
    """Examine one file, by content.

    Args:
        reader: The file; its name tells only whether it is meant to be loaded as a pickle.
        budget: What may be done; one budget can be shared by many files.

    Raises:
        SourceError: If its bytes cannot be fetched.
    """
    return _joined([_look(reader, budget or Budget())])


def _look(reader: ByteReader, budget: Budget, *, remote: bool = False) -> Findings:
    findings = Findings()
    if reader.size <= _AT_ONCE:
        # Several short reads of a small file take longer than one.
        reader = BytesReader(reader.name, reader.read(0, reader.size))
    Look(findings, budget, remote=remote).at(
        reader, reader.name, expected=named_like_pickle(reader.name)
    )
    return findings


def _joined(parts: list[Findings]) -> Examination:
    imports = {found for part in parts for found in part.imports}
    return Examination(
        tuple(sorted(imports, key=lambda found: (found.file, found.offset, found.name))),
        tuple(sorted({place for part in parts for place in part.pickles})),
        tuple(problem for part in parts for problem in part.problems),
    )


def _worth_a_request(path: str) -> bool:
    suffix = PurePosixPath(path).suffix.lower()
    return named_like_weights(path) or suffix in _PACKED_SUFFIXES
