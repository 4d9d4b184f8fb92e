"""Verify a model: does the signature hold, and is every file what was signed.

The signature is checked in a thread of its own while files are read, which takes a second at most;
if it does not hold, reading stops, and nothing is said of the files. Every byte is hashed anew,
unless the caller trusts a cache: what a signature protects against may have happened to the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.signatures import (
    LARGEST,
    FileChange,
    Happened,
    SignedManifest,
    covers,
    file_changes,
    parse_signature,
)
from steelyard.checkpoints.tensors import ProblemKind
from steelyard.errors import SourceError, SourceNotFound, SteelyardError
from steelyard.progress import NoProgress, Progress
from steelyard.sealing.digesting import SINGLE, Subject, digest_files
from steelyard.sealing.openssf import Trust, digest_like, refusal, require
from steelyard.sealing.signing import signature_path
from steelyard.sources.paths import printable


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a model is what somebody signed."""

    source: str
    signature: Path
    signed: SignedManifest
    refused: str | None
    """Why the signature does not hold; None when it does."""
    changes: tuple[FileChange, ...] = ()
    """Files that are not as they were signed; empty, too, where the signature does not hold."""
    why: Mapping[str, str] | None = None
    """What else is known of changed files, by path."""
    ignored: tuple[str, ...] = ()
    """What is there and was not looked at."""
    files: int = 0
    """How many files were compared."""

    @property
    def verified(self) -> bool:
        """Tell whether the signature holds and every file is as it was signed."""
        return self.refused is None and not self.changes


def verify(
    spec: str | Path,
    trust: Trust,
    *,
    signature: Path | None = None,
    ignore: Iterable[str] = (),
    ignore_unsigned: bool = False,
    allow_symlinks: bool = False,
    cache: DigestCache | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Verify the signature of a model, and every file that it covers.

    Args:
        spec: A folder or file on this machine.
        trust: Whose signature is believed.
        signature: The signature; see `signing.signature_path` if not given.
        ignore: Paths within the folder that may differ, beside those that the signer left out.
        ignore_unsigned: Accept files that were added since.
        allow_symlinks: Follow links that stay within the folder; the signer's word counts, too.
        cache: Where digests of unchanged files are kept; None to read every byte.
        progress: Told of the bytes done.

    Raises:
        SourceError: If the model or the signature cannot be read.
        CheckpointError: If the signature is damaged.
        ConfigError: If keys cannot be read, or the libraries are missing.
    """
    require()
    path = signature or signature_path(spec)
    said = parse_signature(_read(path), printable(str(path)))
    with ThreadPoolExecutor(1, "signature") as pool:
        asked = pool.submit(refusal, said, trust)
        wanted = _Wanted(path, tuple(each.strip("/") for each in ignore), allow_symlinks, cache)
        try:
            found = _compared(spec, said, wanted, asked, progress or NoProgress())
        except (_Refused, SteelyardError):
            # Nothing that is said of the files counts where the signature does not hold.
            refused = asked.result()
            if refused is None:
                raise
            return Verification(str(spec), path, said, refused)
        refused = asked.result()
    if refused is not None:
        return Verification(str(spec), path, said, refused)
    changes = found.changes
    if ignore_unsigned:
        changes = tuple(each for each in changes if each.happened is not Happened.ADDED)
    return replace(found, changes=changes)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How files are compared with a signature."""

    signature: Path
    ignore: tuple[str, ...]
    allow_symlinks: bool
    cache: DigestCache | None


class _Refused(Exception):  # noqa: N818  never leaves this module
    """The signature does not hold, so nothing more need be read."""


class _Asking:
    """Pass on progress, and stop reading once the signature is known not to hold."""

    def __init__(self, progress: Progress, asked: Future[str | None]) -> None:
        self._progress = progress
        self._asked = asked

    def start(self, task: str, total: int) -> None:
        """Pass on the start."""
        self._progress.start(task, total)

    def advance(self, amount: int) -> None:
        """Pass on what is done, unless it was in vain."""
        if self._asked.done() and (self._asked.exception() or self._asked.result() is not None):
            raise _Refused
        self._progress.advance(amount)

    def stop(self) -> None:
        """Pass on the end."""
        self._progress.stop()


def _compared(
    spec: str | Path,
    said: SignedManifest,
    wanted: _Wanted,
    asked: Future[str | None],
    progress: Progress,
) -> Verification:
    """Set every file beside what the signature lists."""
    with Subject.open(spec) as subject:
        own = subject.within(wanted.signature)
        left_out = (*said.ignored, *((own,) if own else ()), *wanted.ignore)
        links = wanted.allow_symlinks or said.serialization.get("allow_symlinks") is True
        before = {name: sum_ for name, sum_ in said.digests.items() if covers(wanted.ignore, name)}
        if said.by_file:
            files = subject.files(left_out, allow_symlinks=links)
            watch = _Asking(progress, asked)
            now: Mapping[str, str] = digest_files(
                subject, files, cache=wanted.cache, progress=watch
            ).files
        elif asked.result() is None:
            found = digest_like(said, subject.path)
            now = {name: value for name, value in found.items() if covers(left_out, name)}
        else:
            raise _Refused
        changes = file_changes(before, now)
        there = (each for each in left_out if each != own and (subject.path / each).exists())
        return Verification(
            source=str(spec),
            signature=wanted.signature,
            signed=said,
            refused=None,
            changes=changes,
            why=_reasons(subject, changes),
            ignored=() if subject.single else tuple(sorted(set(there))),
            files=len(now),
        )


def _reasons(subject: Subject, changes: Iterable[FileChange]) -> Mapping[str, str]:
    """Say of changed files what their readers say: that one ends early, for example."""
    changed = {each.path for each in changes if each.happened is Happened.CHANGED}
    if not changed:
        return {}
    told: dict[str | None, str] = {}
    model, trouble = subject.read()
    if trouble is not None:
        told[trouble.file] = trouble.what
    if model is not None:
        problems = (*model.problems, *(p for weights in model.weights for p in weights.problems))
        kinds = (ProblemKind.UNREADABLE, ProblemKind.BAD_DOCUMENT)
        told |= {problem.file: problem.what for problem in problems if problem.kind in kinds}
    told |= {file.path: "it is empty" for file in subject.source.files if file.size == 0}
    if subject.single:
        told[SINGLE] = next(iter(told.values()), "")
    return {path: told[path] for path in changed if told.get(path)}


def _read(path: Path) -> bytes:
    """Read a signature file, which may be anything at all, within bounds."""
    try:
        # A pipe would keep us waiting, so it is not opened.
        size = path.stat().st_size if path.is_file() else None
        if size is not None and size <= LARGEST:
            with path.open("rb") as stream:
                return stream.read(LARGEST)
        why = "no file" if size is None else f"more than {LARGEST:,} bytes"
        fix = "name it: --signature FILE; steelyard sign makes one"
        raise SourceNotFound("there is no signature", why=why, fix=fix, file=printable(str(path)))
    except OSError as error:
        why = error.strerror or str(error)
        raise SourceError("cannot be read", why=why, file=printable(str(path))) from error
