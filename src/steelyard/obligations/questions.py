"""The questions that would settle what is open, the most useful first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from steelyard.facts import Term, term
from steelyard.rules import Finding


@dataclass(frozen=True, slots=True)
class Question:
    """A fact that nobody knows and that some rule needs."""

    term: Term
    settles: tuple[str, ...]
    """Ids of the rules that wait for it."""


def open_questions(findings: Iterable[Finding]) -> tuple[Question, ...]:
    """Return the facts that would settle what is undetermined, ranked by how many rules wait."""
    waiting: dict[str, list[str]] = {}
    for finding in findings:
        for name in finding.questions:
            waiting.setdefault(name, []).append(finding.rule)
    ranked = sorted(waiting, key=lambda name: (-len(waiting[name]), name))
    return tuple(Question(term(name), tuple(sorted(waiting[name]))) for name in ranked)
