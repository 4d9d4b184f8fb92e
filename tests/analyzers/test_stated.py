"""What people state: the user by option, the publisher in the model's own file."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from steelyard.analyzers import stated
from steelyard.errors import FactError
from steelyard.facts import Basis, FactBook, Interval
from tests import models
from tests.analyzers.facts_of import facts_of


def test_the_models_own_file(tmp_path: Path) -> None:
    text = b"""
[facts]
training.tokens = "1e12..2e12"
"release.date" = 2026-01-02
model.modalities.output = ["text"]
weights.public = true
[[ignore]]
rule = "LIC001"
"""
    book = facts_of(stated.analyze, models.read(models.folder(tmp_path, files={stated.FILE: text})))
    assert book.value("training.tokens") == Interval(1e12, 2e12)
    assert book.value("release.date") == date(2026, 1, 2)
    assert book.value("model.modalities.output") == {"text"}
    fact = book.resolve("weights.public")
    assert fact is not None
    assert fact.basis is Basis.DECLARED
    assert fact.evidence[0].place == "steelyard.toml weights.public"


@pytest.mark.parametrize(
    "text",
    [b"[facts", b"[facts]\nno.such.name = 1", b"[facts]\nweights.public = 3", b"[" * 5000,
     b"[facts]\nmodel.layers = -1"],
)  # fmt: skip
def test_what_does_not_fit_is_named_not_raised(tmp_path: Path, text: bytes) -> None:
    book = facts_of(stated.analyze, models.read(models.folder(tmp_path, files={stated.FILE: text})))
    assert book.value("integrity.documents.damaged")


def test_the_user() -> None:
    book = FactBook(stated.by_user({"training.tokens": 2e12}))
    assert book.value("training.tokens") == 2e12


def test_a_value_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(FactError):
        stated.read_value("weights.public", {"a": 1})
