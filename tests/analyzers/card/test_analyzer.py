"""What the card says and lacks."""

from __future__ import annotations

import pytest

from steelyard.checkpoints.documents import JsonValue
from steelyard.facts import Basis, Evidence, FactBook, Interval
from tests.analyzers.card.asking import EMBEDDER, ask, evidence
from tests.analyzers.documents import SHARED, carded, front, model


def test_an_ordinary_card() -> None:
    config: JsonValue = {"_name_or_path": "acme/base-encoder"}
    book = ask(model({"README.md": EMBEDDER}, json={"config.json": config}))
    assert {fact.name: fact.value for fact in book} == {
        "model.name": "tiny-embedder",
        "model.modalities.input": {"text"},
        "model.modalities.output": {"embedding"},
        "card.base_model": False,
        "card.contact": False,
        "card.datasets": {"acme/pairs", "questions"},
        "card.invalid_fields": frozenset(),
        "card.languages": {"en"},
        "card.library": "sentence-transformers",
        "card.limitations": False,
        "card.out_of_scope": False,
        "card.pipeline_tag": "sentence-similarity",
        "card.placeholders": frozenset(),
        "card.present": True,
        "card.results": 0,
        "card.results.incomplete": frozenset(),
        "card.results.unbound": 0,
        "card.sections": {
            "how_to_get_started",
            "model_details",
            "training_details",
            "training_procedure",
            "uses",
        },
        "card.sections.missing": {
            "bias_risks_limitations",
            "environmental_impact",
            "evaluation",
            "model_card_contact",
            "out_of_scope_use",
        },
        "card.valid": True,
        "license.declared": "Apache-2.0",
        "lineage.base_hint": {"acme/base-encoder"},
    }
    assert evidence(book, "license.declared") == Evidence(
        file="README.md", line=3, field="license", quote="apache-2.0"
    )
    assert evidence(book, "model.name").line == 13
    assert evidence(book, "card.datasets").line == 7


def test_what_a_card_states_is_declared_and_what_it_holds_is_measured() -> None:
    book = ask(carded(EMBEDDER))
    bases = {fact.name: fact.basis for fact in book}
    assert bases["card.languages"] is Basis.DECLARED
    assert bases["license.declared"] is Basis.DECLARED
    assert bases["card.sections"] is Basis.MEASURED
    assert bases["card.valid"] is Basis.MEASURED


class TestLicense:
    @pytest.mark.parametrize(
        ("matter", "declared"),
        [
            ("license: apache-2.0", "Apache-2.0"),
            ("license: Apache License 2.0", "Apache-2.0"),
            ("license: llama3.1", "LicenseRef-scancode-llama-3.1-license-2024"),
            ("license: gpl-3.0", "GPL-3.0-only"),
            ("license: gemma", "gemma"),
            ("license: other", "other"),
            ("license: other\nlicense_name: acme-1.0", "acme-1.0"),
            ("license: other\nlicense_name: mit", "MIT"),
            ("license: mine alone", "mine alone"),
            ("license: MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("license: [mit, apache-2.0]", "MIT, Apache-2.0"),
        ],
    )
    def test_declared(self, matter: str, declared: str) -> None:
        assert ask(front(matter)).value("license.declared") == declared

    @pytest.mark.parametrize("matter", ["license: unknown", "license: ''", "license: 3", "a: b"])
    def test_nothing_declared(self, matter: str) -> None:
        assert "license.declared" not in ask(front(matter))

    def test_name_and_link(self) -> None:
        book = ask(front("license: other\nlicense_name: acme\nlicense_link: LICENSE.md"))
        assert book.value("license.name") == "acme"
        assert book.value("license.link") == "LICENSE.md"
        assert evidence(book, "license.link").line == 4


class TestName:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("# Tiny", "Tiny"),
            ("# Model Card for Tiny", "Tiny"),
            ("# Tiny model card", "Tiny"),
            ("# **Tiny** [2](https://x.org)", "Tiny** [2](https://x.org)"),
            ("Tiny\n====", "Tiny"),
            ("# \x1b[31mTiny\x07", "[31mTiny"),
            ("---\nmodel-index: [{name: from-index, results: []}]\n---\n## Uses", "from-index"),
        ],
    )
    def test_from_the_card(self, text: str, name: str) -> None:
        found = ask(carded(text)).value("model.name")
        assert found == (name if "**" not in name else "Tiny** 2")

    @pytest.mark.parametrize(
        "text", ["# Model Details\nx", "## Tiny", "# Model Card", "# {model_id}"]
    )
    def test_no_name(self, text: str) -> None:
        assert "model.name" not in ask(carded(text))

    def test_from_the_header(self) -> None:
        named = model(weights="a.gguf", metadata={"general.name": "Tiny 1B"})
        assert ask(named).value("model.name") == "Tiny 1B"

    def test_from_spacy(self) -> None:
        meta: JsonValue = {
            "spacy_version": ">=3",
            "lang": "en",
            "name": "core",
            "sources": [{"name": "OntoNotes"}, "WordNet", 3],
        }
        book = ask(model(json={"en_core/meta.json": meta}, weights=None))
        assert book.value("model.name") == "en_core"
        assert book.value("card.datasets") == {"OntoNotes", "WordNet"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data: the cards are others' data")
class TestRealCards:
    def real(self, name: str) -> FactBook:
        return ask(carded((SHARED / "model_cards" / name).read_text(encoding="utf-8")))

    def test_every_card_is_read(self) -> None:
        for path in sorted((SHARED / "model_cards").glob("*/*.md")):
            book = ask(carded(path.read_text(encoding="utf-8")))
            assert book.value("card.valid") is True, path.name
            assert book.value("card.invalid_fields") == frozenset(), path.name

    @pytest.mark.parametrize(
        ("name", "billions"),
        [
            ("other/repo_deepseek-ai+DeepSeek-V3_README.md", 671),
            ("other/repo_MoonshotAI+Kimi-K2_README.md", 1000),
            ("other/repo_MiniMax-AI+MiniMax-M2_README.md", 230),
            ("other/repo_xai-org+grok-1_README.md", 314),
            ("meta/llama2_MODEL_CARD.md", None),
            ("meta/llama3_1_MODEL_CARD.md", None),
            ("meta/llama4_MODEL_CARD.md", None),
            ("other/gpt2_model_card.md", None),
        ],
    )
    def test_sizes(self, name: str, billions: int | None) -> None:
        value = self.real(name).value("model.parameters.total")
        if billions is None:
            assert value is None
        else:
            assert isinstance(value, Interval)
            assert value.overlaps(billions * 10**9)

    def test_an_embedder(self) -> None:
        book = self.real("other/hf_all-MiniLM-L6-v2_README.md")
        assert book.value("model.name") == "all-MiniLM-L6-v2"
        assert book.value("license.declared") == "Apache-2.0"
        assert evidence(book, "license.declared").line == 3
        assert book.value("card.pipeline_tag") == "sentence-similarity"
        assert book.value("card.limitations") is False
        datasets = book.value("card.datasets")
        assert isinstance(datasets, frozenset)
        assert len(datasets) == 21

    def test_a_card_with_every_section_of_its_time(self) -> None:
        book = self.real("other/gpt2_model_card.md")
        assert book.value("card.out_of_scope") is True
        assert book.value("card.limitations") is True
        assert book.value("card.contact") is True

    def test_a_card_that_names_its_base(self) -> None:
        book = self.real("other/hf_hugginllam_gemma-3-270m-Q4_K_M-GGUF_README.md")
        assert book.value("lineage.declared_base") == {"google/gemma-3-270m"}
