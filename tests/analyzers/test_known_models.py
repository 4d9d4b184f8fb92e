"""The base of known models: complete in its sources, plausible in its figures, exact in lookups."""

from __future__ import annotations

from datetime import date

import pytest

from steelyard.analyzers.known_models import (
    KnownModel,
    analyze,
    derive,
    facts_of,
    find,
    known_models,
)
from steelyard.analyzers.licenses.terms import terms_of
from steelyard.compute import by_architecture
from steelyard.facts import Basis, Fact, FactBook, Interval
from steelyard.knowledge import load
from tests.analyzers.documents import model

EXPLAINED = {
    "T5-11B", "T5-3B", "Flan-T5 11B",  # half of an encoder-decoder sees each token
    "Llama-3.2-1B",  # the hardware method gives ten times as much (guidelines, annex A)
}  # fmt: skip


def test_there_are_enough_models_of_many_makers() -> None:
    models = known_models()
    assert len(models) >= 150
    assert len({model.developer for model in models}) >= 30
    assert len({model.name for model in models}) == len(models)
    repositories = [name for model in models for name in model.ids]
    assert len(set(repositories)) == len(repositories)


@pytest.mark.parametrize("model", known_models(), ids=lambda m: m.name)
def test_every_figure_has_a_source_and_is_plausible(model: KnownModel) -> None:
    sources = load("models")["sources"]
    figures = (model.parameters, model.active, model.tokens, model.compute, model.license)
    assert all(figure.source in sources for figure in figures if figure is not None)
    assert date(2018, 1, 1) <= model.released <= date(2026, 11, 24)
    total, active = model.parameters, model.active
    assert total is None or 1e6 < float(total.value) < 1e13
    assert total is None or active is None or float(active.value) <= float(total.value)
    if model.compute is not None:
        assert model.compute.confidence in load("models")["bands"]
        assert 1e18 < float(model.compute.value) < 1e27
    assert all(terms_of(part) for part in str(model.license.value).split(" AND "))


@pytest.mark.parametrize("model", known_models(), ids=lambda m: m.name)
def test_tokens_parameters_and_compute_fit_together(model: KnownModel) -> None:
    book = FactBook(fact for fact in facts_of(model) if not fact.name.startswith("license."))
    estimate = by_architecture(book)
    published = model.compute_range
    if estimate is None or published is None or model.name in EXPLAINED:
        return
    assert estimate.flop.overlaps(Interval(published.low / 1.5, published.high * 1.5))


def test_lookup_is_exact() -> None:
    found = find("Qwen/Qwen2.5-72B")
    assert found is not None
    assert found is find("qwen/qwen2.5-72b")
    assert found is find("Qwen2.5-72B")
    assert find("Qwen2.5-72B-my-finetune") is None
    assert find("somebody/Qwen2.5-72B") is None
    assert find("") is None


def test_facts_are_declarations_with_their_source() -> None:
    found = find("meta-llama/Llama-3.1-405B")
    assert found is not None
    facts = {fact.name: fact for fact in facts_of(found)}
    assert facts["training.compute"].basis is Basis.DECLARED
    assert isinstance(facts["training.compute"].value, Interval)
    assert "Epoch" in facts["training.compute"].evidence[0].place
    assert facts["weights.public"].value is True


def test_a_repository_is_looked_up_and_a_folder_is_not() -> None:
    spec = "hf://Qwen/Qwen3-8B@main"
    hub = {fact.name: fact for fact in analyze(model(kind="hub", spec=spec))}
    assert "training.compute" in hub
    assert "license.effective" not in hub, "files show that better"
    assert list(analyze(model(kind="folder", spec="models/Qwen3-8B"))) == []


def test_the_declared_base_brings_its_compute() -> None:
    base = Fact("lineage.declared_base", frozenset({"Qwen/Qwen3-8B"}), Basis.DECLARED)
    (found,) = derive(FactBook([base]))
    assert found.name == "training.compute.base"
    assert "Qwen3-8B" in found.note
    two = Fact("lineage.declared_base", frozenset({"Qwen/Qwen3-8B", "a/b"}), Basis.DECLARED)
    assert list(derive(FactBook([two]))) == []


def test_a_merge_has_the_compute_of_its_parents_who_may_share_a_base() -> None:
    parents = frozenset({"Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B"})
    merge = [
        Fact("lineage.declared_base", parents, Basis.DECLARED),
        Fact("lineage.declared_relation", "merge", Basis.DECLARED),
    ]
    (found,) = derive(FactBook(merge))
    ranges = [known.compute_range for name in parents if (known := find(name)) is not None]
    lows, highs = zip(*((one.low, one.high) for one in ranges if one is not None), strict=True)
    assert found.value == Interval(max(lows), sum(highs))
    unknown = Fact("lineage.declared_base", parents | {"a/b"}, Basis.DECLARED)
    assert list(derive(FactBook([unknown, merge[1]]))) == []
