"""A comparison of laws as Markdown."""

from __future__ import annotations

from steelyard.obligations.crosswalk import Crosswalk
from steelyard.reports.comparisons.words import EntryWords, rows
from steelyard.reports.markdown import escape


def render(said: Crosswalk) -> str:
    """Return the comparison as GitHub-flavored Markdown, a table for each topic."""
    lines = [f"# Law side by side, as of {said.as_of}", ""]
    for row in rows(said):
        lines += [f"## {escape(row.topic)}", ""]
        lines += ["| Where | What | More | Source |", "|---|---|---|---|"]
        for cell in row.cells:
            lines += [f"| {escape(cell.name)} | {_cells(entry)} |" for entry in cell.entries]
        if row.disagreement:
            lines += ["", f"They disagree on this model: {escape(row.disagreement)}"]
        lines.append("")
    return "\n".join([*lines, "*Not legal advice.*"]) + "\n"


def _cells(entry: EntryWords) -> str:
    source = f"[{escape(entry.citation)}]({entry.link})"
    details = escape("; ".join(entry.details))
    return f"{escape(entry.text)} (`{entry.id}`) | {details} | {source}"
