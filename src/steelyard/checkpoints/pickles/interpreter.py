"""Interpret pickles symbolically: learn what they would do without doing it.

A pickle is a program; loading one runs it. This module walks the program opcode by opcode and
keeps symbols where Python would keep objects, so that nothing is imported, called or built.
What comes out is a tree of values and the list of everything that would have been imported.
A stream that stops making sense is no error: what was found before is kept, and the stream says
that it is not complete, for that is what a damaged or hostile file looks like.
Work and memory are linear in the bytes read and bounded by `Limits`.
"""

from __future__ import annotations

from typing import Final

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.pickles.cursor import Cursor
from steelyard.checkpoints.pickles.machine import HIGHEST_PROTOCOL, Machine
from steelyard.checkpoints.pickles.memo import Memo
from steelyard.checkpoints.pickles.opcodes import OPCODES
from steelyard.checkpoints.pickles.values import PickleStream
from steelyard.errors import CheckpointError, Truncated
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import BytesReader

HEAD: Final = 512
"""Bytes that `looks_like_pickle` looks at."""
FEWEST_OPCODES: Final = 4
"""Opcodes that must make sense before a beginning without a protocol mark counts as a pickle."""

_LEFT_BEHIND: Final = 64
_START = b"\x80"


def interpret(
    data: ByteReader | bytes,
    file: str,
    base_offset: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    *,
    end: int | None = None,
    keep: bool = True,
    amid: Memo | None = None,
    most: int | None = None,
) -> PickleStream:
    """Interpret one pickle.

    Args:
        data: The file that holds it, or its bytes.
        file: How problems and imports name the file.
        base_offset: Where the pickle begins: in the file when `data` is a reader; for bytes,
            what is added to every offset that is reported.
        limits: Bounds on opcodes, values and texts.
        end: First byte of the file that is not part of it; the end of the file by default.
        keep: Whether what it holds is wanted, as for tensors; without, far more can be read, as
            only imports, calls and what may be files within it are kept.
        most: How many opcodes may be interpreted; what `limits` say by default.
        amid: What a pickle that these bytes lie amid remembers; it may have left values, too.

    Returns:
        The stream, complete or not.

    Raises:
        CheckpointError: If not even one opcode makes sense.
        SourceError: If the bytes cannot be fetched.
    """
    if isinstance(data, bytes):
        reader: ByteReader = BytesReader(file, data)
        start, shift = 0, base_offset
    else:
        reader, start, shift = data, base_offset, 0
    stop = reader.size if end is None else min(end, reader.size)
    cursor = Cursor(reader, start, stop, file, shift, limits)
    machine = Machine(cursor, file, limits, keep=keep, most=most)
    if amid is not None:
        machine.pretend(_LEFT_BEHIND, amid)
    return machine.run()


def holds_pickle(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Say whether a file is a pickle from first byte to last, or would call what it imports.

    Of a pickle without a protocol mark the first bytes may tell nothing: a long text can stand
    before what matters. This reads on, as Python would.

    Raises:
        SourceError: If the bytes cannot be fetched.
    """
    try:
        stream = interpret(reader, reader.name, limits=limits, keep=False)
    except CheckpointError:
        return False
    called = [found.name for found in stream.imports if found.called]
    if stream.complete and stream.end_offset == reader.size:
        return True
    return bool(called) and all(word.isidentifier() for name in called for word in name.split("."))


def looks_like_pickle(head: bytes) -> bool:
    """Say whether a file that begins with `head` may be a pickle.

    A protocol mark followed by an opcode is enough; protocols 0 and 1 have no mark, so there the
    first opcodes must make sense as a program, and what they import must be named as in Python.
    """
    head = head[:HEAD]
    if not head or head[0] not in OPCODES:
        return False
    if head[:1] == _START:
        return len(head) > 2 and head[1] <= HIGHEST_PROTOCOL and head[2] in OPCODES
    machine = Machine(
        Cursor(BytesReader("", head), 0, len(head), "", 0, DEFAULT_LIMITS), "", DEFAULT_LIMITS
    )
    try:
        machine.carry_out()
    except Truncated:
        enough = machine.understood >= FEWEST_OPCODES
    except CheckpointError:
        # Python would have made the calls before it came to what makes no sense.
        enough = machine.called
    else:
        enough = machine.understood > 1
    return enough and machine.imports_identifiers
