"""The guide names every field of what is written, and every exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steelyard.sealing import lock_document
from steelyard.sealing.reports import difference_json
from steelyard.sealing.reports.verification_json import VerificationDocument

GUIDE = Path(__file__).parents[2] / "docs/guide"
PAGE = "\n".join((GUIDE / name).read_text(encoding="utf-8") for name in ("seal.md", "lock.md"))


@pytest.mark.parametrize(
    "schema",
    [lock_document.schema(), difference_json.schema(), VerificationDocument.model_json_schema()],
    ids=["lock", "diff", "verify"],
)
def test_every_field_is_documented(schema: dict[str, Any]) -> None:
    parts = [schema, *schema["$defs"].values()]
    for name in {name for part in parts for name in part.get("properties", {})}:
        assert f"`{name}`" in PAGE, name


def test_exit_codes_are_documented() -> None:
    assert all(f"| {code} |" in PAGE for code in range(4))
