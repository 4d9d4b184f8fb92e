"""The release as the Model Openness Tool reads it."""

from __future__ import annotations

from steelyard.analyzers.openness.mof import evaluate
from steelyard.analyzers.openness.mof_files import write_release
from steelyard.reports.openness.words import OpennessReport


def render(report: OpennessReport) -> str:
    """Return the components that are there as the tool's YAML."""
    return write_release(report.release, report.said.mof or evaluate(report.release))
