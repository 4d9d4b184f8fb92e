"""A plan as JSON."""

from __future__ import annotations

import json
from datetime import date

from steelyard.obligations.plan import Action, Plan
from steelyard.obligations.questions import open_questions
from steelyard.reports.parts import UndeterminedDocument, question_document
from steelyard.reports.strict import Document


class PlannedDutyDocument(Document):
    """A duty that an action satisfies."""

    rule: str
    duty: str
    jurisdiction: str
    text: str
    state: str
    standing: str
    applies_from: date | None
    enforceable_from: date | None
    deadline: str | None
    due: date | None
    fix: str
    citation: str
    link: str


class ActionDocument(Document):
    """One thing to do."""

    id: str
    title: str
    state: str
    by: date | None
    jurisdictions: list[str]
    satisfies: list[PlannedDutyDocument]


class PlanDocument(Document):
    """A plan."""

    schema_version: str = "1.0"
    as_of: date
    actions: list[ActionDocument]
    done: list[ActionDocument]
    undetermined: list[UndeterminedDocument]


def render(plan: Plan) -> str:
    """Return the plan as JSON text."""
    said = PlanDocument(
        as_of=plan.as_of,
        actions=[_action(action) for action in plan.actions],
        done=[_action(action) for action in plan.done],
        undetermined=[question_document(question) for question in open_questions(plan.open)],
    )
    return json.dumps(said.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def _action(action: Action) -> ActionDocument:
    return ActionDocument(
        id=action.id,
        title=action.title,
        state=action.state.value,
        by=action.by,
        jurisdictions=list(action.jurisdictions),
        satisfies=[
            PlannedDutyDocument(
                rule=duty.rule,
                duty=duty.duty,
                jurisdiction=duty.jurisdiction,
                text=duty.text,
                state=duty.state.value,
                standing=duty.standing.value,
                applies_from=duty.starts,
                enforceable_from=duty.enforceable,
                deadline=duty.deadline or None,
                due=duty.due,
                fix=duty.fix,
                citation=duty.citation,
                link=duty.link,
            )
            for duty in action.duties
        ],
    )
