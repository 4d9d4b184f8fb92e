"""Split GGUF models: several files, `name-00001-of-00003.gguf` and so on, that are one model.

Each part is a GGUF file of its own. The first has all the metadata; every part states its
number (`split.no`, from 0), the number of parts (`split.count`) and the number of tensors in all
parts together (`split.tensors.count`). A part that is missing, doubled or at odds with the others
is a `Problem`, not an error: what is there can still be weighed.

Source: `llama_split_path` and `tools/gguf-split` in ggml-org/llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from steelyard.checkpoints.tensors import Checkpoint, Problem, ProblemKind, Tensor
from steelyard.errors import CheckpointError

_NAME = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.gguf", re.DOTALL)

_NUMBER = "split.no"
_COUNT = "split.count"
_TENSORS = "split.tensors.count"

_MOST_NAMED = 16
"""Missing parts, or differing keys, that are named one by one."""


def split_name(path: str) -> tuple[str, int, int] | None:
    """Take the name of a part apart: `dir/m-00002-of-00003.gguf` is `("dir/m", 2, 3)`.

    Returns:
        The name before the number, the part's number from 1, and the number of parts; None for
        a path that does not name a part.
    """
    match = _NAME.fullmatch(path)
    if match is None:
        return None
    number, count = int(match[2]), int(match[3])
    return (match[1], number, count) if 1 <= number <= count else None


def merge(parts: Sequence[Checkpoint]) -> Checkpoint:
    """Join the parts of one split model, given in any order.

    Metadata is the first part's. Of two tensors with one name, the earlier part's is kept.
    Parts that are missing, duplicate tensors and counts that differ become problems.

    Raises:
        CheckpointError: If there are no parts.
    """
    if not parts:
        raise CheckpointError("there are no parts to merge", fix="give at least one")
    ordered = sorted(parts, key=lambda part: (_number(part), part.files))
    first = ordered[0]
    tensors: dict[str, Tensor] = {}
    problems = [problem for part in ordered for problem in part.problems]
    for part in ordered:
        for tensor in part.tensors:
            if tensor.name in tensors:
                kept = tensors[tensor.name].file
                what = f"tensor {tensor.name!r} stands in {kept} too; that one is kept"
                problem = Problem(ProblemKind.DUPLICATE_TENSOR, what, tensor.file, tensor.offset)
                problems.append(problem)
            else:
                tensors[tensor.name] = tensor
    problems += _missing(ordered)
    problems += _disagreements(ordered)
    problems += _tensor_count(first, len(tensors))
    return Checkpoint(
        format="gguf",
        files=tuple(sorted({file for part in ordered for file in part.files})),
        tensors=tuple(tensors[name] for name in sorted(tensors)),
        metadata=first.metadata,
        problems=tuple(problems),
        arrays=first.arrays,
    )


def _stated(part: Checkpoint, key: str) -> int | None:
    """Return a count as the metadata states it, or None if it does not."""
    value = part.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _file(part: Checkpoint) -> str:
    return part.files[0] if part.files else ""


def _number(part: Checkpoint) -> int:
    """Number a part from 0, by its metadata, else by its name."""
    stated = _stated(part, _NUMBER)
    if stated is not None:
        return stated
    named = split_name(_file(part))
    return named[1] - 1 if named else 0


def _count(parts: Sequence[Checkpoint]) -> int:
    """Return how many parts there should be, by the first that says."""
    for part in parts:
        stated = _stated(part, _COUNT)
        if stated is not None:
            return stated
        named = split_name(_file(part))
        if named:
            return named[2]
    return len(parts)


def _missing(parts: Sequence[Checkpoint]) -> Iterator[Problem]:
    """Name the parts that are not there, the first few one by one."""
    count = _count(parts)
    present = {_number(part) for part in parts}
    named = split_name(_file(parts[0]))
    prefix = named[0] if named else _file(parts[0]).removesuffix(".gguf")
    absent = (number for number in range(count) if number not in present)
    for number in islice(absent, _MOST_NAMED):
        name = f"{prefix}-{number + 1:05d}-of-{count:05d}.gguf"
        what = f"part {number + 1} of {count} is not there"
        yield Problem(ProblemKind.MISSING_SHARD, what, name)
    in_range = sum(1 for number in present if 0 <= number < count)
    more = count - in_range - _MOST_NAMED
    if more > 0:
        what = f"{more} more of {count} parts are not there"
        yield Problem(ProblemKind.MISSING_SHARD, what, _file(parts[0]))


def _disagreements(parts: Sequence[Checkpoint]) -> Iterator[Problem]:
    """Tell where parts contradict their names or one another."""
    count = _count(parts)
    numbers: dict[int, str] = {}
    for part in parts:
        file, number = _file(part), _number(part)
        named = split_name(file)
        whats = []
        if named and named[1] - 1 != number:
            whats.append(f"{_NUMBER} is {number}, but the name says part {named[1]}")
        if not 0 <= number < count:
            whats.append(f"{_NUMBER} is {number}, but there are {count} parts")
        if number in numbers:
            whats.append(f"{_NUMBER} is {number}, as in {numbers[number]}")
        if _count([part]) != count:
            whats.append(f"{_COUNT} is {_count([part])}, elsewhere {count}")
        differing = _differing_keys(parts[0], part)
        if differing:
            some = ", ".join(repr(key) for key in differing[:_MOST_NAMED])
            whats.append(f"{len(differing)} metadata keys differ from the first part's: {some}")
        numbers.setdefault(number, file)
        for what in whats:
            yield Problem(ProblemKind.INDEX_MISMATCH, what, file)


def _differing_keys(first: Checkpoint, part: Checkpoint) -> list[str]:
    """List keys of a later part that the first part lacks or states otherwise."""
    missing = object()
    return sorted(
        key
        for key, value in part.metadata.items()
        if key not in (_NUMBER, _COUNT) and first.metadata.get(key, missing) != value
    )


def _tensor_count(first: Checkpoint, found: int) -> Iterator[Problem]:
    stated = _stated(first, _TENSORS)
    if stated is not None and stated != found:
        what = f"{_TENSORS} is {stated}, but the parts hold {found} tensors"
        yield Problem(ProblemKind.INDEX_MISMATCH, what, _file(first))
