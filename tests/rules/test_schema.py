"""The schema that editors read accepts every pack that ships, and refuses what does not load."""

from __future__ import annotations

from datetime import date
from typing import Any

import jsonschema
import pytest
import yaml

from steelyard.packs import Resource, shipped
from steelyard.rules.schema import pack_schema


def plain(value: Any) -> Any:
    """Turn dates back into text: that is how a schema sees them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


@pytest.mark.parametrize("item", shipped(), ids=lambda item: item.name)
def test_every_shipped_pack_is_valid(item: Resource) -> None:
    document = plain(yaml.safe_load(item.path.read_text(encoding="utf-8")))
    jsonschema.Draft202012Validator.check_schema(pack_schema())
    jsonschema.validate(document, pack_schema())


def test_a_misspelled_key_is_refused() -> None:
    document = plain(yaml.safe_load(shipped()[0].path.read_text(encoding="utf-8")))
    document["rules"][0]["titel"] = document["rules"][0].pop("title")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, pack_schema())
