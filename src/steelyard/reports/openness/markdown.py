"""What is open, as Markdown."""

from __future__ import annotations

from steelyard.reports.markdown import escape
from steelyard.reports.openness.words import OpennessReport, components, missing, verdicts


def render(report: OpennessReport) -> str:
    """Return a table of components and the verdicts as GitHub-flavored Markdown."""
    lines = [f"# Openness of {escape(report.title)}", ""]
    if report.said.mof is not None:
        lines += ["| Component | Class | State | License | Where |", "|---|---|---|---|---|"]
        lines += [
            f"| {line.name} | {line.needed_for} | {line.state} | {escape(line.license)} "
            f"| {escape(line.place)} {escape(line.note)} |"
            for line in components(report.said.mof)
        ]
        lines += ["", escape(missing(report.said.mof)), ""]
    lines += [f"- **{label}** {escape(text)}" for label, text in verdicts(report)]
    return "\n".join(lines) + "\n"
