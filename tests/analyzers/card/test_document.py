"""Which file is the card, and what its front matter holds."""

from __future__ import annotations

import pytest

from tests.analyzers.card.asking import EMBEDDER, ask, evidence
from tests.analyzers.documents import carded, front, model


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
