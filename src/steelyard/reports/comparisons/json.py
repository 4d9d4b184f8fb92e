"""A comparison of laws as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from typing import Any

from steelyard.obligations.crosswalk import Crosswalk


def render(said: Crosswalk) -> str:
    """Return the comparison as JSON text, topic by topic and place by place."""
    document = {
        "schema_version": "1.0",
        "as_of": said.as_of.isoformat(),
        "jurisdictions": list(said.jurisdictions),
        "topics": [
            {
                "topic": row.topic.value,
                "disagreement": row.disagreement or None,
                "jurisdictions": {
                    place: [asdict(entry) for entry in entries]
                    for place, entries in row.cells
                    if entries
                },
            }
            for row in said.rows
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, default=_day) + "\n"


def _day(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a comparison")
