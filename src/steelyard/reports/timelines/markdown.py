"""A timeline as Markdown."""

from __future__ import annotations

from steelyard.obligations.timeline import Timeline
from steelyard.reports.markdown import escape


def render(said: Timeline) -> str:
    """Return the timeline as GitHub-flavored Markdown, a section for each day."""
    lines = [f"# {escape(said.subject)}", ""]
    for item in said.days:
        lines += [f"## {item.day}", ""]
        for change in item.changes:
            before = f" (was: {change.told})" if change.told else ""
            lines.append(
                f"- **{change.jurisdiction}** {escape(change.title)}: *{change.after.words}*"
                f"{before} (`{change.rule}`)"
            )
        lines += [] if item.changes else ["No change."]
        lines.append("")
    return "\n".join([*lines, "*Not legal advice.*"]) + "\n"
