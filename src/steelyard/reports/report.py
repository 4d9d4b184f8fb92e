"""What an audit says, before it is rendered: facts, contradictions, findings, open questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from steelyard.checkpoints.tensors import Tensor
from steelyard.facts import Contradiction, FactBook
from steelyard.obligations.questions import Question, open_questions
from steelyard.rules import Finding, Severity, State
from steelyard.rules.ignores import IgnoredFinding

_ONE_MATTER = frozenset({"license.declared", "license.effective"})
"""Facts that are torn together; what is wrong with them is told once."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Where the model was read from."""

    spec: str
    """As the user wrote it."""
    kind: str
    """`folder`, `file`, `hf-cache`, `url` or `hub`."""
    revision: str | None
    """The commit, where the source has one."""
    bytes_read: int
    """Bytes read for headers, documents and lineage; digests and scans not counted."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file of the source."""

    path: str
    size: int
    role: str
    """`weights`, `document` or `other`."""
    sha256: str | None = None
    sha256_basis: str | None = None
    """`measured`, or `declared` when the hub states it."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of the main weights set."""

    tensor: Tensor
    digest: str | None = None
    """`b3:` and 64 hex digits over its canonical bytes; None when not computed."""


@dataclass(frozen=True, slots=True)
class PackInfo:
    """A rule pack that was applied."""

    id: str
    title: str
    rules: int
    reviewed: date
    """The day on which its rules were last reviewed (the latest of them)."""
    digest: str
    """Digest of the pack's text."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure for training compute that some law sets."""

    jurisdiction: str
    flop: float


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one audit."""

    version: str
    """Steelyard's version."""
    as_of: date
    source: SourceInfo
    packs: tuple[PackInfo, ...]
    book: FactBook
    findings: tuple[Finding, ...]
    """What every rule found, ignored ones excepted, whatever the verdict."""
    ignored: tuple[IgnoredFinding, ...] = ()
    notices: tuple[str, ...] = ()
    """What the reader should know about the audit itself."""
    files: tuple[FileInfo, ...] = ()
    tensors: tuple[TensorInfo, ...] = ()
    """The tensors of the main weights set, where they were asked for."""
    thresholds: tuple[Threshold, ...] = ()
    """What laws of the day set for training compute, the lowest first."""
    only: tuple[str, ...] = ()
    """The topics that were asked about, where not all were: silence on others means nothing."""

    @property
    def failing(self) -> tuple[Finding, ...]:
        """Return the findings that are wrong: contradictions first, then by severity and rule."""
        torn = {contradiction.name for contradiction in self.contradictions}
        return tuple(
            sorted(
                (finding for finding in self.findings if finding.failing),
                key=lambda f: (f.severity.rank, not torn & deciding(f), f.rule),
            )
        )

    @property
    def contradictions(self) -> tuple[Contradiction, ...]:
        """Return the claims that cannot all be true."""
        return self.book.contradictions()

    @property
    def untold(self) -> tuple[Contradiction, ...]:
        """Return the contradictions that no rule tells, failing or ignored."""
        torn = {found.name for found in self.contradictions}
        told = {name for item in self.ignored for name in deciding(item.finding)}
        told |= {name for finding in self.failing for name in deciding(finding) & torn}
        if told & _ONE_MATTER:
            told |= _ONE_MATTER
        return tuple(found for found in self.contradictions if found.name not in told)

    @property
    def undetermined(self) -> tuple[Finding, ...]:
        """Return the findings that wait for a fact, of their verdict or of a duty."""
        return tuple(f for f in self.findings if f.questions and not f.failing)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Return the facts that would settle what is undetermined, the most useful first."""
        return open_questions(self.findings)

    @property
    def law(self) -> tuple[Finding, ...]:
        """Return what rules of law found; nothing where nobody said which markets matter."""
        return tuple(finding for finding in self.findings if finding.is_law)

    def count(self, severity: Severity) -> int:
        """Count the failing findings of one severity."""
        return sum(1 for finding in self.failing if finding.severity is severity)

    def fails(self, threshold: Severity) -> bool:
        """Tell whether some finding is failing at or above `threshold`."""
        return any(finding.at_least(threshold) for finding in self.findings)

    def next_steps(self) -> Sequence[str]:
        """Return what to do, the gravest first, each step once."""
        steps: dict[str, None] = {}
        for finding in self.failing:
            for duty in finding.duties:
                if duty.fix and duty.state is State.UNMET:
                    steps.setdefault(duty.fix)
        return tuple(steps)


def deciding(finding: Finding) -> frozenset[str]:
    """Return the facts that make a finding fail: those of its verdict and of its unmet duties."""
    unmet = (duty.because for duty in finding.duties if duty.state is State.UNMET)
    return frozenset(finding.because).union(*unmet)
