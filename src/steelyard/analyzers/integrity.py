"""Whether the weights are whole: damaged files, missing shards, bytes that nobody claims.

The readers notice; this module turns what they noticed into facts. On request every element is
looked at for NaN and infinity, which takes a pass over the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from steelyard.analyzers.base import Analyzer, few, shortened
from steelyard.checkpoints.data import array, chunks
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import PLAIN, VARINT, Problem, ProblemKind, Tensor
from steelyard.facts import Basis, Evidence, Fact
from steelyard.progress import NoProgress, Progress
from steelyard.sources.base import ByteReader

FACT_OF_PROBLEM = {
    ProblemKind.UNREADABLE: "integrity.unreadable",
    ProblemKind.BAD_DOCUMENT: "integrity.documents.damaged",
    ProblemKind.MISSING_SHARD: "integrity.shards.missing",
    ProblemKind.INDEX_MISMATCH: "integrity.index.mismatches",
    ProblemKind.DUPLICATE_TENSOR: "integrity.tensors.duplicate",
    ProblemKind.UNUSED_BYTES: "integrity.bytes.unused",
    ProblemKind.NOT_FULLY_READ: "integrity.not_fully_read",
    ProblemKind.TENSORS_UNREAD: "integrity.tensors.unread",
    ProblemKind.OTHER_CONTENT: "integrity.other_content",
    ProblemKind.ODD_METADATA: "integrity.metadata.odd",
}
"""The fact that holds each kind of problem."""

_MOST_ALIKE = 3
_MOST_EVIDENCE = 20
_EXPONENT = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000)}
"""Element types whose NaN and infinity are those with every bit of this mask set."""


def analyze(model: Model) -> Iterable[Fact]:
    """Yield one fact for each kind of problem, empty sets included: looked for, not found."""
    problems = [*model.problems, *(p for weights in model.weights for p in weights.problems)]
    for kind, name in FACT_OF_PROBLEM.items():
        found = [problem for problem in problems if problem.kind is kind]
        yield Fact(
            name,
            few(_told(found)),
            Basis.MEASURED,
            tuple(
                Evidence(file=problem.file, offset=problem.offset, quote=shortened(problem.what))
                for problem in found[:_MOST_EVIDENCE]
            ),
        )


def value_scan(progress: Progress | None = None) -> Analyzer:
    """Return an analyzer that looks at every element of the main weights for NaN and infinity."""

    def analyze_values(model: Model) -> Iterator[Fact]:
        if model.main is None:
            return
        watch = progress or NoProgress()
        tensors = [t for t in model.main.tensors if t.encoding in (PLAIN, VARINT) and _is_float(t)]
        watch.start("NaN and infinity", sum(tensor.nbytes for tensor in tensors))
        total, places = 0, []
        for tensor in tensors:
            with model.source.open(tensor.file) as reader:
                count = _nonfinite(reader, tensor)
            watch.advance(tensor.nbytes)
            total += count
            if count:
                quote = f"{count} of {tensor.elements} elements"
                places.append(Evidence(tensor.file, tensor.offset, field=tensor.name, quote=quote))
        watch.stop()
        note = f"looked at {len(tensors)} of {len(model.main.tensors)} tensors"
        yield Fact("weights.nonfinite", total, Basis.MEASURED, tuple(places[:_MOST_EVIDENCE]), note)

    return analyze_values


def _told(found: Sequence[Problem]) -> Iterator[str]:
    """Say each problem; what is wrong with many files alike is said once."""
    alike: dict[str, list[Problem]] = {}
    for problem in found:
        alike.setdefault(problem.what, []).append(problem)
    for what, problems in alike.items():
        if len(problems) > _MOST_ALIKE:
            yield f"{problems[0].file} and {len(problems) - 1} more: {what}"
        else:
            yield from map(_what, problems)


def _what(problem: Problem) -> str:
    place = problem.file if problem.offset is None else f"{problem.file} at byte {problem.offset}"
    return f"{place}: {problem.what}"


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype in _EXPONENT or tensor.dtype == "F64"


def _nonfinite(reader: ByteReader, tensor: Tensor) -> int:
    if tensor.dtype == "F64":
        return int(np.count_nonzero(~np.isfinite(array(reader, tensor))))
    kind, mask = _EXPONENT[tensor.dtype]
    count = 0
    for chunk in chunks(reader, tensor):
        bits = np.frombuffer(chunk, dtype=kind)
        count += int(np.count_nonzero((bits & mask) == mask))
    return count
