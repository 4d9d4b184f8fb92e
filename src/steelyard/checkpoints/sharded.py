"""Join the shards of one weights set, and say where they disagree with their index.

Large models are cut into files named `model-00001-of-00003.safetensors`, with an index
(`model.safetensors.index.json`) whose `weight_map` says which file holds which tensor and whose
`metadata.total_size` counts the bytes. Index and shards are written apart and copied apart: a
shard left out, one of an older upload, or a tensor that the index hides is found here. What is
missing or contradictory is a problem, not an error: the tensors that are there are still told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from steelyard.checkpoints.documents import JsonValue, shown
from steelyard.checkpoints.tensors import (
    DTYPE_BITS,
    Checkpoint,
    MetadataValue,
    Problem,
    ProblemKind,
    Tensor,
)
from steelyard.errors import CheckpointError

_NUMBERED = re.compile(r"(.+)-([0-9]{1,6})-of-([0-9]{1,6})((?:\.[^/]*)?)")
_FEW: Final = 3


def shard_name(path: str) -> tuple[str, int, int] | None:
    """Take a shard's name apart: the set's name, which shard it is, and of how many.

    `sub/model-00001-of-00003.safetensors` is `("sub/model.safetensors", 1, 3)`: the set's name
    is the path without the numbers. Returns None when it is not named like a shard.
    """
    match = _NUMBERED.fullmatch(path)
    if match is None or match[1].endswith("/"):
        return None
    number, count = int(match[2]), int(match[3])
    return (match[1] + match[4], number, count) if number <= count and count > 0 else None


def merge(
    format_name: str,
    parts: Mapping[str, Checkpoint],
    index: JsonValue | None = None,
    index_file: str | None = None,
    unreadable: Collection[str] = (),
) -> Checkpoint:
    """Join the shards of one set.

    Where two shards hold a tensor of one name, that of the file which the index names is kept,
    else that of the first file.

    Args:
        format_name: The format of the set, as `Checkpoint.format` has it.
        parts: The shards that were read, by their paths.
        index: The parsed index document; without one, shards are only checked by their numbers.
        index_file: The index document's path; the shards lie in its folder.
        unreadable: Paths of shards that are there but were refused, so not missing.

    Raises:
        CheckpointError: If the index is not one, or names a file outside its folder.
    """
    ordered = [parts[path] for path in sorted(parts)]
    place = index_file or min(parts, default="")
    weight_map = None if index is None else _weight_map(index, place)
    tensors, twice = _union(ordered, weight_map or {})
    metadata, problems = _metadata(ordered, place)
    if twice:
        what = f"several shards hold the same tensor: {_listed(twice)}"
        problems.append(Problem(ProblemKind.DUPLICATE_TENSOR, what, place))
    if weight_map is None:
        problems += _missing_numbers(sorted(parts), unreadable)
    else:
        problems += _against_map(weight_map, parts, tensors, unreadable, place)
    stated = index.get("metadata") if isinstance(index, dict) else None
    if isinstance(stated, dict):
        metadata |= _index_metadata(stated)
        complete = all(path in parts for path in (weight_map or {}).values())
        if complete and "total_size" in stated:
            problems += _total_size(stated["total_size"], tensors.values(), place)
    return Checkpoint(
        format_name,
        tuple(sorted({file for part in ordered for file in part.files})),
        tuple(tensors[name] for name in sorted(tensors)),
        metadata,
        tuple([problem for part in ordered for problem in part.problems] + problems),
        tuple(found for part in ordered for found in part.imports),
    )


def _weight_map(index: JsonValue, place: str) -> dict[str, str]:
    """Return the path of the file that should hold each tensor.

    Raises:
        CheckpointError: If the index is not one, or names a file outside its folder.
    """
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict):
        raise _wrong("the shard index has no `weight_map`", place)
    folder = PurePosixPath(place).parent
    known: dict[str, str] = {}
    paths: dict[str, str] = {}
    for tensor, file in weight_map.items():
        if not isinstance(file, str):
            raise _wrong(f"the shard index names no file for tensor {shown(tensor)}", place)
        if file not in known:
            if file in ("", ".", "..") or any(sign in file for sign in "/\\\0:"):
                raise _wrong(
                    f"the shard index names {shown(file)}, which is not in its folder", place
                )
            known[file] = str(folder / file)
        paths[tensor] = known[file]
    return paths


def _wrong(what: str, place: str) -> CheckpointError:
    return CheckpointError(
        what,
        why="shards lie beside their index, and nothing else may be opened for it",
        fix="write the index again, or ask the publisher to",
        file=place,
    )


def _union(
    parts: Sequence[Checkpoint], weight_map: Mapping[str, str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors by name, and the names that several shards hold."""
    tensors: dict[str, Tensor] = {}
    twice: dict[str, None] = {}
    for part in parts:
        for tensor in part.tensors:
            if tensor.name in tensors:
                twice[tensor.name] = None
            if tensor.name not in tensors or weight_map.get(tensor.name) == tensor.file:
                tensors[tensor.name] = tensor
    return tensors, list(twice)


def _against_map(
    weight_map: Mapping[str, str],
    parts: Mapping[str, Checkpoint],
    tensors: Mapping[str, Tensor],
    unreadable: Collection[str],
    place: str,
) -> Iterator[Problem]:
    """Compare the index with the shards, in both directions."""
    named = set(weight_map.values())
    missing = sorted(named - parts.keys() - set(unreadable))
    if missing:
        lost = sum(path not in parts and path not in unreadable for path in weight_map.values())
        what = (
            f"{len(missing)} of {len(named)} shards that the index names are not there: "
            f"{_listed(missing)}; they should hold {lost} tensors"
        )
        yield Problem(ProblemKind.MISSING_SHARD, what, place)
    read = {name: path for name, path in weight_map.items() if path in parts}
    lacking = [name for name in read if name not in tensors]
    if lacking:
        what = f"no shard holds what the index says it does: {_listed(lacking)}"
        yield Problem(ProblemKind.INDEX_MISMATCH, what, place)
    moved = [
        name for name, path in weight_map.items() if name in tensors and tensors[name].file != path
    ]
    if moved:
        what = f"another shard than the index says holds: {_listed(moved)}"
        yield Problem(ProblemKind.INDEX_MISMATCH, what, place)
    hidden = [name for name in tensors if name not in weight_map]
    if hidden:
        what = f"the shards hold tensors that the index does not name: {_listed(hidden)}"
        yield Problem(ProblemKind.INDEX_MISMATCH, what, place)


def _missing_numbers(paths: Sequence[str], unreadable: Collection[str]) -> Iterator[Problem]:
    """Find the gaps in numbered names; a set that begins with 0 ends one earlier."""
    there: dict[tuple[str, int], set[int]] = {}
    for path in (*paths, *unreadable):
        if (name := shard_name(path)) is not None:
            there.setdefault((name[0], name[2]), set()).add(name[1])
    for (family, count), numbers in sorted(there.items()):
        first = 0 if 0 in numbers else 1
        missing = [n for n in range(first, first + count) if n not in numbers]
        if missing:
            few = ", ".join(str(number) for number in missing[:_FEW])
            more = f" and {len(missing) - _FEW} more" if len(missing) > _FEW else ""
            what = f"of {count} shards, number {few}{more} is not there"
            place = next((path for path in paths if shard_name(path)), family)
            yield Problem(ProblemKind.MISSING_SHARD, what, place)


def _metadata(
    parts: Iterable[Checkpoint], place: str
) -> tuple[dict[str, MetadataValue], list[Problem]]:
    """Join the shards' metadata; the first that states a key is believed."""
    joined: dict[str, MetadataValue] = {}
    differing: dict[str, None] = {}
    for part in parts:
        for key, value in part.metadata.items():
            if joined.setdefault(key, value) != value:
                differing[key] = None
    if not differing:
        return joined, []
    what = f"the shards disagree about the metadata {_listed(list(differing))}"
    return joined, [Problem(ProblemKind.ODD_METADATA, what, place)]


def _index_metadata(stated: Mapping[str, JsonValue]) -> dict[str, MetadataValue]:
    """Keep the simple values of an index's own metadata, as `index.total_size` and so on."""
    return {
        f"index.{key}": value
        for key, value in stated.items()
        if isinstance(value, (str, int, float, bool))
    }


def _total_size(stated: JsonValue, tensors: Collection[Tensor], place: str) -> Iterator[Problem]:
    """Compare the bytes that the index counts with those that the tensors take.

    Tensors that share bytes (tied embeddings in PyTorch files) are counted once by some writers
    and each time by others: anything between the two is right. Some writers state a float.
    """
    whole = isinstance(stated, int) or (isinstance(stated, float) and stated.is_integer())
    if not whole or isinstance(stated, (bool, str, list, dict)) or stated is None:
        what = "the index's `total_size` is not a whole number"
        yield Problem(ProblemKind.ODD_METADATA, what, place)
        return
    stored = sum(tensor.nbytes for tensor in tensors)
    most, least = stored, _distinct_bytes(tensors)
    if any(tensor.strides is not None for tensor in tensors):  # gaps are counted in `stored`
        logical = sum(tensor.elements * DTYPE_BITS[tensor.dtype] // 8 for tensor in tensors)
        most, least = max(most, logical), min(least, logical)
    if not least <= stated <= most:
        what = f"the index counts {int(stated)} bytes of tensors, the shards hold {stored}"
        yield Problem(ProblemKind.INDEX_MISMATCH, what, place)


def _distinct_bytes(tensors: Iterable[Tensor]) -> int:
    """Count the bytes that tensors take when shared ones count once."""
    total, end, last = 0, 0, ("", "")
    ranges = sorted(
        ((tensor.file, tensor.member or ""), tensor.offset or 0, tensor.nbytes)
        for tensor in tensors
    )
    for where, offset, nbytes in ranges:
        if where != last:
            end, last = 0, where
        total += max(0, offset + nbytes - max(end, offset))
        end = max(end, offset + nbytes)
    return total


def _listed(names: Sequence[str]) -> str:
    """Name the first few and count the rest."""
    few = ", ".join(shown(name) for name in names[:_FEW])
    return few + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
