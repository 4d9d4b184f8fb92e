"""Sections of a card: there, missing, or as the template left them."""

from __future__ import annotations

import pytest

from steelyard.knowledge import load
from tests.analyzers.card.asking import ask, evidence
from tests.analyzers.documents import carded, front


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
            "## House rules\nTODO\n"  # what an author may leave: the card's text, no task of ours
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
