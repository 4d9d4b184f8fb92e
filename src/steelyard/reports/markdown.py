"""The report as Markdown: for a pull request, a job summary, a model's own documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable

from steelyard.reports.claims import fact_text, places
from steelyard.reports.law import LawLine, LawOutline
from steelyard.reports.outline import Issue, outline
from steelyard.reports.report import Report
from steelyard.reports.text import plain

_SPECIAL = re.compile(r"([\\`*{}\[\]<>|#~]|(?<!\w)_|_(?!\w))")

_LIVE = re.compile(r"@(?=\w)|#(?=\d)|:(?=//)|\bwww(?=\.)|\bGH(?=-\d)", re.IGNORECASE)
"""What GitHub makes a mention, a reference or a link of, even where markup is escaped."""
_NOTHING = "<!-- -->"


def render(report: Report) -> str:
    """Return the report as GitHub-flavored Markdown.

    Text from the model's files is escaped: it can neither add markup nor links.
    """
    said = outline(report)
    blocks = [f"# {escape(said.title)}", escape(said.headline)]
    blocks.append("## What is wrong")
    nothing = "Nothing wrong was found." if said.weighed else "Nothing was weighed."
    blocks.append("\n".join(_issues(said.issues)) or nothing)
    if said.statements:
        blocks.append("## What it is")
        rows = [
            f"| {s.label} | {escape(s.text)} | {s.basis} | {escape(s.places)} |"
            for s in said.statements
        ]
        blocks.append("\n".join(["| | | Basis | Where |", "|---|---|---|---|", *rows]))
    if said.law is not None:
        blocks += _law(said.law)
    for heading, lines in (
        ("Ignored", said.ignored),
        ("Notices", said.notices),
        ("What would settle what is unknown", said.questions),
    ):
        if lines:
            blocks.append(f"## {heading}")
            blocks.append("\n".join(f"- {escape(line)}" for line in lines))
    if said.next_steps:
        blocks.append("## What to do next")
        steps = enumerate(said.next_steps, 1)
        blocks.append("\n".join(f"{n}. {escape(step)}" for n, step in steps))
    blocks.append(_all_facts(report))
    blocks.append(f"*{escape(said.footer)}*")
    return "\n\n".join(block for block in blocks if block) + "\n"


def escape(text: str) -> str:
    """Escape what Markdown and HTML would take for markup; keep the text on one line.

    A comment that shows nothing keeps names and addresses from coming alive as mentions and links.
    """
    marked = _SPECIAL.sub(r"\\\1", plain(text, 400).replace("&", "&amp;"))
    entities = marked.replace("\\<", "&lt;").replace("\\>", "&gt;")
    return _LIVE.sub(rf"\g<0>{_NOTHING}", entities)


def _issues(issues: Iterable[Issue]) -> Iterable[str]:
    for issue in issues:
        torn = "contradiction: " if issue.contradiction else ""
        trail = ", ".join(escape(part) for part in (issue.rule, issue.location) if part)
        yield f"- **{issue.severity}** {torn}{escape(issue.message)}" + (
            f" ({trail})" if trail else ""
        )
        for claim in issue.claims:
            where = f", {escape(claim.places)}" if claim.places else ""
            yield f"  - *{claim.basis}* {escape(claim.text)}{where}"


def _law(said: LawOutline) -> Iterable[str]:
    """Write what binds, what will, what is disputed; the rest in one list."""
    yield f"## Rules that bind you: {escape(said.whom)}"
    yield "\n".join(_rules(said.binding)) or "Nothing was found."
    for heading, lines in (("From later on", said.coming), ("Contested", said.contested)):
        if lines:
            yield f"### {heading}"
            yield "\n".join(_rules(lines))
    rest = [*said.classed, *said.exempt, said.elsewhere, *said.assumed]
    rest += [*said.principles, *said.watched, said.undetermined]
    told = [f"- {escape(line)}" for line in rest if line]
    if told:
        yield "### Beside that"
        yield "\n".join(told)


def _rules(lines: Iterable[LawLine]) -> Iterable[str]:
    for line in lines:
        trail = ", ".join(part for part in (line.certainty, line.dates, line.rule) if part)
        yield f"- **{escape(line.jurisdiction)}** {escape(line.title)} ({escape(trail)})"
        for duty in line.duties:
            when = f", {escape(duty.deadline)}" if duty.deadline else ""
            yield f"  - *{duty.state}* {escape(duty.text)}{when}"
        for reason in line.reasons:
            yield f"  - {escape(reason)}"
        if line.penalty:
            yield f"  - penalty: {escape(line.penalty)}"


def _all_facts(report: Report) -> str:
    rows = [
        f"| `{fact.name}` | {escape(fact_text(fact))} | {fact.basis} | {escape(places(fact))} |"
        for fact in report.book
    ]
    if not rows:
        return ""
    head = ["<details><summary>All facts</summary>", "", "| Fact | Value | Basis | Where |",
            "|---|---|---|---|"]  # fmt: skip
    return "\n".join([*head, *rows, "", "</details>"])
