"""What packages and headers state about a license."""

from __future__ import annotations

import pytest

from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from tests.analyzers.documents import model
from tests.analyzers.licenses.asking import APACHE, LLAMA_ID, MIT, ask, card


def metadata(*lines: str) -> str:
    return "\n".join(["Metadata-Version: 2.4", "Name: x", *lines, "", "License: GPL-3.0"])


class TestPackages:
    INFO = "pkg-1.0.dist-info"

    def package(self, card_text: str | None, license_text: str | None, *lines: str) -> Model:
        texts = {f"{self.INFO}/METADATA": metadata(*lines)}
        if card_text is not None:
            texts["pkg/model/README.md"] = card_text
        if license_text is not None:
            texts[f"{self.INFO}/licenses/LICENSE"] = license_text
        return model(texts, weights="pkg/model/model.safetensors")

    @pytest.mark.parametrize(
        ("lines", "declared"),
        [
            (["License-Expression: Apache-2.0", "License: MIT"], "Apache-2.0"),
            (["License: MIT", "Classifier: License :: OSI Approved :: BSD License"], "MIT"),
            (["License: UNKNOWN", "Classifier: License :: OSI Approved :: MIT License"], "MIT"),
            (["Classifier: License :: OSI Approved :: Apache Software License"],
             "Apache Software License"),
            (["Classifier: License :: OSI Approved"], None),
            (["Classifier: Topic :: License"], None),
            (["License: Three lines", "        of text", "License: MIT"], "Three lines"),
            ([], None),
        ],
    )  # fmt: skip
    def test_metadata(self, lines: list[str], declared: str | None) -> None:
        assert ask(self.package(None, None, *lines)).value("license.declared") == declared

    def test_the_line_is_named(self) -> None:
        fact = ask(self.package(None, None, "License: MIT")).resolve("license.declared")
        assert fact is not None
        assert fact.evidence[0].place == f"{self.INFO}/METADATA:3"

    def test_package_and_card_disagree(self) -> None:
        book = ask(self.package(card("apache-2.0"), MIT, "License: MIT"))
        assert book.value("license.effective") == "Apache-2.0"
        assert book.contradiction("license.effective") is not None

    def test_the_packages_own_text_decides_where_no_card_states_a_license(self) -> None:
        book = ask(self.package("# Name", APACHE, "License: MIT"))
        assert book.value("license.effective") == "Apache-2.0"
        assert book.contradiction("license.effective") is not None

    def test_a_family_agrees_with_its_member(self) -> None:
        line = "Classifier: License :: OSI Approved :: Apache Software License"
        book = ask(self.package(card("apache-2.0"), None, line))
        assert book.contradictions() == ()
        fact = book.resolve("license.declared")
        assert fact is not None
        assert fact.value == "Apache-2.0"
        assert "Apache Software License" in fact.note

    def test_a_folder_of_packages_says_nothing(self) -> None:
        texts = {f"{name}.dist-info/METADATA": metadata("License: MIT") for name in ("a-1", "b-1")}
        assert "license.declared" not in ask(model(texts, weights="a/model.safetensors"))

    @pytest.mark.parametrize("value", ["MIT", {"type": "MIT"}])
    def test_npm(self, value: JsonValue) -> None:
        book = ask(
            model(json={"package/package.json": {"license": value}}, weights="package/a.onnx")
        )
        assert book.value("license.declared") == "MIT"

    def test_npm_keeps_its_text_in_the_one_folder(self) -> None:
        texts = {"package/LICENSE": MIT}
        book = ask(model(texts, weights="package/deep/er/a.onnx"))
        assert book.value("license.effective") == "MIT"

    @pytest.mark.parametrize("value", [None, 3, [], {"type": 3}])
    def test_npm_without(self, value: JsonValue) -> None:
        assert "license.declared" not in ask(model(json={"package.json": {"license": value}}))

    def test_spacy(self) -> None:
        meta: JsonValue = {"spacy_version": ">=3", "license": "CC BY-SA 4.0"}
        book = ask(model(json={"en/meta.json": meta}, weights=None))
        assert book.value("license.declared") == "CC-BY-SA-4.0"


class TestHeaders:
    def test_gguf(self) -> None:
        header = {
            "general.license": "apache-2.0",
            "general.license.name": "Apache",
            "general.license.link": "https://example.org",
        }
        book = ask(model(weights="a.gguf", metadata=header))
        assert book.value("license.declared") == "Apache-2.0"
        assert book.value("license.name") == "Apache"
        assert book.value("license.link") == "https://example.org"

    def test_gguf_other(self) -> None:
        header = {"general.license": "other", "general.license.name": "llama3.1"}
        assert ask(model(weights="a.gguf", metadata=header)).value("license.declared") == LLAMA_ID

    def test_the_card_names_it_first(self) -> None:
        text = "---\nlicense: other\nlicense_name: a\nlicense_link: b\n---\n"
        header = {"general.license.name": "A", "general.license.link": "B"}
        book = ask(model({"README.md": text}, weights="a.gguf", metadata=header))
        assert "license.name" not in book

    def test_onnx(self) -> None:
        header = {"metadata_props.license": "AGPL-3.0 License (https://example.org)"}
        book = ask(model(weights="a.onnx", metadata=header))
        assert book.value("license.declared") == "AGPL-3.0-only"

    @pytest.mark.parametrize("value", [3, True, None, ("a",), ""])
    def test_nonsense(self, value: int | bool | str | tuple[str, ...] | None) -> None:
        assert "license.declared" not in ask(
            model(weights="a.gguf", metadata={"general.license": value})
        )
