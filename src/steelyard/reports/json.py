"""The report as JSON: versioned, deterministic, valid against the schema that ships."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from steelyard.reports.document import ReportDocument, document
from steelyard.reports.report import Report

_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Control and format characters that JSON allows as they are, but a terminal would obey."""


def render(report: Report) -> str:
    """Return the report as JSON text: two-space indent, UTF-8, one newline at the end.

    Fields that do not apply are left out of evidence and claims; everything else is always
    there. Characters that nobody sees are escaped.
    """
    data = document(report).model_dump(mode="json")
    text = json.dumps(_trim(data), indent=2, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text) + "\n"


def schema() -> dict[str, Any]:
    """Generate the JSON Schema of the report (draft 2020-12)."""
    generated = ReportDocument.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **generated}


def shipped_schema() -> str:
    """Return the schema as it ships, which a test keeps equal to `schema()`."""
    return (resources.files(__package__) / "report.schema.json").read_text(encoding="utf-8")


_ALWAYS = frozenset({"location", "link", "high"})


def _trim(value: Any) -> Any:
    """Leave out fields that are None, except those that readers expect to be there."""
    if isinstance(value, dict):
        return {k: _trim(v) for k, v in value.items() if v is not None or k in _ALWAYS}
    return [_trim(item) for item in value] if isinstance(value, list) else value
