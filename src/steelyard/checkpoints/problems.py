"""What readers report beside tensors: what is wrong with a file, and what a pickle would import.

They stand apart from the table of tensors so that files can be examined for code without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ProblemKind(StrEnum):
    """What can be wrong with a checkpoint that is readable all the same."""

    UNREADABLE = "unreadable"
    """A file of a known format that its reader refused."""
    BAD_DOCUMENT = "bad_document"
    """A JSON, YAML or text document that does not parse."""
    MISSING_SHARD = "missing_shard"
    """A file that an index or a split names is not there."""
    INDEX_MISMATCH = "index_mismatch"
    """An index and the shards disagree about a tensor or the total size."""
    DUPLICATE_TENSOR = "duplicate_tensor"
    """Two shards hold a tensor of one name."""
    UNUSED_BYTES = "unused_bytes"
    """Bytes that no tensor claims (a gap, or bytes after the end)."""
    NOT_FULLY_READ = "not_fully_read"
    """A part that Steelyard does not understand, so nothing is said of it."""
    TENSORS_UNREAD = "tensors_unread"
    """A file that is looked at for what it would run, but whose tensors are not read."""
    ODD_METADATA = "odd_metadata"
    """Metadata that is legal to skip but should not be there."""
    OTHER_CONTENT = "other_content"
    """Content that is understood but is no tensor that could be listed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong that did not stop the reading. A value, not an exception."""

    kind: ProblemKind
    what: str
    """One line for a person."""
    file: str
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class PickleImport:
    """A Python object that a pickle would import if it were loaded."""

    name: str
    """Dotted name, module first: `os.system`."""
    file: str
    offset: int
    """Byte offset, in `file`, of the opcode that names it."""
    called: bool = False
    """True when the stream would also call it."""
    chain: str = field(default="", compare=False)
    """The call in words, as far as it is written in the stream: `os.system("true")`."""
