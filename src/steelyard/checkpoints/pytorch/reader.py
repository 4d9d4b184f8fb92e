"""Read PyTorch checkpoints (`.bin`, `.pt`, `.pth`, `.ckpt`) without loading them.

Loading such a file runs the program in it. Here the program is interpreted symbolically
(`pickles`), the file is taken apart (`pytorch_files`), and tensors are recognized by the calls
that would rebuild them (`pytorch_walk`). No element is read. A pickle that is no checkpoint at all
still yields what it would import, which is what one wants to know of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.pickles import holds_pickle, looks_like_pickle
from steelyard.checkpoints.pickles.opcodes import Opaque
from steelyard.checkpoints.pickles.values import (
    Call,
    Pairs,
    Persistent,
    PickleStream,
    Value,
    called_global,
    items_of,
)
from steelyard.checkpoints.pytorch.files import Contents, Found, Pickles, open_pickles, open_zip
from steelyard.checkpoints.pytorch.tensors import Locate
from steelyard.checkpoints.pytorch.walk import Walk
from steelyard.checkpoints.tensors import (
    Checkpoint,
    PickleImport,
    Problem,
    ProblemKind,
    Tensor,
)
from steelyard.errors import CheckpointError, Unsupported
from steelyard.sources.base import ByteReader

PREFIXES: Final = ("state_dict", "model_state_dict", "model", "module")
"""Keys of a training state under which the model is kept, when nothing else holds tensors."""
LOAD_FROM_BYTES: Final = "torch.storage._load_from_bytes"
"""The call that loads a checkpoint from bytes within a pickle."""

MOST_PROBLEMS: Final = 1000
"""Problems that are listed one by one; the rest are counted."""

_HEAD: Final = 512
_TAR = (257, b"ustar")
_TOO_DEEP: Final = 4
"""How many checkpoints may lie in one another's bytes."""
_ZIP_STARTS = (b"PK\3\4", b"PK\5\6")

_Boxes = dict[int, Contents]
"""Checkpoints that lie in bytes of a pickle, by the identity of the bytes."""


def read(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Read one checkpoint file: its tensors, and what its pickles would import.

    An import in a compressed member names its file as `FILE!MEMBER`, with the offset there.

    Raises:
        Truncated: If the file is cut short.
        LimitExceeded: If it asks for more than the limits allow.
        Unsupported: If it is of a kind that is not read (an old tar, a zip without `data.pkl`).
        CheckpointError: If it is not a PyTorch file or contradicts itself.
        SourceError: If its bytes cannot be fetched.
    """
    contents = Contents()
    boxes: _Boxes = {}
    _open(reader, limits, contents, boxes)
    walk = _walk(reader, limits, contents, boxes)
    tensors, prefix = _without_prefix(walk, contents)
    problems = [*contents.problems, *walk.problems, *_repeats(tensors, reader.name)]
    problems.extend(_unused(contents, reader.name))
    streams = _all_streams(contents, boxes)
    return Checkpoint(
        format="pytorch",
        files=(reader.name,),
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        metadata={
            "layout": contents.layout,
            "pickle_protocol": max(stream.protocol for stream in streams),
            "prefix": prefix,
        },
        problems=_capped(problems, reader.name),
        imports=_imports(streams),
        steps=sum(stream.opcodes for stream in streams),
    )


def streams(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> tuple[PickleStream, ...]:
    """Interpret every pickle in the file, as far as the file can be taken apart.

    This is what to ask of a file that `read` refuses: what it would import is known all the same.

    Raises:
        CheckpointError: If not even one pickle was found.
        SourceError: If its bytes cannot be fetched.
    """
    contents = Contents()
    boxes: _Boxes = {}
    try:
        _open(reader, limits, contents, boxes)
    except CheckpointError:
        if not contents.found:
            raise
    return tuple(_all_streams(contents, boxes))


def _open(reader: ByteReader, limits: Limits, contents: Contents, boxes: _Boxes) -> None:
    head = reader.read(0, min(_HEAD, reader.size))
    pickles = Pickles(limits)
    if head.startswith(_ZIP_STARTS):
        open_zip(reader, limits, pickles, contents)
    elif head[_TAR[0] : _TAR[0] + len(_TAR[1])] == _TAR[1]:
        raise Unsupported(
            "this is a tar, the layout of PyTorch before 0.1.10",
            why="it has not been written since 2017",
            fix="load it with an old PyTorch in a sandbox and save it as safetensors",
            file=reader.name,
        )
    elif looks_like_pickle(head) or holds_pickle(reader, limits):
        open_pickles(reader, 0, reader.size, pickles, contents)
    else:
        raise CheckpointError(
            "this is neither a zip nor a pickle, so not a PyTorch file",
            why="the file is damaged, or of another format",
            fix="compare the file's SHA-256 with the publisher's",
            file=reader.name,
            offset=0,
        )
    _open_boxes(contents.found, pickles, contents, boxes)


def _open_boxes(
    found: list[Found], pickles: Pickles, contents: Contents, boxes: _Boxes, depth: int = 0
) -> None:
    """Read the checkpoints that lie in bytes of the pickles already read."""
    for item in found:
        for box in _boxes_in(item.stream):
            if id(box) in boxes:
                continue
            if pickles.exhausted:
                what = "more checkpoints lie in the bytes of this pickle than are read"
                contents.problems.append(
                    Problem(ProblemKind.NOT_FULLY_READ, what, item.reader.name, box.offset)
                )
                return
            inner = Contents()
            boxes[id(box)] = inner
            try:
                if depth >= _TOO_DEEP or box.kind != "bytes":
                    raise Unsupported("a checkpoint within a pickle is not read")
                open_pickles(item.reader, box.offset, box.offset + box.length, pickles, inner)
            except CheckpointError as error:
                what = f"bytes that the pickle would load were not understood: {error.what}"
                inner.problems.append(
                    Problem(ProblemKind.NOT_FULLY_READ, what, item.reader.name, box.offset)
                )
            contents.problems.extend(inner.problems)
            _open_boxes(inner.found, pickles, contents, boxes, depth + 1)


def _boxes_in(stream: PickleStream) -> list[Opaque]:
    found = []
    for call in stream.calls:
        function = called_global(call.function)
        args = items_of(call.args)
        if function and function.dotted == LOAD_FROM_BYTES and args:
            box = args[0]
            if isinstance(box, Opaque):
                found.append(box)
    return found


def _walk(reader: ByteReader, limits: Limits, contents: Contents, boxes: _Boxes) -> Walk:
    def unbox(box: Opaque) -> tuple[Persistent, Locate | None] | None:
        inner = boxes.get(id(box))
        if inner is None or len(inner.roots) != 1 or inner.found[0].reader is not reader:
            return None
        root = inner.roots[0]
        return (root.value, root.locate) if isinstance(root.value, Persistent) else None

    walk = Walk(reader.name, limits, contents.byteorder, unbox)
    for root in contents.roots:
        walk.collect(root.value, root.locate, root.prefix)
    return walk


def _without_prefix(walk: Walk, contents: Contents) -> tuple[list[Tensor], str]:
    """Name tensors relative to the one entry that holds them all, where that is the model."""
    tops = {top for top, _ in walk.tops}
    root: Value = contents.roots[0].value if len(contents.roots) == 1 else None
    mapping = isinstance(root, Pairs) or (isinstance(root, Call) and root.mapped is not None)
    prefix = tops.pop() if len(tops) == 1 else ""
    inside = all(depth > 2 for _, depth in walk.tops)
    if not mapping or not inside or prefix not in PREFIXES:
        return walk.tensors, ""
    cut = len(prefix) + 1
    return [replace(tensor, name=tensor.name[cut:]) for tensor in walk.tensors], prefix


def _capped(problems: list[Problem], file: str) -> tuple[Problem, ...]:
    """Keep a hostile file from filling the report."""
    more = len(problems) - MOST_PROBLEMS
    if more <= 0:
        return tuple(problems)
    what = f"{more} more problems were found"
    return (*problems[:MOST_PROBLEMS], Problem(ProblemKind.NOT_FULLY_READ, what, file))


def _unused(contents: Contents, file: str) -> list[Problem]:
    """Report storages that no tensor lies on."""
    unused = len(contents.storages - contents.used)
    what = f"{unused} of {len(contents.storages)} storages belong to no tensor that was read"
    return [Problem(ProblemKind.UNUSED_BYTES, what, file)] if unused else []


def _repeats(tensors: list[Tensor], file: str) -> list[Problem]:
    """Report names that two tensors share (`{"a.b": x, "a": {"b": y}}`)."""
    seen: set[str] = set()
    repeated: set[str] = set()
    for tensor in tensors:
        (repeated if tensor.name in seen else seen).add(tensor.name)
    return [
        Problem(ProblemKind.DUPLICATE_TENSOR, f"two tensors are named {name}", file)
        for name in sorted(repeated)[:100]
    ]


def _all_streams(contents: Contents, boxes: _Boxes) -> list[PickleStream]:
    every = [contents, *boxes.values()]
    return [item.stream for inner in every for item in inner.found]


def _imports(found: list[PickleStream]) -> tuple[PickleImport, ...]:
    unique = {item for stream in found for item in stream.imports}
    return tuple(sorted(unique, key=lambda item: (item.name, item.file, item.offset)))
