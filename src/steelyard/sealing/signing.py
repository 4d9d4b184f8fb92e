"""Sign a model: digests in one pass, then a signature over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.signatures import GIT_PATHS, SIGNATURE_NAME, covers
from steelyard.errors import ConfigError
from steelyard.progress import Progress
from steelyard.sealing.digesting import Subject, digest_files
from steelyard.sealing.openssf import Signer, load, make_signature, require, unlocked
from steelyard.sources.paths import printable
from steelyard.writing import whole_file

_HUB_NOTES: Final = ".cache/huggingface/"


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed."""

    path: Path
    """The signature file."""
    files: int
    """How many files it covers."""
    size: int
    """Bytes of the files that it covers."""
    ignored: tuple[str, ...]
    """What it leaves out, and is there."""
    identity: str | None
    """The identity of the weights, `b3:...`; no part of the signature, but known now."""
    notes: tuple[str, ...] = ()


def signature_path(spec: str | Path) -> Path:
    """Return where the signature of a model lies: in its folder, or beside its one file."""
    path = Path(spec)
    return path / SIGNATURE_NAME if path.is_dir() else path.with_name(f"{path.name}.sig")


def sign(
    spec: str | Path,
    signer: Signer,
    *,
    signature: Path | None = None,
    ignore: Iterable[str] = (),
    allow_symlinks: bool = False,
    replace: bool = False,
    cache: DigestCache | None = None,
    progress: Progress | None = None,
) -> Signed:
    """Sign every file of a model in the format of OpenSSF model signing.

    Args:
        spec: A folder or file on this machine.
        signer: With what to sign.
        signature: Where to write the signature; see `signature_path` if not given.
        ignore: Paths within the folder to leave out, beside those of git and the signature.
        allow_symlinks: Follow links that stay within the folder.
        replace: Write over a signature that is there.
        cache: Where digests of unchanged files are kept.
        progress: Told of the bytes done.

    Raises:
        SourceError: If a file cannot be read or changes meanwhile, or there is a link.
        ConfigError: If keys do not serve, the signature cannot be written, or there is one.
    """
    require()
    target = signature or signature_path(spec)
    _refuse_to_replace(target, replace=replace)
    key = unlocked(signer)
    with Subject.open(spec) as subject:
        own = subject.within(target)
        left_out = _left_out(subject, own, ignore)
        files = subject.files(left_out, allow_symlinks=allow_symlinks)
        if not files:
            raise ConfigError("there is nothing to sign", why="no file is left", file=str(spec))
        model, trouble = subject.read()
        with ThreadPoolExecutor(1, "libraries") as pool:
            loading = pool.submit(load)
            digested = digest_files(subject, files, model, cache=cache, progress=progress)
            loading.result()
        made = make_signature(
            digested.files,
            signer,
            key=key,
            model=subject.path.resolve().name,
            ignored=left_out,
            allow_symlinks=allow_symlinks,
        )
        _write(target, made)
        there = (path for path in left_out if path != own and (subject.path / path).exists())
        unknown = () if trouble is None else (f"identity unknown: {trouble}",)
        return Signed(
            path=target,
            files=len(files),
            size=sum(place.stat().st_size for place in files.values()),
            ignored=tuple(there),
            identity=digested.weights.root,
            notes=(*unknown, *_doubts(files), *digested.notes),
        )


def _doubts(files: Iterable[str]) -> Iterator[str]:
    """Say what was signed that will hardly be published."""
    if any(path.startswith(_HUB_NOTES) for path in files):
        yield f"{_HUB_NOTES} is left by hf download and was signed; --ignore .cache leaves it out"


def _refuse_to_replace(target: Path, *, replace: bool) -> None:
    """Keep a signature that is there, unless the user gives it up."""
    if target.exists() and not replace:
        raise ConfigError(
            "there is a signature already",
            why="it may be another's, and what it vouches for would be lost",
            fix="say --force to replace it, or --signature FILE to write another",
            file=printable(str(target)),
        )


def _left_out(subject: Subject, own: str | None, ignore: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that the signature does not cover; none where the model is one file."""
    if subject.single:
        return ()
    wanted = [path.strip("/") for path in ignore]
    for path in wanted:
        if not path or ".." in path.split("/"):
            raise ConfigError(f"--ignore {path!r} names nothing within the folder")
    paths = (*GIT_PATHS, *((own,) if own else ()), *wanted)
    # What lies below a path that is left out need not be named.
    return tuple(sorted({p for p in paths if covers(tuple(o for o in paths if o != p), p)}))


def _write(target: Path, data: bytes) -> None:
    """Write the signature, whole or not at all."""
    try:
        with whole_file(target) as stream:
            stream.write(data)
    except OSError as error:
        raise ConfigError(
            "the signature cannot be written",
            why=error.strerror or str(error),
            fix="name another place: --signature FILE",
            file=printable(str(target)),
        ) from error
