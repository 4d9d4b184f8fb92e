"""Every name has type, meaning and question; values that people write are read or refused."""

from __future__ import annotations

from datetime import date

import pytest

from steelyard.errors import FactError
from steelyard.facts import Interval, Kind, Value, term, vocabulary

_FIXED = """
model.identity model.architecture model.parameters.total model.parameters.active model.formats
model.modalities.output license.declared license.detected license.effective lineage.declared_base
lineage.base lineage.encoding lineage.edits training.tokens training.compute training.compute.own
training.compute.base weights.public architecture.public usage_info.public data.public code.public
model.narrow openness.mof_class openness.eu_exemption code.unsafe card.sections.missing actor.role
actor.revenue_usd actor.established_in release.date release.eu_market_date release.monetized
"""


@pytest.mark.parametrize("name", _FIXED.split())
def test_the_names_that_others_rely_on_are_there(name: str) -> None:
    assert term(name).name == name


@pytest.mark.parametrize("entry", vocabulary().values(), ids=lambda entry: entry.name)
def test_an_entry_is_complete(entry: object) -> None:
    from steelyard.facts import Term

    assert isinstance(entry, Term)
    assert entry.meaning.endswith(".")
    assert entry.question.endswith("?")
    assert bool(entry.choices) or entry.kind is not Kind.ENUM
    assert bool(entry.unit) or entry.kind is not Kind.QUANTITY
    assert entry.expects


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("weights.public", "yes", True),
        ("weights.public", " No ", False),
        ("training.compute", "1e25", 10**25 if float(10**25) < 2**53 else 1e25),
        ("training.compute", "1e22..3e23", Interval(1e22, 3e23)),
        ("model.parameters.total", "134,515,008", 134_515_008),
        ("release.date", "2026-11-23", date(2026, 11, 23)),
        ("model.modalities.output", "text, image", frozenset({"text", "image"})),
        ("openness.mof_class", "III", "III"),
        ("license.declared", "MIT", "MIT"),
    ],
)
def test_what_people_write_is_read(name: str, text: str, value: Value) -> None:
    assert term(name).parse(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("weights.public", "maybe"),
        ("training.compute", "lots"),
        ("training.compute", "3e23..1e22"),
        ("training.compute", "nan"),
        ("training.compute", "-1"),
        ("model.layers", "2.5"),
        ("release.date", "yesterday"),
        ("openness.mof_class", "IV"),
        ("model.modalities.output", "smell"),
        ("license.declared", "  "),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what_would(name: str, text: str) -> None:
    with pytest.raises(FactError) as caught:
        term(name).parse(text)
    assert term(name).expects in caught.value.what
