"""The JSON Schema of packs, for editors that complete and check YAML while it is written."""

from __future__ import annotations

from typing import Any

from steelyard.rules.pack import PackText


def pack_schema() -> dict[str, Any]:
    """Generate the JSON Schema of a pack (draft 2020-12).

    It knows keys, choices and shapes; conditions and names of facts are checked on loading.
    """
    generated = PackText.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_relaxed(generated),
    }


def _relaxed(value: Any) -> Any:
    """Let what YAML reads as numbers, dates and booleans stand where text is read."""
    if isinstance(value, dict):
        found = {key: _relaxed(item) for key, item in value.items()}
        if found.get("format") == "date":
            found.pop("format")
            found["pattern"] = r"^\d{4}-\d{2}-\d{2}$"
        return found
    return [_relaxed(item) for item in value] if isinstance(value, list) else value
