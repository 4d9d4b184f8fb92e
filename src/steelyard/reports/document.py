"""The JSON report as data: the models that are written, and the schema that ships.

`schema_version` follows semantic versioning: a new optional field raises the minor number, a
removed or changed one the major. Others rely on this shape; `docs/json.md` documents it.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.facts import Contradiction, Evidence, Fact, Interval, Value, term
from steelyard.reports.report import Question, Report, TensorInfo
from steelyard.rules import Finding, Severity, Verdict
from steelyard.rules.ignores import IgnoredFinding

SCHEMA_VERSION = "1.0"

SeverityName = Literal["error", "warning", "note"]
VerdictName = Literal["applies", "does_not_apply", "undetermined", "contested"]
BasisName = Literal["measured", "derived", "declared", "assumed"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IntervalDocument(_Document):
    """A quantity that is not exactly known: the closed range it lies in."""

    low: int | float
    high: Annotated[int | float | None, Field(description="null: without an upper bound")]


ValueDocument = Annotated[
    bool | int | float | IntervalDocument | str | list[str],
    Field(description="A list stands for a set, sorted; a date is ISO 8601 text."),
]


class EvidenceDocument(_Document):
    """Where a claim comes from; fields that do not apply are left out."""

    file: str | None = None
    offset: int | None = None
    line: int | None = None
    field: str | None = None
    digest: str | None = None
    parents: list[str] | None = None
    quote: str | None = None


class ClaimDocument(_Document):
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


class ContradictionDocument(_Document):
    """Claims about one name that cannot all be true."""

    name: str
    claims: list[ClaimDocument]


class LocationDocument(_Document):
    """The place that a finding is about."""

    file: str
    line: int | None = None
    offset: int | None = None


class DutyDocument(_Document):
    """One duty of a rule and whether it is met."""

    id: str
    text: str
    state: Literal["met", "unmet", "unknown"]
    because: list[str]
    missing: list[str]
    fix: str | None = None


class FindingDocument(_Document):
    """What one rule found. It counts against the model when `failing` is true."""

    rule: str
    title: str
    verdict: VerdictName
    severity: SeverityName
    failing: bool
    message: str
    because: list[str]
    missing: list[str]
    duties: list[DutyDocument]
    citation: str
    link: str | None
    location: LocationDocument | None


class IgnoredDocument(_Document):
    """A failing finding that the user decided to ignore."""

    finding: FindingDocument
    reason: str
    expires: date
    approved_by: str | None = None


class UndeterminedDocument(_Document):
    """A fact that nobody knows and that some rule needs."""

    name: str
    question: str
    expects: str
    settles: list[str]


class FileDocument(_Document):
    """One file of the source."""

    path: str
    size: int
    role: Literal["weights", "document", "other"]
    sha256: str | None = None
    sha256_basis: Literal["measured", "declared"] | None = None


class TensorDocument(_Document):
    """One tensor of the main weights set."""

    name: str
    dtype: str
    encoding: str
    shape: list[int]
    file: str
    offset: int | None = None
    nbytes: int
    digest: str | None = None


class PackDocument(_Document):
    """A rule pack that was applied."""

    id: str
    title: str
    rules: int
    reviewed: date
    digest: str


class ToolDocument(_Document):
    """What wrote the report."""

    name: Literal["steelyard"] = "steelyard"
    version: str
    packs: list[PackDocument]


class SourceDocument(_Document):
    """Where the model was read from."""

    spec: str
    kind: str
    revision: str | None = None
    bytes_read: Annotated[int, Field(description="For headers and documents only.")]


class SummaryDocument(_Document):
    """The report in numbers."""

    errors: int
    warnings: int
    notes: int
    ignored: int
    contradictions: int
    undetermined: int
    next: list[str]


class ReportDocument(_Document):
    """A Steelyard report."""

    schema_version: str = SCHEMA_VERSION
    tool: ToolDocument
    as_of: date
    source: SourceDocument
    facts: list[FactDocument]
    contradictions: list[ContradictionDocument]
    findings: list[FindingDocument]
    ignored: list[IgnoredDocument]
    undetermined: list[UndeterminedDocument]
    files: list[FileDocument]
    tensors: Annotated[list[TensorDocument] | None, Field(description="Only with --tensors.")] = (
        None
    )
    notices: list[str]
    summary: SummaryDocument


def document(report: Report) -> ReportDocument:
    """Turn a report into the shape that is written."""
    return ReportDocument(
        tool=ToolDocument(
            version=report.version,
            packs=[
                PackDocument(
                    id=p.id, title=p.title, rules=p.rules, reviewed=p.reviewed, digest=p.digest
                )
                for p in report.packs
            ],
        ),
        as_of=report.as_of,
        source=SourceDocument(
            spec=report.source.spec,
            kind=report.source.kind,
            revision=report.source.revision,
            bytes_read=report.source.bytes_read,
        ),
        facts=[_fact(fact, report.book.claims(fact.name)) for fact in report.book],
        contradictions=[_contradiction(c) for c in report.contradictions],
        findings=[_finding(f) for f in _reported(report)],
        ignored=[_ignored(item) for item in report.ignored],
        undetermined=[_question(question) for question in report.questions],
        files=[
            FileDocument.model_validate(
                {
                    "path": file.path,
                    "size": file.size,
                    "role": file.role,
                    "sha256": file.sha256,
                    "sha256_basis": file.sha256_basis,
                }
            )
            for file in report.files
        ],
        tensors=[_tensor(info) for info in report.tensors] or None,
        notices=list(report.notices),
        summary=_summary(report),
    )


def _reported(report: Report) -> list[Finding]:
    """Return what applies or is open: failing first, then by rule; the rest is left out."""
    order = {id(finding): n for n, finding in enumerate(report.failing)}
    open_or_binding = [f for f in report.findings if f.verdict is not Verdict.DOES_NOT_APPLY]
    return sorted(open_or_binding, key=lambda f: (order.get(id(f), len(order)), f.rule))


def _value(value: Value) -> bool | int | float | IntervalDocument | str | list[str]:
    if isinstance(value, Interval):
        return IntervalDocument(low=value.low, high=None if value.high == math.inf else value.high)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def _evidence(evidence: Evidence) -> EvidenceDocument:
    return EvidenceDocument(
        file=evidence.file,
        offset=evidence.offset,
        line=evidence.line,
        field=evidence.field,
        digest=evidence.digest,
        parents=list(evidence.parents) or None,
        quote=evidence.quote,
    )


def _claim(fact: Fact) -> ClaimDocument:
    return ClaimDocument(
        value=_value(fact.value),
        basis=fact.basis.value,
        evidence=[_evidence(e) for e in fact.evidence],
        note=fact.note or None,
    )


def _fact(fact: Fact, claims: tuple[Fact, ...]) -> FactDocument:
    return FactDocument(
        name=fact.name,
        value=_value(fact.value),
        unit=term(fact.name).unit or None,
        basis=fact.basis.value,
        evidence=[_evidence(e) for e in fact.evidence],
        note=fact.note or None,
        claims=[_claim(claim) for claim in claims],
    )


def _tensor(info: TensorInfo) -> TensorDocument:
    tensor = info.tensor
    return TensorDocument(
        name=tensor.name,
        dtype=tensor.dtype,
        encoding=tensor.encoding,
        shape=list(tensor.shape),
        file=tensor.file,
        offset=tensor.offset,
        nbytes=tensor.nbytes,
        digest=info.digest,
    )


def _contradiction(found: Contradiction) -> ContradictionDocument:
    return ContradictionDocument(name=found.name, claims=[_claim(c) for c in found.claims])


def _finding(finding: Finding) -> FindingDocument:
    spot = finding.location
    return FindingDocument(
        rule=finding.rule,
        title=finding.title,
        verdict=finding.verdict.value,
        severity=finding.severity.value,
        failing=finding.failing,
        message=finding.message,
        because=list(finding.because),
        missing=list(finding.missing),
        duties=[
            DutyDocument(
                id=duty.id,
                text=duty.text,
                state=duty.state.value,
                because=list(duty.because),
                missing=list(duty.missing),
                fix=duty.fix or None,
            )
            for duty in finding.duties
        ],
        citation=finding.citation,
        link=finding.link or None,
        location=(
            LocationDocument(file=spot.file, line=spot.line, offset=spot.offset) if spot else None
        ),
    )


def _ignored(item: IgnoredFinding) -> IgnoredDocument:
    return IgnoredDocument(
        finding=_finding(item.finding),
        reason=item.ignore.reason,
        expires=item.ignore.expires,
        approved_by=item.ignore.approved_by or None,
    )


def _question(question: Question) -> UndeterminedDocument:
    return UndeterminedDocument(
        name=question.term.name,
        question=question.term.question,
        expects=question.term.expects,
        settles=list(question.settles),
    )


def _summary(report: Report) -> SummaryDocument:
    return SummaryDocument(
        errors=report.count(Severity.ERROR),
        warnings=report.count(Severity.WARNING),
        notes=report.count(Severity.NOTE),
        ignored=len(report.ignored),
        contradictions=len(report.contradictions),
        undetermined=len(report.undetermined),
        next=list(report.next_steps()),
    )
