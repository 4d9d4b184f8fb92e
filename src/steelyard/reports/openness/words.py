"""What a report on openness says, before it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from steelyard.analyzers.openness.index import score
from steelyard.analyzers.openness.mof import Evaluation, Release, State
from steelyard.analyzers.openness.verdicts import Openness
from steelyard.facts import FactBook
from steelyard.reports.text import plain
from steelyard.rules import Finding, Verdict

_LIMBS = (
    ("eu.aiact.oss.license", "license"),
    ("eu.aiact.oss.monetization", "not monetized"),
    ("eu.aiact.oss.publicity", "public"),
    ("eu.aiact.51.2", "no systemic risk"),
    ("eu.aiact.oss_exemption", "exempt"),
)
"""The parts of the European exemption, each with the rule that decides it."""


@dataclass(frozen=True, slots=True)
class OpennessReport:
    """Everything that the report says, with where it comes from."""

    title: str
    said: Openness
    release: Release
    book: FactBook
    findings: tuple[Finding, ...]
    """What rules on the European exemption found."""


@dataclass(frozen=True, slots=True)
class ComponentLine:
    """One component of the Model Openness Framework."""

    name: str
    needed_for: str
    state: str
    license: str
    place: str
    note: str


def components(evaluation: Evaluation) -> tuple[ComponentLine, ...]:
    """Return a line for each component, those that are there first."""
    lines = [
        ComponentLine(
            j.part.name,
            j.part.first_class if j.part.required else "optional",
            j.state.value,
            plain(f"{j.license} ({j.level})", 60) if j.license else "",
            plain(j.path, 60),
            plain(j.note),
        )
        for j in evaluation.judgments
    ]
    return tuple(sorted(lines, key=lambda line: line.state == State.MISSING.value))


def verdicts(report: OpennessReport) -> Iterable[tuple[str, str]]:
    """Yield each framework's answer, side by side; none stands for another."""
    said = report.said
    if said.mof is not None:
        yield "MOF", _mof(said.mof)
        if said.mof_by_paper is not None:
            yield "", f"by the paper's reading: {said.mof_by_paper.label}"
    met = report.book.value("openness.osaid")
    if met is not None or any(said.osaid.values()):
        elements = ", ".join(f"{name} {state or 'unknown'}" for name, state in said.osaid.items())
        whole = "undecided" if met is None else "met" if met is True else "not met"
        yield "OSAID", f"{whole}: {elements}"
    if said.tier is not None:
        yield "G7 tier", said.tier
    known = sum(1 for dimension in said.index if dimension.state)
    if known:
        total = score(said.index)
        shown = f"{total.low:g}" if total.exact else f"{total.low:g} to {total.high:g}"
        yield "Index", f"{shown} of {len(said.index)}, {known} dimensions known"
    exemption = "; ".join(_limbs(report.findings))
    if exemption:
        yield "EU law", f"{exemption}. The legal exemption is another question than openness."


def _mof(evaluation: Evaluation) -> str:
    progress = ", ".join(f"{name} {value:.0f} %" for name, value in evaluation.progress.items())
    return f"{evaluation.label} ({progress})"


def _limbs(findings: Iterable[Finding]) -> Iterable[str]:
    by_rule = {finding.rule: finding for finding in findings}
    for rule, words in _LIMBS:
        finding = by_rule.get(rule)
        if finding is None:
            continue
        verdict = finding.verdict
        if rule == "eu.aiact.51.2" and verdict in (Verdict.APPLIES, Verdict.DOES_NOT_APPLY):
            verdict = Verdict.DOES_NOT_APPLY if verdict is Verdict.APPLIES else Verdict.APPLIES
        answer = {Verdict.APPLIES: "yes", Verdict.DOES_NOT_APPLY: "no"}.get(verdict, str(verdict))
        yield f"{words} {answer} ({rule})"


def missing(evaluation: Evaluation) -> str:
    """Say what the next class asks for."""
    if evaluation.next_class is None:
        return "Nothing is missing: the highest class is reached."
    names = ", ".join(
        f"{j.part.name} ({j.state})" if j.state is not State.MISSING else j.part.name
        for j in evaluation.missing
    )
    return f"Missing for class {evaluation.next_class}: {names or 'nothing'}"
