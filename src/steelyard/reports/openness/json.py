"""What is open, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from steelyard.analyzers.openness.index import score
from steelyard.analyzers.openness.mof import Evaluation
from steelyard.reports.openness.words import OpennessReport, components


def render(report: OpennessReport) -> str:
    """Return the components and the answer of each framework as JSON text."""
    said = report.said
    total = score(said.index)
    document = {
        "schema_version": "1.0",
        "model": report.title,
        "mof": _mof(said.mof),
        "mof_by_paper": _mof(said.mof_by_paper),
        "osaid": dict(said.osaid),
        "g7_tier": said.tier,
        "index": {
            "score": {"low": total.low, "high": total.high},
            "dimensions": [asdict(dimension) for dimension in said.index],
        },
        "eu_exemption": [
            {
                "rule": finding.rule,
                "verdict": finding.verdict.value,
                "because": list(finding.because),
                "missing": list(finding.missing),
            }
            for finding in report.findings
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _mof(evaluation: Evaluation | None) -> dict[str, object] | None:
    if evaluation is None:
        return None
    return {
        "class": evaluation.reached,
        "label": evaluation.label,
        "progress": {name: round(value, 1) for name, value in evaluation.progress.items()},
        "missing": [judgment.part.name for judgment in evaluation.missing],
        "components": [asdict(line) for line in components(evaluation)],
    }
