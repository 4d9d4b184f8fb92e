"""What rules say about a model: findings, and the state of each duty.

A rule that applies and whose duties are all met is quiet; one that applies and has a duty unmet
is `failing`, and that is what a report shows as a problem and what an exit code counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar


class Verdict(StrEnum):
    """Whether a rule concerns the model."""

    APPLIES = "applies"
    DOES_NOT_APPLY = "does_not_apply"
    UNDETERMINED = "undetermined"
    """The facts do not tell."""
    CONTESTED = "contested"
    """The facts are known; the answer is disputed."""


class Severity(StrEnum):
    """How much it matters when a duty is unmet, gravest first."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Number the level: 0 for the gravest."""
        return list(Severity).index(self)


class State(StrEnum):
    """Whether a duty is fulfilled."""

    MET = "met"
    UNMET = "unmet"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DutyResult:
    """One duty and its state."""

    id: str
    text: str
    state: State
    because: tuple[str, ...]
    """The facts that decided it; empty when unknown."""
    missing: tuple[str, ...]
    """The facts that would settle it; empty unless unknown."""
    fix: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Location:
    """The place in the model's files that a finding is about."""

    file: str
    line: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says."""

    rule: str
    """The rule's id."""
    title: str
    pack: str
    jurisdiction: str
    verdict: Verdict
    severity: Severity
    message: str
    """For a failing rule what is wrong; otherwise the rule's title."""
    because: tuple[str, ...]
    """The facts that decided the verdict; empty when undetermined."""
    missing: tuple[str, ...]
    """The facts that would settle the verdict; empty unless undetermined."""
    duties: tuple[DutyResult, ...]
    """Empty when the rule does not apply."""
    citation: str
    link: str
    reviewed: date
    """The day on which the rule was last checked against its source."""
    location: Location | None = None
    tags: tuple[str, ...] = ()

    @property
    def failing(self) -> bool:
        """Tell whether the rule applies and some duty is unmet."""
        return self.verdict is Verdict.APPLIES and any(
            duty.state is State.UNMET for duty in self.duties
        )

    @property
    def questions(self) -> tuple[str, ...]:
        """Name the facts that would settle what is still open, each once.

        Nothing is open where the rule does not apply, nor where every duty is met whether or not
        it does.
        """
        if self.duties and all(duty.state is State.MET for duty in self.duties):
            return ()
        lists = [self.missing, *(duty.missing for duty in self.duties)]
        return tuple(dict.fromkeys(name for names in lists for name in names))

    def at_least(self, level: Severity) -> bool:
        """Tell whether this is failing at `level` or a graver one."""
        return self.failing and self.severity.rank <= level.rank


@dataclass(frozen=True, slots=True)
class TestFailure:
    """A rule did not say what its own test case expects."""

    __test__: ClassVar[bool] = False

    rule: str
    case: str
    expected: str
    got: str
    file: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.rule}, {self.case}: expected {self.expected}, got {self.got}"
