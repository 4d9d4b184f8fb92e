"""Fields of the front matter, by the rules of the Hub."""

from __future__ import annotations

import pytest

from tests.analyzers.card.asking import ask, evidence
from tests.analyzers.documents import front


@pytest.mark.parametrize(
    "matter",
    [
        "language: en",
        "language: [en, fra, multilingual, code]",
        "license: [mit, apache-2.0]",
        "license: openrail++",
        "license: unknown",
        "license: other\nlicense_name: x-1.0\nlicense_link: LICENSE",
        "base_model: gpt2",
        "base_model: [org/a, org/b.c-d]",
        "base_model_relation: finetune",
        "datasets: squad",
        "datasets: [squad, org/set]",
        "metrics: [f1]",
        "tags: [a, b]",
        "pipeline_tag: text-generation",
        "new_version: org/newer",
        "co2_eq_emissions: 12.5",
        "co2_eq_emissions: {emissions: 3, source: mine}",
        "model-index: [{name: x, results: []}]",
        "extra_gated_prompt: Please",
        "extra_gated_fields: {Name: text, Where: country, Use: {type: select, options: [a, b]}}",
        "extra_gated_eu_disallowed: true",
        "license:",
        "something_else: {any: thing}",
    ],
)
def test_good_fields(matter: str) -> None:
    assert ask(front(matter)).value("card.invalid_fields") == frozenset()


@pytest.mark.parametrize(
    ("matter", "fields"),
    [
        ("language: english", {"language"}),
        ("language: [en, zz, 3]", {"language.1", "language.2"}),
        ("language: {a: b}", {"language"}),
        ("license: apache", {"license"}),
        ("license: MIT", {"license"}),
        ("license: [mit, foo]", {"license.1"}),
        ("license: other", {"license_name", "license_link"}),
        ("license: other\nlicense_name: x", {"license_link"}),
        ("license_name: [a]", {"license_name"}),
        ("base_model: /home/me/model", {"base_model"}),
        ("base_model: https://huggingface.co/a/b", {"base_model"}),
        ("base_model: [org/a, a b]", {"base_model.1"}),
        ("base_model: ../a", {"base_model"}),
        ("base_model_relation: distilled", {"base_model_relation"}),
        ("base_model_relation: [merge]", {"base_model_relation"}),
        ("datasets: [1]", {"datasets.0"}),
        ("tags: lonely", {"tags"}),
        ("tags: ['']", {"tags.0"}),
        ("pipeline_tag: Text Generation", {"pipeline_tag"}),
        ("pipeline_tag: [text-generation]", {"pipeline_tag"}),
        ("library_name: 3", {"library_name"}),
        ("new_version: [a/b]", {"new_version"}),
        ("co2_eq_emissions: much", {"co2_eq_emissions"}),
        ("co2_eq_emissions: -1", {"co2_eq_emissions"}),
        ("co2_eq_emissions: true", {"co2_eq_emissions"}),
        ("co2_eq_emissions: {source: x}", {"co2_eq_emissions.emissions"}),
        ("extra_gated_eu_disallowed: yes please", {"extra_gated_eu_disallowed"}),
        ("extra_gated_fields: [Name]", {"extra_gated_fields"}),
        ("extra_gated_fields: {Name: string}", {"extra_gated_fields.Name"}),
        ("extra_gated_fields: {Use: select}", {"extra_gated_fields.Use"}),
        ("extra_gated_prompt: {a: b}", {"extra_gated_prompt"}),
        ("model-index: x", {"model-index"}),
        ("model-index: [x]", {"model-index.0"}),
        ("model-index: [{name: x}]", {"model-index.0.results"}),
        ("model-index: [{results: []}]", {"model-index.0.name"}),
        (
            "model-index: [{name: x, results: [{metrics: [{value: 1}]}]}]",
            {
                "model-index.0.results.0.task",
                "model-index.0.results.0.dataset",
                "model-index.0.results.0.metrics.0.type",
            },
        ),
        (
            (
                "model-index: [{name: x, results: [{task: {type: t}, "
                "dataset: {type: d, name: n}, metrics: [{type: m}], source: {name: s}}]}]"
            ),
            {
                "model-index.0.results.0.metrics.0.value",
                "model-index.0.results.0.source.url",
            },
        ),
    ],
)
def test_bad_fields(matter: str, fields: set[str]) -> None:
    book = ask(front(matter))
    assert book.value("card.valid") is True
    assert book.value("card.invalid_fields") == fields
    assert evidence(book, "card.invalid_fields").line is not None or "other" in matter
