"""Write a page for each rule, and an index, from the packs: docs/rules/ (not kept in git).

python -m tools.rule_pages
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from steelyard.reports.markdown import escape
from steelyard.rules import Pack, Parameter, Rule, load_packs
from steelyard.rules.jurisdictions import jurisdictions
from steelyard.rules.pack import Case, Duty, Start
from steelyard.rules.rendering import show

FOLDER = Path(__file__).parents[1] / "docs" / "rules"


def page(rule: Rule, pack: Pack) -> str:
    """Write the page of one rule."""
    blocks = [f"# {rule.id}: {escape(rule.title)}", _lead(rule, pack), _times(rule)]
    blocks += [f"## When it applies\n\n```\n{rule.when.text}\n```", _whom(rule)]
    blocks += [_parameters(rule, pack), _arguments(rule)]
    if rule.duties:
        blocks.append("## What it asks for")
        blocks += [_duty(duty) for duty in rule.duties]
    if rule.penalty:
        blocks.append(f"## Penalty\n\n{escape(rule.penalty)}")
    blocks.append("## Test cases\n\n" + "\n".join(_case(case) for case in rule.tests))
    blocks.append("*Not legal advice: check the source.*")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _lead(rule: Rule, pack: Pack) -> str:
    place = jurisdictions().get(rule.jurisdiction)
    rows = [
        ("Source", f"[{escape(rule.citation.text)}]({rule.citation.link})"),
        ("Instrument", escape(pack.instrument or pack.title)),
        ("Jurisdiction", place.name if place else rule.jurisdiction),
        ("Status", rule.status.value.replace("_", " ")),
        ("Severity", rule.severity.value),
        ("Confidence", rule.confidence.value),
        ("Reviewed", rule.reviewed.isoformat()),
    ]
    return _table("", "", rows)


def _table(first: str, second: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {first} | {second} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {b} |" for a, b in rows)])


def _times(rule: Rule) -> str:
    rows = [("In the law since", rule.enacted.isoformat())] if rule.enacted else []
    rows += [("Applies from", _start(start)) for start in rule.applies_from]
    rows += [("Can be enforced from", _start(start)) for start in rule.enforceable_from]
    rows += [("Until", rule.until.isoformat())] if rule.until else []
    return "## Dates\n\n" + _table("", "", rows) if rows else ""


def _start(start: Start) -> str:
    named = f"`{start.fact}`" if start.fact else f"`parameter.{start.parameter}`"
    day = start.date.isoformat() if start.date else named
    when = f" if `{start.when.text}`" if start.when.names else ""
    return f"{day}{when}" + (f" ({escape(start.reason)})" if start.reason else "")


def _whom(rule: Rule) -> str:
    lines = [f"It binds: {', '.join(rule.roles)}." if rule.roles else ""]
    links = ", ".join(f"[{name}]({name}.md)" for name in rule.exemptions)
    lines.append(f"It does not apply where an exemption does: {links}." if links else "")
    if rule.concludes:
        lines.append(f"Its answer settles the fact `{rule.concludes}` ({rule.certainty}).")
    return "\n".join(line for line in lines if line)


def _parameters(rule: Rule, pack: Pack) -> str:
    text = " ".join(condition.text for condition in rule.conditions)
    starts = {start.parameter for start in (*rule.applies_from, *rule.enforceable_from)}
    used = [p for p in pack.parameters if f"parameter.{p.id}" in text or p.id in starts]
    rows = [(f"`parameter.{p.id}`", _values(p)) for p in used]
    return "## Values that the law sets\n\n" + _table("Name", "Value", rows) if rows else ""


def _values(parameter: Parameter) -> str:
    values = "; ".join(f"{_value(v.value)} since {v.since}" for v in parameter.values)
    source = f"[{escape(parameter.citation.text)}]({parameter.citation.link})"
    return f"{escape(parameter.title)}: {values} {parameter.unit} ({source})"


def _value(value: float | date) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value:g}".replace("e+", "e")


def _arguments(rule: Rule) -> str:
    if not rule.arguments:
        return ""
    lines = [
        f"- *{a.side}{', contested' if a.contests else ''}*: {escape(a.text)} If `{a.when.text}`."
        for a in rule.arguments
    ]
    return "## What speaks for and against\n\n" + "\n".join(lines)


def _duty(duty: Duty) -> str:
    lines = [f"### {escape(duty.text)}", f"Met if `{duty.satisfied_when.text}`."]
    if duty.deadline:
        lines.append(f"Deadline: {escape(duty.deadline.text)}.")
    return "\n\n".join([*lines, f"What to do: {escape(duty.fix)}"])


def _case(case: Case) -> str:
    facts = "; ".join(f"`{fact.name}` {escape(show(fact.value))}" for fact in case.facts)
    day = f", on {case.as_of}" if case.as_of else ""
    return f"- {escape(case.name)}{day}: **{case.expect.verdict}**. {facts}"


def index(packs: Iterable[Pack]) -> str:
    """Write the list of all rules, pack by pack."""
    lines = ["# Rules", "", "Every rule with its source, generated from the packs.", ""]
    for pack in packs:
        lines += [f"## {escape(pack.title)}", "", "| Rule | What | Status |", "|---|---|---|"]
        lines += [
            f"| [{rule.id}]({rule.id}.md) | {escape(rule.title)} | {rule.status.value} |"
            for rule in pack.rules
        ]
        lines.append("")
    return "\n".join(lines)


def write(folder: Path) -> int:
    """Write all pages into `folder`, which is emptied first; return how many."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packs = load_packs()
    for pack in packs:
        for rule in pack.rules:
            (folder / f"{rule.id}.md").write_text(page(rule, pack), encoding="utf-8")
    (folder / "index.md").write_text(index(packs), encoding="utf-8")
    return sum(len(pack.rules) for pack in packs)


if __name__ == "__main__":
    print(f"{write(FOLDER)} pages in {FOLDER}", file=sys.stderr)
