"""Read the header of a safetensors file; never a byte of a tensor.

A safetensors file is eight bytes that say how long the header is (little endian), the header (a
JSON object, perhaps padded with spaces), and the tensors' bytes. Each entry of the header gives
a tensor's element type, its shape and where its bytes begin and end, counted from the end of
the header. The entries must cover every byte exactly once: an overlap is refused, as the
reference implementation does, while bytes that no entry claims are reported as a problem,
because weights that are otherwise sound can hide something there.

Source: the format section of the safetensors README, and the checks of its reference
implementation (`SafeTensors::read_metadata`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from steelyard.checkpoints.data import stored_bytes
from steelyard.checkpoints.documents import JsonValue, parse_json, shown
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.tensors import (
    DTYPE_BITS,
    PLAIN,
    Checkpoint,
    MetadataValue,
    Problem,
    ProblemKind,
    Tensor,
)
from steelyard.errors import CheckpointError, LimitExceeded, Truncated
from steelyard.sources.base import ByteReader

_PREFIX: Final = 8
_METADATA: Final = "__metadata__"
_FIELDS: Final = frozenset({"dtype", "shape", "data_offsets"})
_SOURCE_FIX: Final = "download the file again, or ask its publisher for a sound one"


def read(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Read the table of tensors of one safetensors file, in two reads.

    Raises:
        Truncated: If the file ends before its header or its tensors do.
        LimitExceeded: If the header asks for more than the limits allow.
        CheckpointError: If the header breaks the format.
    """
    file = reader.name
    length = _header_length(reader, limits)
    data = reader.read(_PREFIX, length)
    if not data.startswith(b"{"):
        raise CheckpointError(
            "the header does not start with `{`",
            why="it is not a safetensors file, or it is damaged",
            fix=_SOURCE_FIX,
            file=file,
            offset=_PREFIX,
        )
    header = parse_json(data, file, limits, base=_PREFIX)
    del data
    if not isinstance(header, dict):
        raise CheckpointError("the header is not a JSON object", file=file, offset=_PREFIX)
    metadata, problems = _metadata(header.pop(_METADATA, None), file, limits)
    if len(header) > limits.tensors:
        raise LimitExceeded(
            f"holds {len(header)} tensors, more than the limit `tensors` = {limits.tensors}",
            fix="if the file is genuine, raise the limit",
            file=file,
            offset=_PREFIX,
        )
    start = _PREFIX + length
    tensors = [_tensor(name, entry, start, reader, limits) for name, entry in header.items()]
    problems += _odd_fields(header, file)
    problems += _coverage(tensors, start, reader)
    tensors.sort(key=lambda tensor: tensor.name)
    return Checkpoint("safetensors", (file,), tuple(tensors), metadata, tuple(problems))


def _header_length(reader: ByteReader, limits: Limits) -> int:
    """Read the length of the header and hold it against the file's size and the limits."""
    file, size = reader.name, reader.size
    if size < _PREFIX:
        raise Truncated(
            f"has {size} bytes, but a safetensors file starts with the 8 bytes of a length",
            why="the file is cut short, or it is not a safetensors file",
            fix=_SOURCE_FIX,
            file=file,
            offset=0,
        )
    length = int.from_bytes(reader.read(0, _PREFIX), "little")
    why = "the file is damaged, or it is not a safetensors file"
    if length > limits.header_bytes:
        raise LimitExceeded(
            f"the header claims {length} bytes, more than the limit `header_bytes` = "
            f"{limits.header_bytes}",
            why=why,
            fix=_SOURCE_FIX,
            file=file,
            offset=0,
        )
    if length > size - _PREFIX:
        raise Truncated(
            f"the header claims {length} bytes, but only {size - _PREFIX} follow",
            why=why,
            fix=_SOURCE_FIX,
            file=file,
            offset=0,
        )
    return length


def _metadata(
    value: JsonValue, file: str, limits: Limits
) -> tuple[dict[str, MetadataValue], list[Problem]]:
    """Take the texts of `__metadata__`; what is not a text is left out and reported."""
    if value is None:
        return {}, []
    if not isinstance(value, dict):
        raise CheckpointError(
            f"`{_METADATA}` is not an object of texts",
            why="the format allows nothing else",
            fix=_SOURCE_FIX,
            file=file,
            offset=_PREFIX,
        )
    if len(value) > limits.metadata_keys:
        raise LimitExceeded(
            f"`{_METADATA}` has {len(value)} keys, more than the limit `metadata_keys` = "
            f"{limits.metadata_keys}",
            fix="if the file is genuine, raise the limit",
            file=file,
            offset=_PREFIX,
        )
    kept: dict[str, MetadataValue] = {}
    odd: list[str] = []
    for key in sorted(value):
        _check_name(key, file, limits)
        text = value[key]
        if isinstance(text, str):
            kept[key] = text
        else:
            odd.append(key)
    if not odd:
        return kept, []
    what = f"`{_METADATA}` may hold texts only; {_listed(odd)} not read"
    return kept, [Problem(ProblemKind.ODD_METADATA, what, file, _PREFIX)]


def _tensor(name: str, entry: JsonValue, start: int, reader: ByteReader, limits: Limits) -> Tensor:
    """Check one entry of the header; `start` is where the tensors' bytes begin."""
    file = reader.name
    _check_name(name, file, limits)
    if not isinstance(entry, dict) or not entry.keys() >= _FIELDS:
        raise _wrong(name, "its entry lacks `dtype`, `shape` or `data_offsets`", file)
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _wrong(name, f"its element type is {_brief(dtype)}, which no version knows", file)
    shape = _naturals(entry["shape"])
    if shape is None:
        raise _wrong(name, "its shape is not a list of whole numbers from 0 up", file)
    offsets = _naturals(entry["data_offsets"])
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _wrong(name, "its `data_offsets` are not a beginning and an end", file)
    begin, end = offsets
    nbytes = stored_bytes(dtype, shape, file=file, name=name, limits=limits, offset=_PREFIX)
    if end - begin != nbytes:
        span = _brief(end - begin)
        why = f"its offsets span {span} bytes, but {dtype} {list(shape)} takes {nbytes}"
        raise _wrong(name, why, file)
    if end > reader.size - start:
        raise Truncated(
            f"tensor {shown(name)} ends at byte {_brief(start + end)}, but the file ends at "
            f"{reader.size}",
            why="the file is cut short",
            fix=_SOURCE_FIX,
            file=file,
            offset=min(start + begin, reader.size),
        )
    return Tensor(name, dtype, shape, PLAIN, file, start + begin, nbytes)


def _naturals(value: JsonValue) -> tuple[int, ...] | None:
    """Return a list of non-negative whole numbers as a tuple; None if it is anything else.

    `true` and `1.0` are no whole numbers here, though Python would take them for one.
    """
    if not isinstance(value, list):
        return None
    numbers = tuple(item for item in value if type(item) is int and item >= 0)
    return numbers if len(numbers) == len(value) else None


def _check_name(name: str, file: str, limits: Limits) -> None:
    if len(name) > limits.name_bytes or len(name.encode()) > limits.name_bytes:
        raise LimitExceeded(
            f"the name {shown(name)} is longer than the limit `name_bytes` = {limits.name_bytes}",
            fix="if the file is genuine, raise the limit",
            file=file,
            offset=_PREFIX,
        )


def _wrong(name: str, why: str, file: str) -> CheckpointError:
    return CheckpointError(
        f"the header's entry for tensor {shown(name)} is wrong",
        why=why,
        fix=_SOURCE_FIX,
        file=file,
        offset=_PREFIX,
    )


def _odd_fields(header: dict[str, JsonValue], file: str) -> Iterator[Problem]:
    """Report entries with fields that the format does not have; readers skip them."""
    odd = [name for name, entry in header.items() if isinstance(entry, dict) and len(entry) > 3]
    if odd:
        what = f"the header's entries have unknown fields: {_listed(odd)} not fully read"
        yield Problem(ProblemKind.ODD_METADATA, what, file, _PREFIX)


def _coverage(tensors: Sequence[Tensor], start: int, reader: ByteReader) -> Iterator[Problem]:
    """Refuse tensors that overlap; report bytes between and behind them.

    Raises:
        CheckpointError: If two tensors claim the same bytes.
    """
    laid = sorted((tensor.offset or 0, tensor.nbytes, tensor.name) for tensor in tensors)
    end, before = start, ""
    gaps, unused, first = 0, 0, 0
    for offset, nbytes, name in laid:
        if offset < end:
            raise CheckpointError(
                f"tensors {shown(before)} and {shown(name)} overlap",
                why=f"the first ends at byte {end}, the second begins at byte {offset}",
                fix=_SOURCE_FIX,
                file=reader.name,
                offset=offset,
            )
        if offset > end:
            first = end if gaps == 0 else first
            gaps, unused = gaps + 1, unused + offset - end
        end, before = offset + nbytes, name
    if gaps:
        plural = f"{gaps} gaps" if gaps > 1 else "one gap"
        what = f"no tensor claims {unused} bytes, in {plural} between tensors"
        yield Problem(ProblemKind.UNUSED_BYTES, what, reader.name, first)
    if end < reader.size:
        what = f"no tensor claims the last {reader.size - end} bytes"
        yield Problem(ProblemKind.UNUSED_BYTES, what, reader.name, end)


def _brief(value: JsonValue) -> str:
    """Show a value of any size in a few characters."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    return shown(value) if isinstance(value, str) else shown(str(value))[1:-1]


def _listed(names: Sequence[str]) -> str:
    """Name the first few and count the rest: `"a", "b" and 3 more are`."""
    few = ", ".join(shown(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{few}{more} {'are' if len(names) > 1 else 'is'}"
