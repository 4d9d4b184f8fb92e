"""What a plan says, before it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from steelyard.obligations.plan import Action, Plan, PlannedDuty
from steelyard.obligations.questions import open_questions
from steelyard.reports.text import counted, plain
from steelyard.rules import Standing, State

_STATES = {State.UNMET: "to do", State.UNKNOWN: "to check", State.MET: "done"}


@dataclass(frozen=True, slots=True)
class Step:
    """One action, for a person."""

    by: str
    """`by 2026-08-02`, `overdue since 2026-08-02`, or `no date`."""
    state: str
    title: str
    satisfies: tuple[str, ...]
    """Each duty that it satisfies, with place, text and source."""


def steps(plan: Plan) -> tuple[Step, ...]:
    """Return the actions in order."""
    return tuple(_step(action, plan) for action in plan.actions)


def _step(action: Action, plan: Plan) -> Step:
    by = "no date"
    if action.by is not None:
        by = f"by {action.by}" if action.by > plan.as_of else f"since {action.by}"
    return Step(by, _STATES[action.state], plain(action.title), tuple(map(_duty, action.duties)))


def _duty(duty: PlannedDuty) -> str:
    details = [duty.rule]
    if duty.due is not None:
        details.append(f"due {duty.due}")
    elif duty.deadline:
        details.append(plain(duty.deadline))
    if duty.standing in (Standing.UPCOMING, Standing.TRANSITION) and duty.starts is not None:
        details.append(f"from {duty.starts}")
    if duty.state is State.MET:
        details.append("met")
    return f"{duty.jurisdiction}: {plain(duty.text)} ({', '.join(details)})"


def closing(plan: Plan) -> Iterable[str]:
    """Say what is done and what is open, a line each."""
    if plan.done:
        names = ", ".join(plain(action.title.rstrip(".")) for action in plan.done)
        yield f"Done: {names}."
    if plan.open:
        questions = len(open_questions(plan.open))
        yield (
            f"{counted(len(plan.open), 'rule')} may bind, too: "
            f"{counted(questions, 'answer')} would tell. Answer them with: "
            "steelyard audit … --interview"
        )


def headline(plan: Plan) -> str:
    """Say how much there is to do."""
    duties = sum(len(action.duties) for action in plan.actions)
    if not plan.actions:
        return f"Nothing to do as of {plan.as_of}."
    noun = "duty" if duties == 1 else "duties"
    return f"{counted(len(plan.actions), 'action')} for {duties} {noun}, as of {plan.as_of}"
