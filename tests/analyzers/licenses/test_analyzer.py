"""Which license governs the weights, by text and by statement."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints.model import Model
from steelyard.facts import Basis
from tests.analyzers.documents import model
from tests.analyzers.licenses.asking import APACHE, BSD, CONDITION, LLAMA, LLAMA_ID, MIT, ask, card


class TestFiles:
    def test_which_files_are_license_texts(self) -> None:
        names = [
            "LICENSE", "LICENCE.md", "license.txt", "COPYING", "LICENSE-MODEL", "LICENSE_LLAMA4",
            "UNLICENSE", "x-1.dist-info/licenses/LICENSE", "licenses/eigen.txt", "GEMMA_TERMS.html",
        ]  # fmt: skip
        others = [
            "NOTICE", "README.md", "x-1.dist-info/licenses/AUTHORS", "SECURITY.md",
            "licenses/THIRD_PARTY_NOTICES.md", "USE_POLICY.md",
        ]  # fmt: skip
        book = ask(model(dict.fromkeys([*names, *others], "text")))
        assert book.value("license.files") == set(names)
        assert book.value("license.unrecognized") == set(names)
        assert book.value("license.detected") == frozenset()

    def test_none(self) -> None:
        book = ask(model())
        assert book.value("license.files") == frozenset()
        assert book.value("license.detected") == frozenset()
        assert "license.effective" not in book

    def test_evidence_names_the_match(self) -> None:
        book = ask(model({"LICENSE": APACHE}))
        fact = book.resolve("license.detected")
        assert fact is not None
        assert fact.evidence[0].file == "LICENSE"
        assert re.fullmatch(r"Apache-2\.0: match [01]\.\d{3}", fact.evidence[0].quote or "")


class TestEffective:
    def effective(self, given_model: Model) -> tuple[object, Basis, bool]:
        book = ask(given_model)
        fact = book.resolve("license.effective")
        assert fact is not None
        return fact.value, fact.basis, book.contradiction("license.effective") is not None

    @pytest.mark.parametrize(
        ("stated", "text", "value"),
        [
            ("apache-2.0", APACHE, "Apache-2.0"),
            ("Apache License 2.0", APACHE, "Apache-2.0"),
            ("llama3.1", LLAMA, LLAMA_ID),
            ("MIT OR Apache-2.0", MIT, "MIT"),
            ("[mit, apache-2.0]", APACHE, "Apache-2.0"),
            ("bsd", BSD, "BSD-3-Clause"),
            ("other", MIT, "MIT"),
            ("acme-license", MIT, "MIT"),
        ],
    )
    def test_text_and_card_agree(self, stated: str, text: str, value: str) -> None:
        found = self.effective(model({"README.md": card(stated), "LICENSE": text}))
        assert found == (value, Basis.MEASURED, False)

    @pytest.mark.parametrize(
        ("stated", "text"),
        [("apache-2.0", LLAMA), ("mit", APACHE), ("gpl", MIT), ("llama3.2", LLAMA)],
    )
    def test_text_and_card_do_not(self, stated: str, text: str) -> None:
        *_, contradicted = self.effective(model({"README.md": card(stated), "LICENSE": text}))
        assert contradicted

    def test_a_text_that_is_not_recognized_decides_nothing(self) -> None:
        texts = {"README.md": card("mit"), "LICENSE": MIT + CONDITION}
        assert self.effective(model(texts)) == ("MIT", Basis.DECLARED, False)

    def test_a_dual_license(self) -> None:
        texts = {
            "README.md": card("MIT OR Apache-2.0"),
            "LICENSE-MIT": MIT,
            "LICENSE-APACHE": APACHE,
        }
        found = self.effective(model(texts))
        assert found == ("MIT OR Apache-2.0", Basis.DECLARED, False)

    def test_texts_side_by_side_none_of_them_stated(self) -> None:
        texts = {"README.md": card("gpl-3.0"), "LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}
        *_, contradicted = self.effective(model(texts))
        assert contradicted

    def test_the_text_of_the_weights_before_that_of_the_code(self) -> None:
        texts = {"README.md": card("llama3.1"), "LICENSE-CODE": MIT, "LICENSE-MODEL": LLAMA}
        assert self.effective(model(texts)) == (LLAMA_ID, Basis.MEASURED, False)

    def test_the_nearest_text(self) -> None:
        texts = {"w/LICENSE": LLAMA, "LICENSE": MIT}
        found = self.effective(model(texts, weights="w/a.safetensors"))
        assert found == (LLAMA_ID, Basis.MEASURED, False)

    def test_a_folder_between_covers_code_only(self) -> None:
        texts = {"a/LICENSE": MIT, "a/w/README.md": card("llama3.1"), "x": ""}
        found = self.effective(model(texts, weights="a/w/a.safetensors"))
        assert found == (LLAMA_ID, Basis.DECLARED, False)

    def test_texts_of_third_parties_decide_nothing(self) -> None:
        texts = {"README.md": card("apache-2.0"), "licenses/a": MIT, "licenses/b": BSD}
        book = ask(model(texts))
        assert book.value("license.detected") == {"MIT", "BSD-3-Clause"}
        assert book.value("license.effective") == "Apache-2.0"

    def test_a_policy_is_no_license(self) -> None:
        texts = {"LICENSE-POLICY": "Llama 3.1 Acceptable Use Policy", "README.md": card("mit")}
        assert self.effective(model(texts)) == ("MIT", Basis.DECLARED, False)

    def test_other_alone_is_no_license(self) -> None:
        assert "license.effective" not in ask(model({"README.md": card("other")}))


@pytest.mark.parametrize(
    "text",
    [
        "Permission is hereby granted, free of charge, " * 5000,
        (MIT[: len(MIT) // 2] + "\n") * 400,
        "a" * 300_000,
        " \n" * 150_000,
        "<" * 200_000,
        "<html>" + "<script>" * 30_000,
        "copyright " * 20_000,
        "http://" + "a-." * 60_000,
        "\x00\ud800\u202e" * 1000,
    ],
    ids=range(9),
)
def test_hostile_texts(text: str) -> None:
    start = time.process_time()
    book = ask(model({"LICENSE": text}))
    assert time.process_time() - start < 4
    assert book.value("license.unrecognized") == {"LICENSE"}


def test_too_many_texts_are_listed_and_not_looked_at() -> None:
    texts = {f"licenses/{number}": f"{number}" * 400_000 for number in range(1, 14)}
    start = time.process_time()
    book = ask(model(texts))
    assert time.process_time() - start < 8
    fact = book.resolve("license.unrecognized")
    assert fact is not None
    assert fact.value == set(texts)
    assert any("not looked at" in (item.quote or "") for item in fact.evidence)


@given(st.text(max_size=300), st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text(text: str, name: str) -> None:
    texts = {
        "LICENSE": text,
        "README.md": f"---\nlicense: {name}\n---",
        "a.dist-info/METADATA": text,
    }
    header = {"general.license": name, "metadata_props.license": text}
    ask(model(texts, weights="a.gguf", metadata=header))
