"""What a pickle says, as a tree of symbols that nothing was done with.

A constant stands for itself. Everything else is a node: `Items`, `Pairs`, `Global` (an import
that was not made), `Call` (a call that was not made), `Persistent` (a reference that the
program around the pickle would resolve) and `Opaque` (content that was not read). Nodes are
compared by identity, as the memo of a pickle shares them, and may form cycles: whoever walks
them must remember where it has been and must not recurse without a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from steelyard.checkpoints.pickles.opcodes import Opaque
from steelyard.checkpoints.problems import PickleImport, Problem

if TYPE_CHECKING:
    # The memo holds values, so it comes after them.
    from steelyard.checkpoints.pickles.memo import Memo


@dataclass(slots=True, eq=False, repr=False)
class Items:
    """A list, tuple, set or frozenset."""

    kind: Literal["list", "tuple", "set", "frozenset"]
    items: list[Value]


@dataclass(slots=True, eq=False, repr=False)
class Pairs:
    """A dict as it is filled: keys and values in step; a later key replaces an equal one."""

    keys: list[Value]
    values: list[Value]


@dataclass(slots=True, eq=False)
class Global:
    """A Python object that is named, not imported. A part that cannot be told is `?`."""

    module: str
    name: str
    offset: int
    called: bool = False
    call: Call | None = None
    """The call of it that tells most: where its result is called again, that call."""
    given_to: Call | None = None
    """The first call that it is handed to."""

    @property
    def dotted(self) -> str:
        """Join module and name."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """A call that was not made, and what would be put into its result."""

    function: Value
    args: Value
    offset: int
    kwargs: Value = None
    states: list[Value] | None = None
    """Arguments of every `BUILD`, in order."""
    listed: Items | None = None
    """What would be appended or added."""
    mapped: Pairs | None = None
    """What would be set by key."""
    root: Global | None = None
    """What is named at the end of the chain, when the function is itself the result of a call."""
    links: int = 0
    """How many calls the function is the result of."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Persistent:
    """A reference that the loading program resolves; torch's are storages."""

    id: Value
    offset: int


Value = None | bool | int | float | str | Items | Pairs | Global | Call | Persistent | Opaque


class Box(NamedTuple):
    """Content within a pickle that may be a file of its own."""

    kind: Literal["bytes", "string", "base64", "array"]
    """`array` is what joblib writes between opcodes and other readers take for opcodes."""
    offset: int
    """First byte of the content, counted as the stream counts."""
    length: int
    loaded: bool = False
    """True when the pickle itself would load it."""
    text: str | None = None
    """A string's characters, where they were read."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PickleStream:
    """One pickle, from its first opcode to its `STOP` or to where it stopped making sense."""

    value: Value
    """What `STOP` would return; None when the stream is not complete."""
    imports: tuple[PickleImport, ...]
    """Sorted by name, then offset."""
    calls: tuple[Call, ...]
    """Every call in the order of the stream, also those whose result is thrown away."""
    persistents: tuple[Persistent, ...]
    """Every persistent reference, in the order of the stream."""
    protocol: int
    """The highest protocol that the stream names; 0 when it names none."""
    end_offset: int
    """Offset after `STOP`, or of the opcode that could not be interpreted."""
    complete: bool
    opcodes: int
    """How many opcodes were interpreted."""
    cost: int
    """How many values were made, as counted against the limit."""
    problems: tuple[Problem, ...]
    boxes: tuple[Box, ...] = ()
    """Contents that may be files of their own; collected only when nothing is kept."""
    memo: Memo | None = None
    """What the stream remembers at its end."""


def items_of(value: Value) -> list[Value] | None:
    """Return the items of a list or tuple, None for anything else."""
    if isinstance(value, Items) and value.kind in ("list", "tuple"):
        return value.items
    return None


def called_global(value: Value) -> Global | None:
    """Name what a call would call, when that is a plain global.

    Old PyTorch wraps a class as the persistent reference `("module", class, ...)`.
    """
    if isinstance(value, Persistent):
        parts = items_of(value.id)
        if parts is not None and len(parts) > 1 and parts[0] == "module":
            value = parts[1]
    return value if isinstance(value, Global) else None
