"""A plan as Markdown: for an issue, a wiki page, a release checklist."""

from __future__ import annotations

from steelyard.obligations.plan import Plan
from steelyard.reports.markdown import escape
from steelyard.reports.plans.words import closing, headline, steps


def render(plan: Plan) -> str:
    """Return the plan as GitHub-flavored Markdown: a list of tasks."""
    lines = [f"# {escape(headline(plan))}", ""]
    for step in steps(plan):
        lines.append(f"- [ ] **{escape(step.title)}** ({escape(step.state)}, {escape(step.by)})")
        lines += [f"  - {escape(duty)}" for duty in step.satisfies]
    lines += ["", *(f"{escape(line)}\n" for line in closing(plan)), "*Not legal advice.*"]
    return "\n".join(lines) + "\n"
