"""Take a model's snapshot: what its lock says, and the model itself while it is open."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import JsonValue

from steelyard.analyzers.card.document import find_card
from steelyard.analyzers.card.sections import outline
from steelyard.auditing import Options, audit
from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digests import SCHEME, Digests, digest
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.naming import canonical_names
from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.signatures import GIT_PATHS, SIGNATURE_NAME, covers
from steelyard.errors import SourceError
from steelyard.facts import FactBook, Interval, Value
from steelyard.progress import NoProgress, Progress
from steelyard.sealing.listing import sealed_files
from steelyard.sealing.lock_document import (
    LARGEST,
    LOCK_NAME,
    LockDocument,
    LockedCard,
    LockedFile,
    LockedTensor,
    LockedWeights,
    is_lock,
    read_lock,
    tensor_texts,
)
from steelyard.sealing.templates import templates
from steelyard.sealing.tokenizers import TokenizerAtHand, read_tokenizer
from steelyard.sources import Network, Source, open_source
from steelyard.sources.paths import printable
from steelyard.version import VERSION

UNLOCKED: Final = (*GIT_PATHS, ".cache", SIGNATURE_NAME, LOCK_NAME)
"""What no lock covers, at the root: what git and downloads leave, the signature, the lock."""
DESKTOP: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What desktops leave in any folder."""
_REMOTE_BYTES: Final = 16_000_000
"""Largest remote file that is fetched for its digest."""
_HEAD: Final = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model as it is, or a lock that says how it was."""

    name: str
    """As the user named it."""
    lock: LockDocument
    model: Model | None = None
    """None for what is only a lock."""
    templates: Mapping[str, str] | None = None
    tokenizer: TokenizerAtHand | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to take a snapshot."""

    network: Network = field(default_factory=lambda: Network(offline=True))
    cache: DigestCache | None = None
    """Where digests of unchanged files are kept; None to read every byte."""
    progress: Progress = field(default_factory=NoProgress)
    lineage: bool = True
    """Look for the origin of the weights, too."""
    without: tuple[Path, ...] = ()
    """Files that are left out wherever they lie: the lock that is being written."""


def take(spec: str | Path, stack: ExitStack, wanted: Wanted) -> Snapshot:
    """Read a lock file, or a model with every digest in one pass.

    Args:
        spec: A lock file, or a source.
        stack: What closes the source.
        wanted: How to take it.

    Raises:
        SourceError: If it cannot be read or changes meanwhile.
        CheckpointError: If no weights of it can be read, or a lock is damaged.
    """
    kept = _as_lock(spec)
    if kept is not None:
        return Snapshot(str(spec), kept)
    source = open_source(str(spec), network=wanted.network)
    stack.callback(source.close)
    model = read_model(source)
    files, digests = _digests(source, model, wanted)
    book = audit(
        source,
        as_of=date.min,
        options=Options(
            digest=False,
            packs=(),
            allow_empty=True,
            lineage=wanted.lineage,
            network=wanted.network,
        ),
    ).book
    texts = templates(model)
    tokenizer = read_tokenizer(model)
    lock = LockDocument(
        steelyard=VERSION,
        source=source.spec if source.kind in ("hub", "url") else None,
        revision=source.revision,
        files=files,
        weights=_weights(model, digests),
        templates={place: _sha256(text) for place, text in texts.items()},
        tokenizer=None if tokenizer is None else tokenizer.locked,
        license=_facts(book, "license."),
        card=_card(model),
        lineage=_facts(book, "lineage.") if wanted.lineage else None,
    )
    return Snapshot(str(spec), lock, model, texts, tokenizer, digests.notes)


def _as_lock(spec: str | Path) -> LockDocument | None:
    """Read a lock; None if it is something else."""
    path = Path(spec)
    if "://" in str(spec) or not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            if path.suffix != ".lock" and not is_lock(head):
                return None
            data = head + stream.read(LARGEST)
    except OSError as error:
        why = error.strerror or str(error)
        raise SourceError("cannot be read", why=why, file=printable(str(path))) from error
    return read_lock(data, printable(str(path)))


def _digests(source: Source, model: Model, wanted: Wanted) -> tuple[dict[str, LockedFile], Digests]:
    """Compute every digest in one pass; of remote files take what the hub states."""
    places = _places(source, wanted.without)
    found = digest(source, model.main, also=places, cache=wanted.cache, progress=wanted.progress)
    sizes = {file.path: file.size for file in source.files}
    files: dict[str, LockedFile] = {}
    for path, place in (places or {}).items():
        size = sizes[path] if path in sizes else place.stat().st_size
        files[path] = LockedFile(size=size, sha256=found.files[path].sha256)
    for file in source.files if places is None else ():
        if covers(UNLOCKED, file.path):
            files[file.path] = _remote(source, file.path, file.size, file.sha256)
    return files, found


def _places(source: Source, without: Iterable[Path]) -> Mapping[str, Path] | None:
    """List the files on this machine; None where they are remote."""
    if source.kind in ("hub", "url"):
        return None
    if source.kind == "file":
        path = source.files[0].path
        place = source.local_path(path)
        return {path: place} if place is not None else None
    left_out = {path.resolve() for path in without}
    folder = _folder(source)
    if folder is None:
        listed = ((file.path, source.local_path(file.path)) for file in source.files)
        found = {path: place for path, place in listed if place is not None}
    else:
        found = dict(sealed_files(folder, UNLOCKED, allow_symlinks=True))
    return {
        path: place
        for path, place in found.items()
        if place not in left_out and PurePosixPath(path).name not in DESKTOP
    }


def _folder(source: Source) -> Path | None:
    """Return the folder of a source; None where the hub's cache was asked for by name."""
    path = Path(source.spec)
    return path if source.kind == "folder" and path.is_dir() else None


def _remote(source: Source, path: str, size: int, stated: str | None) -> LockedFile:
    if stated is not None:
        return LockedFile(size=size, sha256=stated, basis="declared")
    if size > _REMOTE_BYTES:
        return LockedFile(size=size, sha256=None)
    with source.open(path) as reader:
        data = reader.read(0, size)
    return LockedFile(size=size, sha256=hashlib.sha256(data).hexdigest())


def _weights(model: Model, digests: Digests) -> LockedWeights | None:
    main = model.main
    if main is None:
        return None
    tensors = {
        each.canonical: LockedTensor(each.dtype, each.encoding, each.shape, each.text)
        for each in digests.tensors
        if not each.tied
    }
    if not tensors:
        names = canonical_names(tensor.name for tensor in main.tensors)
        tensors = {
            names[each.name]: LockedTensor(each.dtype, each.encoding, each.shape)
            for each in main.tensors
        }
    return LockedWeights(
        identity=digests.root,
        scheme=SCHEME,
        format=main.format,
        parameters=sum(tensor.elements for tensor in main.tensors),
        tensors=tensor_texts(tensors),
    )


def _card(model: Model) -> LockedCard | None:
    card = find_card(model)
    if card is None:
        return None
    sections: dict[str, str] = {}
    found = outline(card).sections
    lines = {section.line: section.title for section in found}
    starts = [*sorted(lines), card.first + len(card.body)]
    for start, end in pairwise(starts):
        text = "\n".join(card.body[start - card.first : end - card.first]).strip()
        title = lines[start] or "(start)"
        number = 2
        while title in sections:
            title = f"{lines[start] or '(start)'} ({number})"
            number += 1
        if text:
            sections[title] = _sha256(text)
    return LockedCard(path=card.path, fields=dict(card.fields), sections=sections)


def _facts(book: FactBook, prefix: str) -> dict[str, JsonValue]:
    return dict(_told(book, prefix))


def _told(book: FactBook, prefix: str) -> Iterator[tuple[str, JsonValue]]:
    """Yield the strongest claim of each fact of a family, as JSON."""
    for fact in book:
        if fact.name.startswith(prefix):
            yield fact.name.removeprefix(prefix), _json(fact.value)


def _json(value: Value) -> JsonValue:
    if isinstance(value, frozenset):
        return list[JsonValue](sorted(value))
    if isinstance(value, Interval):
        # Infinity is no JSON number.
        return {"low": _json(value.low), "high": _json(value.high)}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        # The last digits of what is computed differ from processor to processor.
        return float(f"{value:.6g}") if isfinite(value) else None
    return value


def _sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
