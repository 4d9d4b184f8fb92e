"""What the card says and lacks, whatever a stranger wrote there."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.analyzers import card
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import MetadataValue
from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval
from steelyard.knowledge import load
from tests.analyzers.documents import SHARED, carded, front, model
from tests.analyzers.facts_of import facts_of

EMBEDDER = """\
---
language: en
license: apache-2.0
library_name: sentence-transformers
tags:
- sentence-similarity
datasets:
- acme/pairs
- questions
pipeline_tag: sentence-similarity
---

# tiny-embedder

A small encoder that maps sentences to vectors of 384 numbers, for search and clustering.

## Usage

```python
# Limitations
model = load("tiny-embedder")
```

## Intended uses

For short English texts.

## Training procedure

### Hyperparameters

Trained for 100k steps.
"""


def ask(given_model: Model) -> FactBook:
    return facts_of(card.analyze, given_model)


def evidence(book: FactBook, name: str) -> Evidence:
    fact = book.resolve(name)
    assert fact is not None
    return fact.evidence[0]


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


class TestWhichCard:
    def test_none(self) -> None:
        book = ask(model())
        assert book.value("card.present") is False
        assert book.value("card.contact") is False

    @pytest.mark.parametrize("kind", ["file", "url"])
    def test_beside_a_single_file_nothing_is_seen(self, kind: str) -> None:
        assert "card.present" not in ask(model(kind=kind))

    @pytest.mark.parametrize(
        "name", ["README.md", "readme.MD", "Model_Card.md", "MODEL_CARD.md", "README"]
    )
    def test_by_name(self, name: str) -> None:
        assert ask(model({name: EMBEDDER})).value("card.present") is True

    def test_the_nearest_above_the_weights(self) -> None:
        texts = {"README.md": "# outer", "a/README.md": "# nearer", "a/b/c/README.md": "# below"}
        assert ask(model(texts, weights="a/b/model.safetensors")).value("model.name") == "nearer"

    def test_front_matter_makes_the_card(self) -> None:
        texts = {"README.md": "# project", "MODEL_CARD.md": "# the model"}
        assert ask(model(texts)).value("model.name") == "the model"
        texts["README.md"] = "---\nlicense: mit\n---\n# project"
        assert ask(model(texts)).value("model.name") == "project"

    def test_a_translation_only_where_there_is_nothing_else(self) -> None:
        texts = {"README.zh.md": "# other", "README.md": "# own"}
        assert ask(model(texts)).value("model.name") == "own"


class TestFrontMatter:
    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("start", ["", "\ufeff", "\n\n"])
    def test_line_ends_and_marks(self, newline: str, start: str) -> None:
        text = start + "---\nlanguage: de\nlicense: mit\n---\n# Name\n"
        book = ask(carded(text.replace("\n", newline)))
        assert book.value("card.valid") is True
        assert book.value("license.declared") == "MIT"
        assert evidence(book, "license.declared").line == 3 + start.count("\n")
        assert evidence(book, "model.name").line == 5 + start.count("\n")

    def test_none_is_valid(self) -> None:
        book = ask(carded("# Name\n\n---\nlicense: mit\n---\n"))
        assert book.value("card.valid") is True
        assert "license.declared" not in book

    def test_a_rule_is_no_front_matter(self) -> None:
        assert ask(carded("---\n\nSome text.\n")).value("card.valid") is True

    @pytest.mark.parametrize(
        ("matter", "line"),
        [
            ("license: mit\nlicense: mit", 3),
            ("license: [mit", 3),
            ("a: 1\nb: *a", 3),
            ("- a\n- b", 2),
            ("just words", 2),
            ("a: !!python/object:os.system x", 2),
            ("a: \x00", None),
            ("a:\n\tb: 1", 3),
        ],
    )
    def test_broken(self, matter: str, line: int | None) -> None:
        book = ask(front(matter))
        assert book.value("card.valid") is False
        assert evidence(book, "card.valid").line == line
        assert evidence(book, "card.valid").quote

    def test_not_closed(self) -> None:
        book = ask(carded("---\nlicense: mit\n# Name\n"))
        assert book.value("card.valid") is False
        assert evidence(book, "card.valid").line == 1

    def test_no_is_norwegian(self) -> None:
        book = ask(front("language: [no, yo, on]"))
        assert book.value("card.languages") == {"no", "yo", "on"}
        assert book.value("card.invalid_fields") == {"language.2"}


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


class TestSections:
    @pytest.mark.parametrize(
        ("heading", "section"),
        [
            ("# Uses", "uses"),
            ("##   Intended use   ##", "uses"),
            ("Limitations\n-----------", "bias_risks_limitations"),
            ("Evaluation\n===", "evaluation"),
            ("### 3.1 Evaluation Results", "evaluation"),
            ("## **Training Data**", "training_data"),
            ("## [Citation](https://x.org)", "citation"),
            ("**Known limitations:**", "bias_risks_limitations"),
            ('<h2 align="center">Model Details</h2>', "model_details"),
            ("## How to Get Started with the Model", "how_to_get_started"),
            ("## Out-of-Scope Use", "out_of_scope_use"),
            ("## 🌱 Environmental impact [optional]", "environmental_impact"),
            ("## Contact us", "model_card_contact"),
            ("###### Ethical considerations", "bias_risks_limitations"),
        ],
    )
    def test_found_by_heading(self, heading: str, section: str) -> None:
        book = ask(carded(f"# Name\n\n{heading}\n\nSome words.\n"))
        sections = book.value("card.sections")
        assert isinstance(sections, frozenset)
        assert section in sections

    @pytest.mark.parametrize(
        "text",
        [
            "```\n## Limitations\nwords\n```\n",
            "~~~~\n## Limitations\n~~~\nwords\n",
            "<!--\n## Limitations\nwords\n-->\n",
            "    ## Limitations\n",
            "#Limitations\nwords\n",
            "## Limitations\n",
            "## Limitations\n<!-- write something -->\n\n## Next\nwords",
            "## Limitations\n[More Information Needed]\n",
        ],
    )
    def test_not_a_section(self, text: str) -> None:
        assert ask(carded(f"# Name\n{text}")).value("card.limitations") is False

    def test_out_of_scope_is_not_a_use(self) -> None:
        book = ask(carded("# Name\n## Out-of-scope uses\nNothing medical.\n"))
        missing = book.value("card.sections.missing")
        assert isinstance(missing, frozenset)
        assert "uses" in missing
        assert "out_of_scope_use" not in missing

    def test_subsections_fill_the_section_above(self) -> None:
        text = "# Name\n## Evaluation\n### Numbers\n#### Deep\nSeven of ten.\n"
        assert "evaluation" in str(ask(carded(text)).value("card.sections"))

    def test_metadata_and_sentences_need_no_section(self) -> None:
        matter = (
            "co2_eq_emissions: 3\nmodel-index: [{name: x, results: [{task: {type: t},"
            " dataset: {type: d, name: n}, metrics: [{type: m, value: 1}]}]}]"
        )
        book = ask(front(matter, "# Name\nIt should not be used for diagnosis. Write to a@b.org."))
        missing = book.value("card.sections.missing")
        assert isinstance(missing, frozenset)
        assert not missing & {
            "environmental_impact",
            "evaluation",
            "model_card_contact",
            "out_of_scope_use",
        }

    def test_every_name_in_the_template_is_lowercase_words(self) -> None:
        for entry in load("card_template")["sections"].values():
            for phrase in (*entry.get("phrases", ()), *entry.get("exact", ())):
                assert phrase == " ".join(phrase.lower().replace("-", " ").split())


class TestPlaceholders:
    def test_the_template_as_it_comes(self) -> None:
        text = (
            "# Model Card for Model ID\n<!-- Provide a summary -->\n"
            "## Model Details\n### Model Description\n"
            "- **Developed by:** [More Information Needed]\n"
            "- **Funded by [optional]:** {{ funded_by }}\n"
            "## Uses\n### Direct Use\n[More Information Needed]\n"
            "## Bias, Risks, and Limitations\n[More Information Needed](https://x.org/#more)\n"
            "### Recommendations\nUsers (both direct and downstream) should be made aware of the"
            " risks, biases and limitations of the model. More information needed.\n"
            "## How to Get Started with the Model\nUse the code below to get started with the"
            " model.\n\n[More Information Needed]\n"
            "## House rules\nTODO\n"
        )
        book = ask(carded(text))
        assert book.value("card.placeholders") == {
            "House rules",
            "bias_risks_limitations",
            "direct_use",
            "how_to_get_started",
            "model_details",
            "recommendations",
            "uses",
        }
        assert book.value("card.sections") == frozenset()
        assert book.value("card.limitations") is False
        assert "model.name" not in book
        assert evidence(book, "card.placeholders").line == 3

    def test_a_heading_of_ones_own_may_be_empty(self) -> None:
        assert (
            ask(carded("# Name\n## News\n## Uses\nOf use.\n")).value("card.placeholders")
            == frozenset()
        )

    def test_a_label_with_a_value_is_content(self) -> None:
        book = ask(carded("# Name\n## Model details\n- **Developed by:** Acme\n"))
        assert book.value("card.placeholders") == frozenset()


class TestProse:
    @pytest.mark.parametrize(
        "text",
        [
            "Write to safety@acme.org.",
            "## Contact\nThe team in Bern.",
            "Please open an issue.",
            "Use the Community tab.",
            "See https://github.com/acme/model/issues for known flaws.",
            "<https://github.com/acme/model/security>",
            "Report vulnerabilities to our program.",
        ],
    )
    def test_contact(self, text: str) -> None:
        book = ask(carded(f"# Name\n\n{text}\n"))
        assert book.value("card.contact") is True
        assert evidence(book, "card.contact").line == 3

    @pytest.mark.parametrize(
        "text",
        [
            "git clone git@github.com:acme/x",
            "you@example.com",
            "```\nsafety@acme.org\n```",
            "See https://github.com/other/tool/issues/12",
            "logo@2x.png",
            "contact lenses are not covered",
        ],
    )
    def test_no_contact(self, text: str) -> None:
        assert ask(carded(f"# Name\n\n{text}\n")).value("card.contact") is False

    def test_a_security_policy_is_a_contact(self) -> None:
        book = ask(model({"README.md": "# Name", "SECURITY.md": "Write to us."}))
        assert book.value("card.contact") is True
        assert evidence(book, "card.contact").file == "SECURITY.md"

    @pytest.mark.parametrize(
        "text",
        [
            "It should not be used for legal advice.",
            "The model is not intended\nfor medical use.",
            "Out-of-scope: anything illegal.",
            "- Do not use this model to rank people.",
        ],
    )
    def test_out_of_scope(self, text: str) -> None:
        book = ask(carded(f"# Name\n\nA model.\n\n{text}\n"))
        assert book.value("card.out_of_scope") is True
        assert evidence(book, "card.out_of_scope").line == 5

    def test_limitations(self) -> None:
        said = ask(carded("# Name\nThe model has these limitations: it cannot count.\n"))
        assert said.value("card.limitations") is True
        boilerplate = "See the License for permissions and limitations under the License."
        assert ask(carded(f"# Name\n{boilerplate}\n")).value("card.limitations") is False


class TestSize:
    @pytest.mark.parametrize(
        ("text", "low", "high"),
        [
            ("A model with 135M parameters.", 134.5e6, 135.5e6),
            ("It is a 7B parameter model.", 6.65e9, 7.35e9),
            ("It has 22.7M params.", 22.65e6, 22.75e6),
            ("Our 1.7 billion parameters.", 1.65e9, 1.75e9),
            ("Number of parameters: 32.8B", 32.75e9, 32.85e9),
            ("- **Parameters:** 4B", 3.8e9, 4.2e9),
            ("A MoE with 32 billion activated parameters and 1 trillion total parameters.",
             0.95e12, 1.05e12),
            ("It has 7B parameters. Again: 7B parameters.", 6.65e9, 7.35e9),
            ("It has 2B parameters. It is better than a model of 70B parameters.", 1.9e9, 2.1e9),
        ],
    )  # fmt: skip
    def test_stated(self, text: str, low: float, high: float) -> None:
        book = ask(carded(f"# Name\n\n{text}\n"))
        value = book.value("model.parameters.total")
        assert isinstance(value, Interval)
        assert value.low == pytest.approx(low)
        assert value.high == pytest.approx(high)
        assert evidence(book, "model.parameters.total").line == 3

    @pytest.mark.parametrize(
        "text",
        [
            "Models of 8B and 70B parameters.",
            "From 7 billion to 70 billion parameters.",
            "Two 7B parameter models.",
            "It has 7B parameters. It has 8B parameters.",
            "It beats models with 70B parameters; better than them.",
            "A 17 billion parameter model with 16 experts.",
            "| Parameters | 7B parameters |",
            "```\n7B parameters\n```",
            "Trained on 300B tokens.",
            "GPT-3.5B parameters",
            "set 3 parameters",
        ],
    )
    def test_not_plain(self, text: str) -> None:
        assert "model.parameters.total" not in ask(carded(f"# Name\n\n{text}\n"))


class TestResults:
    COMPLETE = (
        "model-index:\n- name: tiny\n  results:\n  - task: {type: t}\n"
        "    dataset: {type: d, name: SQuAD, revision: abc}\n"
        "    metrics: [{type: f1, value: 0.5}, {type: em, value: 0.4}]\n"
        "    source: {url: 'https://x.org'}"
    )

    def test_complete(self) -> None:
        book = ask(front(self.COMPLETE))
        assert book.value("card.results") == 2
        assert book.value("card.results.incomplete") == frozenset()
        assert book.value("card.results.unbound") == 0
        assert evidence(book, "card.results").line == 2

    def test_what_is_lacking(self) -> None:
        matter = (
            "model-index: [{name: x, results: [{dataset: {name: D}, metrics: [{type: f1}]},"
            " {metrics: [{value: 1, date: '2026-01-01'}]}, {}]}]"
        )
        book = ask(front(matter))
        assert book.value("card.results") == 3
        assert book.value("card.results.unbound") == 3
        assert book.value("card.results.incomplete") == {
            "D, f1: no value, no date or source",
            "unnamed dataset, unnamed metric: no dataset, no metric",
            "unnamed dataset, unnamed metric: no dataset, no metric, no value, no date or source",
        }

    @pytest.mark.parametrize("value", ["3", "[3, [4]]", "{results: 3}", "[{results: [[{}]]}]"])
    def test_nonsense(self, value: str) -> None:
        assert ask(front(f"model-index: {value}")).value("card.results") == 0


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


class TestBase:
    def bases(self, given_model: Model) -> object:
        return ask(given_model).value("lineage.declared_base")

    def test_from_the_card(self) -> None:
        book = ask(front("base_model: org/a\nbase_model_relation: quantized"))
        assert book.value("card.base_model") is True
        assert book.value("lineage.declared_base") == {"org/a"}
        assert book.value("lineage.declared_relation") == "quantized"
        assert evidence(book, "lineage.declared_base").line == 2

    def test_several_are_a_merge(self) -> None:
        book = ask(front("base_model: [org/a, https://huggingface.co/org/b]"))
        assert book.value("lineage.declared_base") == {"org/a", "org/b"}
        assert book.value("lineage.declared_relation") == "merge"

    def test_a_relation_that_is_none(self) -> None:
        book = ask(front("base_model: [a/b, c/d]\nbase_model_relation: magic"))
        assert "lineage.declared_relation" not in book

    @pytest.mark.parametrize("name", ["org/a", "gpt2"])
    def test_from_an_adapter(self, name: str) -> None:
        settings: JsonValue = {"base_model_name_or_path": name, "peft_type": "LORA"}
        book = ask(model(json={"adapter_config.json": settings}))
        assert book.value("lineage.declared_base") == {name}
        assert book.value("lineage.declared_relation") == "adapter"

    @pytest.mark.parametrize("value", ["/home/me/base", "./base", "../base", 3, None, ""])
    def test_a_path_names_nothing(self, value: JsonValue) -> None:
        settings: JsonValue = {"base_model_name_or_path": value}
        assert self.bases(model(json={"adapter_config.json": settings})) is None

    def test_from_a_gguf_header(self) -> None:
        metadata: dict[str, MetadataValue] = {
            "general.base_model.count": 3,
            "general.base_model.0.repo_url": "https://huggingface.co/org/a",
            "general.base_model.1.name": "Some Model",
            "general.base_model.1.organization": "Some Org",
            "general.base_model.2.name": "Lonely",
            "general.source.url": "https://huggingface.co/org/source/",
            "general.source.repo_url": "https://example.org/elsewhere",
        }
        assert self.bases(model(weights="a.gguf", metadata=metadata)) == {
            "org/a",
            "Some-Org/Some-Model",
            "Lonely",
            "org/source",
        }

    @pytest.mark.parametrize("count", [10**18, -1, True, "2"])
    def test_a_count_that_lies(self, count: int | str) -> None:
        self.bases(model(weights="a.gguf", metadata={"general.base_model.count": count}))

    @pytest.mark.parametrize(
        "value",
        ["org/Tiny-Embedder", "/tmp/base", "base", "a/b/c", "org/somewhere", 3],  # noqa: S108  a maker's path
    )
    def test_a_configuration_that_names_itself_or_nothing(self, value: JsonValue) -> None:
        named = {"config.json": {"_name_or_path": value}}
        book = ask(model({"README.md": EMBEDDER}, json=named))
        assert "lineage.base_hint" not in book
        assert "lineage.declared_base" not in book


HOSTILE: dict[str, Callable[[], str]] = {
    "one long line": lambda: "x" * 10_000_000,
    "sizes without end": lambda: "7B parameters " * 70_000,
    "sizes in lists": lambda: "7B, 8B and 9B parameters " * 40_000,
    "aliases": lambda: "---\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\n",
    "deep flow": lambda: "---\na: " + "[" * 100_000 + "\n---\n",
    "deep blocks": lambda: "---\n" + "".join(" " * i + "a:\n" for i in range(1000)) + "---\n",
    "headings": lambda: "# h\n" * 100_000,
    "different headings": lambda: "".join(f"## h{i}\nx\n" for i in range(40_000)),
    "schemes": lambda: "http://" * 60_000,
    "at signs": lambda: "a@" * 400_000,
    "no address": lambda: "a" * 900_000 + "@",
    "brackets": lambda: "[" * 900_000,
    "links": lambda: "[a](" * 225_000,
    "comments": lambda: "<!--" * 225_000,
    "fences": lambda: ("`" * 1000 + "\n") * 900,
    "dots": lambda: "1.2.3.4 " * 100_000,
    "tags": lambda: "<h1>" * 200_000,
    "pipes": lambda: ("a" * 399 + "|") * 2000,
    "underlines": lambda: "a\n---\n" * 16_000,
    "stars": lambda: "*" * 900_000,
    "spaces": lambda: "#" + " " * 900_000,
    "braces": lambda: "{{" + "a" * 900_000,
    "control characters": lambda: "# \x00\x1b[2J\x9b\u202e\n\x0b\x0c\x85\u2028",
    "half a pair": lambda: "# \ud800 a@\udfff.org",
    "languages": lambda: "---\nlanguage: [" + ",".join(["xx"] * 20_000) + "]\n---\n",
    "results": lambda: "---\nmodel-index:\n- name: x\n  results:\n" + "  - {}\n" * 20_000 + "---\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_cards(name: str) -> None:
    text = HOSTILE[name]()
    start = time.process_time()
    book = ask(carded(text))
    assert time.process_time() - start < 6  # linear: a tenth of it on an idle machine
    assert book.value("card.present") is True


def test_a_card_that_is_too_long_says_so() -> None:
    fact = ask(carded("x\n" * 1_000_000)).resolve("card.present")
    assert isinstance(fact, Fact)
    assert "too long" in fact.note


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_text(text: str) -> None:
    ask(carded(text))
    ask(front(text, text))


_LINES = st.sampled_from(
    ["---", "license: mit", "base_model: [a", "# H", "## Uses", "```", "<!--", "-->", "**Uses**",
     "===", "| a | b |", "7B parameters", "[More Information Needed]", "x@y.zz", "- ", "", "\r",
     "model-index:", "- name: 1", "  results: [{metrics: 3}]", "language: [no]", "\ufeff"]
)  # fmt: skip


@given(st.lists(_LINES, max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_order_of_lines(lines: list[str]) -> None:
    ask(carded("\n".join(lines)))


_YAML = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9**20) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    ["language", "license", "license_name", "base_model", "base_model_relation", "datasets",
     "model-index", "co2_eq_emissions", "extra_gated_fields", "tags", "pipeline_tag"]
)  # fmt: skip


@given(st.dictionaries(_FIELDS, _YAML, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_front_matter(fields: dict[str, object]) -> None:
    import json

    ask(front(json.dumps(fields)))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real cards in ../shared/data are not here")
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
