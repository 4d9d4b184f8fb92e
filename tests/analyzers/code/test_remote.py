"""What `auto_map` would run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steelyard.analyzers import code
from tests import models
from tests.analyzers.facts_of import facts_of


def test_auto_map_names_the_code_that_would_run(tmp_path: Path) -> None:
    config = {
        **models.CONFIG,
        "auto_map": {
            "AutoModel": "modeling.Tiny",
            "AutoTokenizer": ["tok.Slow", None],
            "AutoConfig": "other/repo--configuration.Tiny",
        },
    }
    book = facts_of(code.analyze, models.read(models.folder(tmp_path, config=config)))
    assert book.value("code.remote") == {
        "modeling.Tiny",
        "tok.Slow",
        "other/repo--configuration.Tiny",
    }


@pytest.mark.parametrize("auto_map", ["x", 3, [], {"a": {"b": "c"}}])
def test_a_malformed_auto_map_does_no_harm(tmp_path: Path, auto_map: object) -> None:
    files = {"config.json": json.dumps({"auto_map": auto_map}).encode()}
    book = facts_of(code.analyze, models.read(models.write(tmp_path, files)))
    assert book.value("code.remote") == frozenset()
