"""Divide the hashing of many tensors among threads.

What is asked of each file becomes jobs: runs, which read a stretch of the file from front to back
(see `digest_runs`), and the tensors that cannot be hashed so, because their elements are
scattered, compressed, or reordered by a converter. Hashing and reading let other threads run, so
threads of one process keep all cores busy; the largest jobs go first, so that none is left over
at the end. Progress is told from the calling thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Final

import numpy as np
from blake3 import blake3

from steelyard.checkpoints.data import chunks
from steelyard.checkpoints.digest_cache import Stamp
from steelyard.checkpoints.digest_runs import (
    BUFFER,
    Buffer,
    Run,
    Span,
    Watch,
    changed,
    hash_run,
    hasher,
    make_buffer,
    stamp_of,
)
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, Tensor
from steelyard.checkpoints.zips import ZipMember, directory
from steelyard.errors import CheckpointError
from steelyard.progress import Progress
from steelyard.sources.base import ByteReader, Source

_RUN_BYTES: Final = 1 << 24
"""Length at which a run is cut, at the end of a tensor."""
_GAP_BYTES: Final = 1 << 16
"""Longest gap between two tensors that is read over rather than skipped."""
_BATCH_BYTES: Final = 1 << 26
"""Length at which a batch of scattered tensors is cut."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Bytes to be hashed as one tensor; tensors on the same bytes ask the same."""

    file: str
    span: Span | None = None
    """Where they lie, when they can be hashed as the file is read from front to back."""
    tensor: Tensor | None = None
    """Otherwise, the tensor (nameless, so that aliases are equal)."""
    heads: int | None = None
    """Number of heads whose rows are to be put back in order."""
    widen: str = ""
    """As in `Span`, for a `tensor`."""
    swap: int = 1
    """As in `Span`, for rows that are put back in order."""
    name: str = field(default="", compare=False, repr=False)
    """The name of the `tensor`, for a person: one of them, where aliases ask the same."""

    @property
    def nbytes(self) -> int:
        """Count the bytes that are hashed, before any widening."""
        if self.span is not None:
            return self.span.nbytes
        if self.tensor is None:
            return 0
        bits = DTYPE_BITS[self.tensor.dtype] if self.tensor.encoding == PLAIN else 0
        return max(self.tensor.nbytes, self.tensor.elements * bits // 8)


@dataclass(slots=True)
class FilePlan:
    """What is wanted of one file, and what is known already."""

    name: str
    stamp: Stamp
    asks: tuple[Ask, ...]
    settled: bool = False
    known: dict[Ask, bytes] = field(default_factory=dict)
    sha256: str | None = None

    @property
    def fingerprint(self) -> bytes:
        """Return a digest of what is asked of the file."""
        return blake3(repr(self.asks).encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one job found out about one file."""

    plan: FilePlan
    digests: Mapping[Ask, bytes]
    sha256: str | None = None
    failures: tuple[tuple[Ask, CheckpointError], ...] = ()


@dataclass(frozen=True, slots=True)
class _Job:
    size: int
    """Bytes to read."""
    work: Callable[[Watch], _Outcome]


def compute(
    source: Source,
    plans: Sequence[FilePlan],
    sha256: Collection[str],
    workers: int,
    progress: Progress,
) -> list[str]:
    """Fill in what the plans do not know yet; return notes on what stays unknown.

    Args:
        source: Where the files lie.
        plans: What is wanted of each file.
        sha256: Names of the files whose SHA-256 is wanted, too.
        workers: Threads that read and hash.
        progress: Told of the bytes done.

    Raises:
        SourceError: If a file cannot be read or changes while it is read.
    """
    buffers: SimpleQueue[Buffer] = SimpleQueue()
    for _ in range(workers):
        buffers.put(make_buffer())
    runs = [(plan, run) for plan in plans for run in _runs(plan, plan.name in sha256)]
    total = sum(run.end - run.start for _, run in runs)
    jobs = []
    for plan, run in runs:
        size = run.end - run.start
        # A tensor larger than the share of one thread would keep the others waiting.
        threads = blake3.AUTO if workers > 1 and size * workers > 1.2 * total else 1
        jobs.append(_Job(size, partial(_hash_run, plan, run, buffers, threads)))
    for plan in plans:
        for batch in _batches(plan):
            size = sum(ask.nbytes for ask in batch)
            jobs.append(_Job(size, partial(_hash_batch, source, plan, batch)))
    failures: dict[str, list[tuple[Ask, CheckpointError]]] = {}
    progress.start("digests", sum(job.size for job in jobs))
    try:
        outcomes = _perform(jobs, workers, progress)
    finally:
        progress.stop()
    for outcome in outcomes:
        outcome.plan.known.update(outcome.digests)
        outcome.plan.sha256 = outcome.sha256 or outcome.plan.sha256
        if outcome.failures:
            failures.setdefault(outcome.plan.name, []).extend(outcome.failures)
    return [_note(name, failures[name]) for name in sorted(failures)]


def _note(file: str, failures: Sequence[tuple[Ask, CheckpointError]]) -> str:
    """Say that tensors of a file cannot be read: one line, however many there are."""
    _, error = min(failures, key=lambda failure: failure[0].name)
    others = len(failures) - 1
    more = f" ({others} more tensors cannot be read either)" if others else ""
    return f"identity unknown: {file}: {error.what}: {error.why}{more}"


def _perform(jobs: Sequence[_Job], workers: int, progress: Progress) -> list[_Outcome]:
    """Do all jobs, the largest first; after an error or an interrupt, stop them all."""
    news: SimpleQueue[int | None] = SimpleQueue()
    stop = Event()

    def watch(count: int) -> None:
        if stop.is_set():
            raise CancelledError
        news.put(count)

    def finished(future: Future[_Outcome]) -> None:
        if future.exception() is not None:
            stop.set()
        news.put(None)

    futures: list[Future[_Outcome]] = []
    with ThreadPoolExecutor(workers, "digest") as pool:
        try:
            for job in sorted(jobs, key=lambda job: -job.size):
                futures.append(pool.submit(job.work, watch))
                futures[-1].add_done_callback(finished)
            _follow(news, len(futures), progress)
        finally:
            stop.set()
    errors = (future.exception() for future in futures)
    for error in errors:
        if error is not None and not isinstance(error, CancelledError):
            raise error
    return [future.result() for future in futures]


def _follow(news: SimpleQueue[int | None], jobs: int, progress: Progress) -> None:
    """Pass on what is done until every job has ended."""
    while jobs:
        count = news.get()
        if count is None:
            jobs -= 1
        else:
            progress.advance(count)


def _runs(plan: FilePlan, sha256: bool) -> Iterator[Run]:
    """Divide what is still unknown of a file into runs."""
    spans = [ask.span for ask in plan.asks if ask.span is not None and ask not in plan.known]
    spans.sort(key=lambda span: span.start)
    apart: list[Span] = []
    for span in spans:
        if apart and span.start < apart[-1].end:
            yield Run(plan.name, plan.stamp, span.start, span.end, (span,))
        else:
            apart.append(span)
    if sha256 and plan.sha256 is None:
        yield Run(plan.name, plan.stamp, 0, plan.stamp.size, tuple(apart), sha256=True)
        return
    first = 0
    for index, span in enumerate(apart):
        last = index + 1 == len(apart)
        long = span.end - apart[first].start >= _RUN_BYTES
        if last or long or apart[index + 1].start - span.end > _GAP_BYTES:
            yield Run(
                plan.name,
                plan.stamp,
                apart[first].start,
                span.end,
                tuple(apart[first : index + 1]),
            )
            first = index + 1


def _hash_run(
    plan: FilePlan, run: Run, buffers: SimpleQueue[Buffer], threads: int, watch: Watch
) -> _Outcome:
    result = hash_run(run, watch, buffers, threads)
    asks = (Ask(run.name, span) for span in run.spans)
    return _Outcome(plan, dict(zip(asks, result.digests, strict=True)), result.sha256)


def _batches(plan: FilePlan) -> Iterator[tuple[Ask, ...]]:
    """Divide the tensors of a file that no run can hash."""
    batch: list[Ask] = []
    size = 0
    for ask in plan.asks:
        if ask.tensor is not None and ask not in plan.known:
            batch.append(ask)
            size += ask.nbytes
            if size >= _BATCH_BYTES:
                yield tuple(batch)
                batch, size = [], 0
    if batch:
        yield tuple(batch)


def _hash_batch(source: Source, plan: FilePlan, batch: Sequence[Ask], watch: Watch) -> _Outcome:
    """Hash tensors one by one, and gather those that cannot be read."""
    digests: dict[Ask, bytes] = {}
    failures = []
    with source.open(plan.name) as reader:
        archived = any(ask.tensor is not None and ask.tensor.member is not None for ask in batch)
        members = {member.name: member for member in directory(reader)} if archived else None
        for ask in batch:
            taker = hasher(ask.widen, ask.swap)
            try:
                for piece in _canonical(reader, ask, members):
                    taker.update(piece)
                    watch(len(piece))
                digests[ask] = taker.digest()
            except CheckpointError as error:
                failures.append((ask, error))
    if stamp_of(plan.name, Path(plan.stamp.path)) != plan.stamp:
        raise changed(plan.name)
    return _Outcome(plan, digests, None, tuple(failures))


def _canonical(
    reader: ByteReader, ask: Ask, members: Mapping[str, ZipMember] | None
) -> Iterator[Buffer]:
    """Yield the bytes of a tensor in canonical form."""
    if ask.tensor is None:
        return
    if ask.heads is None or ask.tensor.offset is None:
        tensor = replace(ask.tensor, name=ask.name)
        yield from chunks(reader, tensor, BUFFER, members=members)
    else:
        yield from reordered(reader, ask.tensor, ask.tensor.offset, ask.heads)


def reordered(reader: ByteReader, tensor: Tensor, offset: int, heads: int) -> Iterator[Buffer]:
    """Yield rows in the order that they had before llama.cpp's converter reordered them.

    Of each head the converter put the rows of the second half between those of the first, so
    first all even rows are taken and then all odd ones. Small heads are read many at a time; of
    a large one each block is read for either half, so that memory does not grow with the tensor.
    """
    pairs = tensor.shape[0] // heads // 2
    row = tensor.nbytes // tensor.shape[0]
    many = BUFFER // max(2 * pairs * row, 1)
    if many:
        for first in range(0, heads, many):
            count = min(many, heads - first)
            block = reader.read(offset + first * pairs * 2 * row, count * pairs * 2 * row)
            whole = np.frombuffer(block, np.uint8).reshape(count, pairs, 2, row)
            yield np.ascontiguousarray(whole.swapaxes(1, 2)).data.cast("B")
        return
    step = BUFFER // (2 * row)
    for head in range(heads):
        for half in (0, 1):
            start = offset + head * pairs * 2 * row
            if step == 0:
                for place in range(start + half * row, start + pairs * 2 * row, 2 * row):
                    yield from _in_pieces(reader, place, row)
                continue
            for first in range(0, pairs, step):
                count = min(step, pairs - first)
                block = reader.read(start + first * 2 * row, count * 2 * row)
                rows = np.frombuffer(block, np.uint8).reshape(count, 2, row)
                yield np.ascontiguousarray(rows[:, half]).data.cast("B")


def _in_pieces(reader: ByteReader, start: int, length: int) -> Iterator[Buffer]:
    for place in range(start, start + length, BUFFER):
        yield memoryview(reader.read(place, min(BUFFER, start + length - place)))
