"""What an examination has found so far, and how much it may still do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.problems import PickleImport, Problem, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded

_MOST_PROBLEMS: Final = 1000


@dataclass(slots=True, eq=False, repr=False)
class Budget:
    """How much may still be done; what one file uses is missing to the next."""

    limits: Limits = DEFAULT_LIMITS
    opcodes: int = field(init=False)
    unpacked: int = field(init=False)

    def __post_init__(self) -> None:
        self.opcodes = self.limits.examined_opcodes
        self.unpacked = self.limits.unpacked_bytes

    def unpack(self, count: int, file: str) -> None:
        """Count bytes that came out of compressed data.

        Raises:
            LimitExceeded: If they are too many.
        """
        self.unpacked -= count
        if self.unpacked < 0:
            raise LimitExceeded(
                f"more than {self.limits.unpacked_bytes} bytes come out of compressed data",
                why="the file may be made to exhaust time or memory",
                fix="unpack it where nothing can be harmed, and examine what comes out",
                file=file,
            )


@dataclass(slots=True, eq=False, repr=False)
class Findings:
    """What was found in one file."""

    imports: list[PickleImport] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    pickles: list[str] = field(default_factory=list)
    """Places that hold a pickle."""
    inner: int = 0
    """Members, streams and strings looked into."""
    exhausted: bool = False
    """True once it was said that no more is looked into."""

    def unread(self, file: str, what: str, offset: int | None = None) -> None:
        """Record that something was not examined to its end."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(ProblemKind.NOT_FULLY_READ, what, file, offset))

    def failed(self, file: str, error: CheckpointError) -> None:
        """Record that something could not be examined."""
        why = f" ({error.why})" if error.why else ""
        self.unread(file, error.what + why, error.offset)
