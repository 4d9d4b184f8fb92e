"""Facts, findings and questions as data: the parts that every JSON document is made of."""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from steelyard.facts import Evidence, Fact, Interval, Value, term
from steelyard.obligations.questions import Question
from steelyard.reports.strict import Document
from steelyard.rules import Finding

SeverityName = Literal["error", "warning", "note"]
VerdictName = Literal["applies", "does_not_apply", "undetermined", "contested"]
BasisName = Literal["measured", "derived", "declared", "assumed"]


StandingName = Literal[
    "not_enacted",
    "proposed",
    "upcoming",
    "transition",
    "applicable",
    "enforceable",
    "ended",
    "unsettled",
]
StatusName = Literal[
    "in_force", "adopted", "superseded", "rescinded", "proposed", "soft", "principle"
]


class IntervalDocument(Document):
    """A quantity that is not exactly known: the closed range it lies in."""

    low: int | float
    high: Annotated[int | float | None, Field(description="null: without an upper bound")]


ValueDocument = Annotated[
    bool | int | float | IntervalDocument | str | list[str],
    Field(description="A list stands for a set, sorted; a date is ISO 8601 text."),
]


class EvidenceDocument(Document):
    """Where a claim comes from; fields that do not apply are left out."""

    file: str | None = None
    offset: int | None = None
    line: int | None = None
    field: str | None = None
    digest: str | None = None
    parents: list[str] | None = None
    quote: str | None = None


class ClaimDocument(Document):
    """One claim about a fact."""

    value: ValueDocument
    basis: BasisName
    evidence: list[EvidenceDocument]
    note: str | None = None


class FactDocument(ClaimDocument):
    """The strongest claim about a name, and all claims about it."""

    name: str
    unit: str | None = None
    claims: list[ClaimDocument]


class LocationDocument(Document):
    """The place that a finding is about."""

    file: str
    line: int | None = None
    offset: int | None = None


class DutyDocument(Document):
    """One duty of a rule and whether it is met."""

    id: str
    text: str
    state: Literal["met", "unmet", "unknown"]
    because: list[str]
    missing: list[str]
    fix: str | None = None
    deadline: str | None = None
    due: date | None = None
    measure: str | None = None


class ReasonDocument(Document):
    """What speaks for or against the answer of a rule."""

    side: Literal["for", "against"]
    text: str
    because: list[str]
    contests: bool


class FindingDocument(Document):
    """What one rule found. It counts against the model when `failing` is true."""

    rule: str
    title: str
    jurisdiction: str
    verdict: VerdictName
    certainty: Literal["definite", "presumed", "indicated"]
    standing: Annotated[StandingName, Field(description="Where the rule stands on that day.")]
    foreseen: Annotated[
        VerdictName | None, Field(description="For a rule to come: its verdict once it applies.")
    ] = None
    severity: SeverityName
    confidence: Literal["high", "medium", "low"]
    status: StatusName
    failing: bool
    message: str
    because: list[str]
    missing: list[str]
    reasons: list[ReasonDocument] | None = None
    exempted_by: str | None = None
    roles: list[str]
    applies_from: date | None = None
    enforceable_from: date | None = None
    until: date | None = None
    duties: list[DutyDocument]
    penalty: str | None = None
    topic: str | None = None
    concludes: str | None = None
    citation: str
    link: str | None
    reviewed: date
    location: LocationDocument | None


class UndeterminedDocument(Document):
    """A fact that nobody knows and that some rule needs."""

    name: str
    question: str
    expects: str
    settles: list[str]


def value_document(value: Value) -> bool | int | float | IntervalDocument | str | list[str]:
    """Write a value."""
    if isinstance(value, Interval):
        return IntervalDocument(low=value.low, high=None if value.high == math.inf else value.high)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def evidence_document(evidence: Evidence) -> EvidenceDocument:
    """Write where a claim comes from."""
    return EvidenceDocument(
        file=evidence.file,
        offset=evidence.offset,
        line=evidence.line,
        field=evidence.field,
        digest=evidence.digest,
        parents=list(evidence.parents) or None,
        quote=evidence.quote,
    )


def claim_document(fact: Fact) -> ClaimDocument:
    """Write one claim."""
    return ClaimDocument(
        value=value_document(fact.value),
        basis=fact.basis.value,
        evidence=[evidence_document(e) for e in fact.evidence],
        note=fact.note or None,
    )


def fact_document(fact: Fact, claims: tuple[Fact, ...]) -> FactDocument:
    """Write the strongest claim about a name, with all others."""
    return FactDocument(
        name=fact.name,
        value=value_document(fact.value),
        unit=term(fact.name).unit or None,
        basis=fact.basis.value,
        evidence=[evidence_document(e) for e in fact.evidence],
        note=fact.note or None,
        claims=[claim_document(claim) for claim in claims],
    )


def finding_document(finding: Finding) -> FindingDocument:
    """Write what one rule found."""
    spot = finding.location
    return FindingDocument(
        rule=finding.rule,
        title=finding.title,
        jurisdiction=finding.jurisdiction,
        verdict=finding.verdict.value,
        certainty=finding.certainty.value,
        standing=finding.standing.value,
        foreseen=finding.foreseen.value if finding.foreseen else None,
        severity=finding.severity.value,
        confidence=finding.confidence.value,
        status=finding.status.value,
        failing=finding.failing,
        message=finding.message,
        because=list(finding.because),
        missing=list(finding.missing),
        reasons=[
            ReasonDocument(
                side=reason.side.value,
                text=reason.text,
                because=list(reason.because),
                contests=reason.contests,
            )
            for reason in finding.reasons
        ]
        or None,
        exempted_by=finding.exempted_by,
        roles=list(finding.roles),
        applies_from=finding.applies_from,
        enforceable_from=finding.enforceable_from,
        until=finding.until,
        penalty=finding.penalty or None,
        topic=finding.topic,
        concludes=finding.concludes,
        reviewed=finding.reviewed,
        duties=[
            DutyDocument(
                id=duty.id,
                text=duty.text,
                state=duty.state.value,
                because=list(duty.because),
                missing=list(duty.missing),
                fix=duty.fix or None,
                deadline=duty.deadline or None,
                due=duty.due,
                measure=duty.measure,
            )
            for duty in finding.duties
        ],
        citation=finding.citation,
        link=finding.link or None,
        location=(
            LocationDocument(file=spot.file, line=spot.line, offset=spot.offset) if spot else None
        ),
    )


def question_document(question: Question) -> UndeterminedDocument:
    """Write a fact that some rule needs."""
    return UndeterminedDocument(
        name=question.term.name,
        question=question.term.question,
        expects=question.term.expects,
        settles=list(question.settles),
    )
