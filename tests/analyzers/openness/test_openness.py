"""Tiers, elements and the index: descriptive, apart from each other, silent where unknown."""

from __future__ import annotations

import pytest

from steelyard.analyzers import openness
from steelyard.analyzers.openness.index import judged, read_index, score
from steelyard.errors import SteelyardError
from steelyard.facts import Basis, Fact, FactBook, Interval, Value
from tests.analyzers.documents import SHARED, model

FREE: dict[str, Value] = {
    "weights.public": True,
    "license.effective": "Apache-2.0",
    "license.restrictions": frozenset({"attribution"}),
}


def derived(facts: dict[str, Value]) -> dict[str, Value]:
    book = FactBook(Fact(name, value, Basis.DECLARED) for name, value in facts.items())
    return {fact.name: fact.value for fact in openness.derive(book)}


@pytest.mark.parametrize(
    ("more", "tier"),
    [
        ({}, "open-weights"),
        ({"license.restrictions": frozenset({"attribution", "user_scale"})}, "weights-available"),
        ({"code.public": True, "data.information_public": True}, "open-source"),
        ({"code.public": True, "data.public": True}, "open-source-open-data"),
        ({"data.public": True}, "open-weights"),
        ({"weights.public": False}, "closed"),
    ],
)
def test_tiers(more: dict[str, Value], tier: str) -> None:
    assert derived({**FREE, **more})["openness.g7_tier"] == tier


def test_a_tier_needs_weights_and_terms() -> None:
    assert "openness.g7_tier" not in derived({"weights.public": True})
    assert "openness.g7_tier" not in derived({"license.restrictions": frozenset()})


def test_restricted_fields_of_use_fail_the_definition() -> None:
    restricted = {**FREE, "license.restrictions": frozenset({"noncommercial"})}
    assert derived(restricted)["openness.osaid"] is False
    assert "openness.osaid" not in derived(FREE), "data and code are unknown"


def test_the_definition_needs_all_three_elements() -> None:
    everything: dict[str, Value] = {
        **FREE,
        "openness.components": frozenset(
            {"Model parameters (Final)", "Model architecture", "Data preprocessing code",
             "Training code", "Inference code", "Datasets"}
        ),
        "data.public": True,
    }  # fmt: skip
    found = derived(everything)
    assert {found[f"openness.osaid.{e}"] for e in ("data", "code", "parameters")} == {"met"}
    assert found["openness.osaid"] is True


def test_usage_information_is_what_the_card_says() -> None:
    card: dict[str, Value] = {
        "card.present": True,
        "card.limitations": True,
        "card.sections": frozenset({"uses", "how_to_get_started"}),
        "model.modalities.input": frozenset({"text"}),
        "model.modalities.output": frozenset({"text"}),
    }
    assert derived(card)["usage_info.public"] is True
    found = derived({**card, "card.limitations": False})
    assert found["usage_info.public"] is False
    assert found["usage_info.missing"] == frozenset({"limitations"})
    assert "usage_info.public" not in derived({})


def test_files_show_components_and_only_a_public_source_shows_that_weights_are_public() -> None:
    texts = {"README.md": "# m\n\nThis open-source model reaches Class II - Open Tooling Model.\n"}
    shown = {f.name: f.value for f in openness.analyze(model(texts, kind="folder"))}
    assert "weights.public" not in shown
    assert shown["openness.claims_open_source"] is True
    assert shown["openness.claimed_mof_class"] == "II"
    public = {f.name: f for f in openness.analyze(model(texts, kind="hub", spec="hf://a/b"))}
    assert public["weights.public"].value is True
    names = {
        member
        for fact in openness.analyze(model(texts))
        if fact.name == "openness.components" and isinstance(fact.value, frozenset)
        for member in fact.value
    }
    assert {"Model parameters (Final)", "Model card"} <= names


def test_an_unknown_dimension_makes_the_score_a_range() -> None:
    nothing = judged({})
    assert len(nothing) == 14
    assert score(nothing) == Interval(0, 14)
    some = judged({"licenses": ("open", ""), "paper": ("partial", ""), "preprint": ("closed", "")})
    assert score(some) == Interval(1.5, 12.5)


def test_every_entry_of_the_index_is_read() -> None:
    files = sorted((SHARED / "eu_osai_index").glob("*.yaml"))
    if not files:
        pytest.skip("../shared/data/eu_osai_index is not there: it is others' data")
    for path in files:
        _, dimensions = read_index(path.read_text(encoding="utf-8"), path.name)
        assert len(dimensions) == 14
        assert score(dimensions).low >= 0
    assert len(files) > 180


@pytest.mark.parametrize("text", ["", "a: 1", "system: {name: x}\nlicenses: {class: ajar}"])
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(SteelyardError) as caught:
        read_index(text, "odd.yaml")
    assert caught.value.location.startswith("odd.yaml")
