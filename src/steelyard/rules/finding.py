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


class Status(StrEnum):
    """How binding a rule is today."""

    IN_FORCE = "in_force"
    ADOPTED = "adopted"
    """Law that does not apply yet."""
    SUPERSEDED = "superseded"
    RESCINDED = "rescinded"
    PROPOSED = "proposed"
    SOFT = "soft"
    """Guidance or a code of practice."""
    PRINCIPLE = "principle"
    """A principle of states or bodies: documented or not, never complied with or breached."""


class Confidence(StrEnum):
    """How well the rule is sourced. A rule of low confidence never yields an error."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


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


class Standing(StrEnum):
    """Where a rule stands in time on the day that is asked about."""

    NOT_ENACTED = "not_enacted"
    PROPOSED = "proposed"
    UPCOMING = "upcoming"
    """Law that does not apply yet."""
    TRANSITION = "transition"
    """Law that applies to others already, to this model later."""
    APPLICABLE = "applicable"
    ENFORCEABLE = "enforceable"
    """It applies, and a breach can be sanctioned."""
    ENDED = "ended"
    UNSETTLED = "unsettled"
    """The day on which it begins depends on a fact that is not known."""

    @property
    def in_time(self) -> bool:
        """Tell whether the rule applies on that day."""
        return self in (Standing.APPLICABLE, Standing.ENFORCEABLE)

    @property
    def to_come(self) -> bool:
        """Tell whether the rule may apply later."""
        return self in (Standing.UPCOMING, Standing.TRANSITION, Standing.PROPOSED)


class Certainty(StrEnum):
    """How firm a yes is."""

    DEFINITE = "definite"
    PRESUMED = "presumed"
    """The law presumes it; the presumption can be rebutted."""
    INDICATED = "indicated"
    """Guidance indicates it; the answer may differ either way."""


class Side(StrEnum):
    """For which answer an argument speaks."""

    FOR = "for"
    AGAINST = "against"


@dataclass(frozen=True, slots=True)
class Reason:
    """An argument that holds for this model."""

    side: Side
    text: str
    because: tuple[str, ...]
    """The facts that it rests on."""
    contests: bool


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
    deadline: str = ""
    """By when, in words."""
    due: date | None = None
    """By when, where the day can be told."""
    measure: str | None = None
    """The fact by which a plan fulfills it."""
    pending: bool = False
    """The day by which it is due is still to come."""


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
    confidence: Confidence = Confidence.HIGH
    status: Status = Status.SOFT
    standing: Standing = Standing.APPLICABLE
    foreseen: Verdict | None = None
    """For a rule to come: the verdict once it applies, if nothing else changes."""
    applies_from: date | None = None
    enforceable_from: date | None = None
    until: date | None = None
    roles: tuple[str, ...] = ()
    """Whom it binds; everyone if empty."""
    certainty: Certainty = Certainty.DEFINITE
    exempted_by: str | None = None
    """The rule that keeps this one from applying."""
    reasons: tuple[Reason, ...] = ()
    """What speaks for and against the answer."""
    penalty: str = ""
    topic: str | None = None
    concludes: str | None = None
    """The fact that the answer settles, for other rules to use."""

    @property
    def failing(self) -> bool:
        """Tell whether it applies and a duty that is due is unmet; principles never fail."""
        if self.verdict is not Verdict.APPLIES or self.is_principle:
            return False
        return any(duty.state is State.UNMET and not duty.pending for duty in self.duties)

    @property
    def is_law(self) -> bool:
        """Tell a rule of a jurisdiction from good practice."""
        return self.jurisdiction != "practice"

    @property
    def is_principle(self) -> bool:
        """Tell a principle, which is documented or not, from a rule that is met or not."""
        return self.status is Status.PRINCIPLE

    @property
    def questions(self) -> tuple[str, ...]:
        """Name the facts that would settle what is still open, each once.

        Nothing is open where the rule does not apply, nor where every duty is met whether or not
        it does, nor about principles. Duties are asked about once it is known that they bind. A
        rule of law without duties (a definition, an exemption) asks through those that rest on it.
        """
        if self.verdict is Verdict.DOES_NOT_APPLY or self.is_principle:
            return ()
        if self.is_law and not self.duties:
            return ()
        if self.duties and all(duty.state is State.MET for duty in self.duties):
            return ()
        lists = [self.missing]
        if self.verdict is Verdict.APPLIES or not self.is_law:
            lists += [duty.missing for duty in self.duties]
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
