"""A timeline as JSON."""

from __future__ import annotations

import json
from typing import Any

from steelyard.obligations.timeline import State, Timeline


def render(said: Timeline) -> str:
    """Return the timeline as JSON text, day by day."""
    days = [
        {
            "day": item.day.isoformat(),
            "changes": [
                {
                    "rule": change.rule,
                    "title": change.title,
                    "jurisdiction": change.jurisdiction,
                    "before": _state(change.before),
                    "after": _state(change.after),
                }
                for change in item.changes
            ],
        }
        for item in said.days
    ]
    document = {"schema_version": "1.0", "subject": said.subject, "days": days}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _state(state: State | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "verdict": state.verdict.value,
        "standing": state.standing.value,
        "certainty": state.certainty.value,
        "words": state.words,
    }
