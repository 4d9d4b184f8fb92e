"""The JSON report as data: the models that are written, and the schema that ships.

`schema_version` follows semantic versioning: a new optional field raises the minor number, a
removed or changed one the major. Others rely on this shape; `docs/json.md` documents it.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from steelyard.facts import Contradiction
from steelyard.reports.parts import (
    ClaimDocument,
    FactDocument,
    FindingDocument,
    UndeterminedDocument,
    claim_document,
    fact_document,
    finding_document,
    question_document,
)
from steelyard.reports.report import Report, TensorInfo
from steelyard.reports.strict import Document
from steelyard.rules import Finding, Severity, Verdict
from steelyard.rules.ignores import IgnoredFinding

SCHEMA_VERSION = "1.2"


class ContradictionDocument(Document):
    """Claims about one name that cannot all be true."""

    name: str
    claims: list[ClaimDocument]


class IgnoredDocument(Document):
    """A failing finding that the user decided to ignore."""

    finding: FindingDocument
    reason: str
    expires: date
    approved_by: str | None = None


class FileDocument(Document):
    """One file of the source."""

    path: str
    size: int
    role: Literal["weights", "document", "other"]
    sha256: str | None = None
    sha256_basis: Literal["measured", "declared"] | None = None


class TensorDocument(Document):
    """One tensor of the main weights set."""

    name: str
    dtype: str
    encoding: str
    shape: list[int]
    file: str
    offset: int | None = None
    nbytes: int
    digest: str | None = None


class PackDocument(Document):
    """A rule pack that was applied."""

    id: str
    title: str
    rules: int
    reviewed: date
    digest: str


class ToolDocument(Document):
    """What wrote the report."""

    name: Literal["steelyard"] = "steelyard"
    version: str
    packs: list[PackDocument]


class SourceDocument(Document):
    """Where the model was read from."""

    spec: str
    kind: str
    revision: str | None = None
    bytes_read: Annotated[int, Field(description="For headers, documents and lineage.")]


class SummaryDocument(Document):
    """The report in numbers."""

    errors: int
    warnings: int
    notes: int
    ignored: int
    contradictions: int
    undetermined: int
    next: list[str]


class ReportDocument(Document):
    """A Steelyard report."""

    schema_version: str = SCHEMA_VERSION
    tool: ToolDocument
    as_of: date
    source: SourceDocument
    only: Annotated[list[str] | None, Field(description="Topics, where not all were asked.")] = None
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
        only=list(report.only) or None,
        facts=[fact_document(fact, report.book.claims(fact.name)) for fact in report.book],
        contradictions=[_contradiction(c) for c in report.contradictions],
        findings=[finding_document(f) for f in _reported(report)],
        ignored=[_ignored(item) for item in report.ignored],
        undetermined=[question_document(question) for question in report.questions],
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
    """Return what applies or is open, and all of law: failing first, then by rule."""
    order = {id(finding): n for n, finding in enumerate(report.failing)}
    open_or_binding = [
        f for f in report.findings if f.is_law or f.verdict is not Verdict.DOES_NOT_APPLY
    ]
    return sorted(open_or_binding, key=lambda f: (order.get(id(f), len(order)), f.rule))


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
    return ContradictionDocument(name=found.name, claims=[claim_document(c) for c in found.claims])


def _ignored(item: IgnoredFinding) -> IgnoredDocument:
    return IgnoredDocument(
        finding=finding_document(item.finding),
        reason=item.ignore.reason,
        expires=item.ignore.expires,
        approved_by=item.ignore.approved_by or None,
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
