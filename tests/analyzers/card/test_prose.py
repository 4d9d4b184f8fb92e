"""What the sentences of a card say: whom to write to, what not to do, how large the model is."""

from __future__ import annotations

import pytest

from steelyard.facts import Interval
from tests.analyzers.card.asking import ask, evidence
from tests.analyzers.documents import carded, model


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
