"""What law says of facts as JSON: a list of `{row, findings, ...}`."""

from __future__ import annotations

import json

from steelyard.obligations.questions import open_questions
from steelyard.reports.assessments.rows import AssessedRow, AssessedTable
from steelyard.reports.parts import (
    FactDocument,
    FindingDocument,
    UndeterminedDocument,
    fact_document,
    finding_document,
    question_document,
)
from steelyard.reports.strict import Document


class AssessmentDocument(Document):
    """One set of facts and what law says of it."""

    row: str
    as_of: str
    other: dict[str, str]
    facts: list[FactDocument]
    findings: list[FindingDocument]
    undetermined: list[UndeterminedDocument]


def render(table: AssessedTable) -> str:
    """Return JSON text: a list with one entry for each row."""
    rows = [_document(row, table.as_of.isoformat()) for row in table.rows]
    said = [row.model_dump(mode="json", exclude_none=True) for row in rows]
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def _document(row: AssessedRow, as_of: str) -> AssessmentDocument:
    return AssessmentDocument(
        row=row.label,
        as_of=as_of,
        other=dict(row.other),
        facts=[fact_document(fact, row.book.claims(fact.name)) for fact in row.book],
        findings=[finding_document(f) for f in sorted(row.findings, key=lambda f: f.rule)],
        undetermined=[question_document(q) for q in open_questions(row.findings)],
    )
