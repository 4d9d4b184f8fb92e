"""The identity of weights: one digest that is the same in every container.

Each tensor's bytes are hashed with BLAKE3 and the digests are hashed together (see `merkle`).
So that the same weights have the same identity whatever file they came in:

- names are canonical (`naming.canonical_names`), and leaves are sorted by them;
- bytes are row-major and little-endian, varints decoded, quantized blocks as stored
  (`data.chunks`);
- rows of queries and keys that llama.cpp's converter reordered are put back in order;
- F16 and BF16 tensors of at most one dimension are hashed as the F32 that equals them, because
  that converter widens them;
- an output head, or a stack's own embedding, with the bytes of the input embedding is the same
  weight and is left out;
- everything else that is stored counts, buffers too.

Files are read once, for the identity and for their SHA-256. Remote files are not read at all.
Why these rules and no others: docs/adr/0002-identity.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from blake3 import blake3

from steelyard.checkpoints import merkle
from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digest_jobs import Ask, FilePlan, compute
from steelyard.checkpoints.digest_runs import Span, changed, stamp_of, swap_width
from steelyard.checkpoints.naming import canonical_names, gguf_permutation
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, VARINT, Checkpoint, ProblemKind, Tensor
from steelyard.facts import Basis
from steelyard.progress import NoProgress, Progress
from steelyard.sources.base import Source, SourceFile

SCHEME: Final = "1"
"""Version of the rules above; digests of another version are not taken from a cache."""
_MOST_WORKERS: Final = 16
_MOST_EXPANSION: Final = 16
_EXPANSION_FREE: Final = 1 << 30
_INCOMPLETE: Final = frozenset({ProblemKind.MISSING_SHARD, ProblemKind.UNREADABLE})
_EMBEDDINGS: Final = ("embedding.weight", "encoder.embedding.weight", "decoder.embedding.weight")
"""Canonical names of input embeddings; of equal ones the first is the original."""
_HEADS: Final = ("output_head.weight", "decoder.output_head.weight")
_EMPTY: Final = blake3(b"").digest()


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor and the digest of its canonical bytes."""

    name: str
    """As the container names it."""
    canonical: str
    dtype: str
    """Element type that was hashed: `F32` for what was widened."""
    encoding: str
    """Encoding that was hashed: `plain` for what was decoded."""
    shape: tuple[int, ...]
    digest: bytes
    """BLAKE3, 32 bytes."""
    tied: bool = False
    """True for a copy of the input embedding, which is no leaf of the identity."""

    @property
    def leaf(self) -> bytes:
        """Return the leaf of the Merkle tree, not yet hashed."""
        return merkle.leaf(self.canonical, self.dtype, self.encoding, self.shape, self.digest)

    @property
    def text(self) -> str:
        """Write the digest as `b3:` and 64 hex digits."""
        return f"b3:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class FileDigest:
    """The SHA-256 of a file, 64 lowercase hex digits, and how it is known."""

    sha256: str
    basis: Basis
    """`MEASURED`, or `DECLARED` where the hub states it and nobody checked."""


@dataclass(frozen=True, slots=True)
class Digests:
    """What was computed for one weights set."""

    root: str | None
    """The identity, `b3:` and 64 hex digits; None when unknown, and then a note says why."""
    tensors: tuple[TensorDigest, ...]
    """In the order of the leaves; empty when unknown."""
    files: Mapping[str, FileDigest]
    """By path, for the files whose SHA-256 is known."""
    notes: tuple[str, ...] = ()
    """What a person should know: why something is unknown, or does not agree."""


def digest(
    source: Source,
    checkpoint: Checkpoint | None,
    *,
    also: Mapping[str, Path] | None = None,
    sha256: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
    cache: DigestCache | None = None,
) -> Digests:
    """Compute the identity of a weights set, and the SHA-256 of its files.

    Args:
        source: Where the files lie.
        checkpoint: The weights set; None where only other files are to be hashed.
        also: Further files on this machine whose SHA-256 is wanted, by path within the source,
            each with its place on disk; they need not be among the files that the source lists.
        sha256: Compute the SHA-256 of each file of the weights set in the same pass.
        workers: Threads that read and hash; None for one a core (at most 16).
        progress: Told of the bytes done.
        cache: Where digests of unchanged files are kept.

    Raises:
        SourceError: If a file cannot be read or changes while it is read.
    """
    names = _names(checkpoint)
    listed = {file.path: file for file in source.files if file.path in names}
    stated = {name: file.sha256 for name, file in listed.items() if file.sha256}
    declared = {name: FileDigest(sha, Basis.DECLARED) for name, sha in stated.items()}
    if any(source.local_path(name) is None for name in listed):
        return Digests(None, (), declared, ("identity unknown: remote weights are not downloaded",))
    asks, trouble = _asks(checkpoint, names, listed)
    plans = _plan(source, listed, () if trouble else asks)
    others = {name: path for name, path in (also or {}).items() if name not in listed}
    plans += [FilePlan(name, stamp_of(name, path), ()) for name, path in sorted(others.items())]
    notes = [trouble] if trouble else []
    if cache is not None:
        for plan in plans:
            plan.settled = cache.settled(plan.stamp)
            _recall(plan, cache)
    wanted = frozenset(plan.name for plan in plans if sha256 or plan.name in others)
    notes += compute(source, plans, wanted, workers or _cores(), progress or NoProgress())
    for plan in plans:
        if cache is not None and plan.settled:
            _remember(plan, cache)
    measured = {p.name: FileDigest(p.sha256, Basis.MEASURED) for p in plans if p.sha256}
    notes += _disagreements(stated, measured)
    known = {ask: value for plan in plans for ask, value in plan.known.items()}
    tensors: tuple[TensorDigest, ...] = ()
    whole = all(ask in known or not ask.nbytes for ask in asks) and not trouble
    if checkpoint is not None and asks and whole:
        tensors = _digests(checkpoint, [known.get(ask, _EMPTY) for ask in asks])
    root = identity(tensors) if tensors else None
    return Digests(root, tensors, {**declared, **measured}, tuple(notes))


def _names(checkpoint: Checkpoint | None) -> Sequence[str]:
    """Name the files of a weights set, and those that its tensors lie in."""
    if checkpoint is None:
        return ()
    return sorted({*checkpoint.files, *(tensor.file for tensor in checkpoint.tensors)})


def _asks(
    checkpoint: Checkpoint | None, names: Sequence[str], listed: Mapping[str, SourceFile]
) -> tuple[Sequence[Ask], str]:
    """Say how each tensor is hashed, and why none can be; empty where all can."""
    if checkpoint is None:
        return (), ""
    asks = [_ask(checkpoint, tensor) for tensor in checkpoint.tensors]
    return asks, _incomplete(checkpoint, names, listed) or _beyond_reason(asks, listed)


def _cores() -> int:
    """Count the cores that this process may use, up to where memory becomes the limit."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, _MOST_WORKERS)


def _disagreements(stated: Mapping[str, str], measured: Mapping[str, FileDigest]) -> Iterator[str]:
    for name, found in measured.items():
        if stated.get(name, found.sha256) != found.sha256:
            yield f"{name}: SHA-256 is {found.sha256}, but its source states {stated[name]}"


def identity(tensors: Sequence[TensorDigest]) -> str:
    """Return the identity over tensors in any order, as `b3:` and 64 hex digits."""
    counted = (tensor for tensor in tensors if not tensor.tied)
    leaves = sorted((t.canonical.encode("utf-8", "surrogatepass"), t.leaf) for t in counted)
    return f"b3:{merkle.root(leaf for _, leaf in leaves).hex()}"


def _digests(checkpoint: Checkpoint, values: Sequence[bytes]) -> tuple[TensorDigest, ...]:
    names = canonical_names(tensor.name for tensor in checkpoint.tensors)
    found = [
        TensorDigest(
            tensor.name,
            names[tensor.name],
            "F32" if _widen(tensor) else tensor.dtype,
            PLAIN if tensor.encoding == VARINT else tensor.encoding,
            tensor.shape,
            value,
        )
        for tensor, value in zip(checkpoint.tensors, values, strict=True)
    ]
    found.sort(key=lambda tensor: tensor.canonical.encode("utf-8", "surrogatepass"))
    return tuple(_tie(found))


def _tie(tensors: Sequence[TensorDigest]) -> Iterator[TensorDigest]:
    """Mark the copies of an input embedding."""
    content = {
        tensor.canonical: (tensor.dtype, tensor.encoding, tensor.shape, tensor.digest)
        for tensor in tensors
        if tensor.canonical in _EMBEDDINGS or tensor.canonical in _HEADS
    }
    originals: dict[object, str] = {}
    for name in _EMBEDDINGS:
        if name in content:
            originals.setdefault(content[name], name)
    for tensor in tensors:
        original = originals.get(content.get(tensor.canonical), tensor.canonical)
        yield tensor if original == tensor.canonical else replace(tensor, tied=True)


def _widen(tensor: Tensor) -> str:
    """Name the type that a tensor is widened from; empty for those that are left as they are."""
    small = tensor.dtype in ("F16", "BF16") and tensor.encoding in (PLAIN, VARINT)
    return tensor.dtype if small and len(tensor.shape) <= 1 else ""


def _ask(checkpoint: Checkpoint, tensor: Tensor) -> Ask:
    """Say how a tensor's bytes are hashed."""
    plain = tensor.encoding == PLAIN
    big = plain and tensor.byteorder == "big"
    swap = swap_width(tensor.dtype) if big else 1
    heads = gguf_permutation(checkpoint, tensor)
    if heads is not None and tensor.offset is not None and tensor.nbytes % tensor.shape[0] == 0:
        nameless = replace(tensor, name="")
        return Ask(tensor.file, None, nameless, heads, _widen(tensor), swap, tensor.name)
    whole = not plain or tensor.nbytes * 8 == tensor.elements * DTYPE_BITS[tensor.dtype]
    simple = whole and tensor.strides is None and tensor.encoding != VARINT
    if tensor.offset is None or not simple:
        nameless = replace(tensor, name="")
        return Ask(tensor.file, None, nameless, None, _widen(tensor), name=tensor.name)
    return Ask(tensor.file, Span(tensor.offset, tensor.nbytes, _widen(tensor), swap))


def _plan(source: Source, listed: Mapping[str, SourceFile], asks: Sequence[Ask]) -> list[FilePlan]:
    """Gather what is asked of each file, and note how the file is now."""
    wanted: dict[str, dict[Ask, None]] = {name: {} for name in listed}
    for ask in asks:
        if ask.nbytes:
            wanted[ask.file][ask] = None
    plans = []
    for name, file in listed.items():
        path = source.local_path(name)
        if path is None:
            raise changed(name)
        stamp = stamp_of(name, path)
        # Opening makes sure that this is still the file whose headers were read.
        with source.open(name) as reader:
            if reader.size != stamp.size or stamp.size != file.size:
                raise changed(name)
        plans.append(FilePlan(name, stamp, tuple(wanted[name])))
    return plans


def _recall(plan: FilePlan, cache: DigestCache) -> None:
    value = cache.get(plan.stamp, f"tensors/{SCHEME}") or b""
    if value[:32] == plan.fingerprint and len(value) == 32 * (1 + len(plan.asks)):
        cut = (value[start : start + 32] for start in range(32, len(value), 32))
        plan.known = dict(zip(plan.asks, cut, strict=True))
    kept = cache.get(plan.stamp, "sha256")
    plan.sha256 = kept.hex() if kept is not None and len(kept) == 32 else None


def _remember(plan: FilePlan, cache: DigestCache) -> None:
    if plan.asks and len(plan.known) == len(plan.asks):
        values = (plan.known[ask] for ask in plan.asks)
        cache.put(plan.stamp, f"tensors/{SCHEME}", b"".join((plan.fingerprint, *values)))
    if plan.sha256:
        cache.put(plan.stamp, "sha256", bytes.fromhex(plan.sha256))


def _beyond_reason(asks: Sequence[Ask], listed: Mapping[str, SourceFile]) -> str:
    """Refuse tensors that claim far more bytes, by overlap or compression, than files hold."""
    claimed = sum(ask.nbytes for ask in set(asks))
    stored = sum(file.size for file in listed.values())
    if claimed <= stored * _MOST_EXPANSION + _EXPANSION_FREE:
        return ""
    return f"identity unknown: tensors claim {claimed} bytes of files that hold {stored}"


def _incomplete(
    checkpoint: Checkpoint, names: Sequence[str], listed: Mapping[str, SourceFile]
) -> str:
    """Say what is missing; empty when nothing is."""
    lost = [problem.what for problem in checkpoint.problems if problem.kind in _INCOMPLETE]
    lost += [f"{name} is not there" for name in names if name not in listed]
    return f"identity unknown: the weights are incomplete: {lost[0]}" if lost else ""
