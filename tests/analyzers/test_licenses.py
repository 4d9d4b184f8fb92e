"""Which license governs the weights, by text and by statement."""

from __future__ import annotations

import re
import time
from importlib.metadata import distribution
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.analyzers import licenses
from steelyard.analyzers.licenses.names import read_license
from steelyard.analyzers.licenses.texts import recognize
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, FactBook
from steelyard.knowledge import load
from tests.analyzers.documents import SHARED, model
from tests.analyzers.facts_of import facts_of


def installed(name: str) -> str:
    """Return the license text of a package that the tests need anyway."""
    files = distribution(name).files or []
    (path,) = (file for file in files if file.name.startswith("LICENSE"))
    return Path(str(path.locate())).read_text(encoding="utf-8")


APACHE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
MIT = installed("pytest")
BSD = installed("click")
LLAMA = (
    "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version Release Date: July 23, 2024\nTerms."
)
LLAMA_ID = "LicenseRef-scancode-llama-3.1-license-2024"
CONDITION = (
    "\nAdditional terms: you shall not use the Software in any product or service with more than"
    " one thousand users.\n"
)


def ask(given_model: Model) -> FactBook:
    return facts_of(licenses.analyze, given_model)


def card(license_id: str) -> str:
    return f"---\nlicense: {license_id}\n---\n# Name\n"


def metadata(*lines: str) -> str:
    return "\n".join(["Metadata-Version: 2.4", "Name: x", *lines, "", "License: GPL-3.0"])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("APACHE-2.0", "Apache-2.0"),
        ("The MIT License", "MIT"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ("mit or (bsd-3-clause and isc)", "MIT OR (BSD-3-Clause AND ISC)"),
        ("GPL-3.0", "GPL-3.0-only"),
        ("GPL-3.0+", "GPL-3.0-or-later"),
        ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("AGPL-3.0 License (https://example.org/license)", "AGPL-3.0-only"),
        ("openrail++", "LicenseRef-scancode-bigscience-open-rail-m2"),
        ("Llama 3.1 Community License Agreement", LLAMA_ID),
        ("LicenseRef-scancode-openmdw-1.0", "OpenMDW-1.0"),
        ("LicenseRef-acme-1", "LicenseRef-acme-1"),
        ("BSD License", "BSD License"),
        ("Acme Model License", "Acme Model License"),
        ("\x1b[1mmit\x07 ", "[1mmit"),
        ("许可证", "许可证"),
        ("https://example.org/license", "https://example.org/license"),
    ],
)
def test_names(written: str, value: str) -> None:
    stated = read_license(written)
    assert stated is not None
    assert stated.value == value


@pytest.mark.parametrize(
    "written", ["", "  ", "unknown", "UNKNOWN", "None", "license", "\x00", "(((("]
)
def test_names_that_say_nothing(written: str) -> None:
    assert read_license(written) is None


def test_what_a_name_covers() -> None:
    def covering(name: str, found: str) -> str | None:
        stated = read_license(name)
        assert stated is not None
        return stated.covering(found)

    assert covering("MIT OR Apache-2.0", "MIT") == "MIT"
    assert covering("GPL-3.0-or-later", "GPL-3.0-only") == "GPL-3.0-or-later"
    assert covering("bsd", "BSD-3-Clause") == "BSD-3-Clause"
    assert covering("bsd", "MIT") is None
    assert covering("lgpl", "GPL-3.0-only") is None
    assert covering("Acme License", "MIT") is None


def test_every_spdx_identifier_of_the_table_is_one() -> None:
    from license_expression import get_spdx_licensing

    known = get_spdx_licensing().known_symbols
    newer = {"OpenMDW-1.0"}  # on SPDX's list since the library's last release
    for name in load("hub_licenses")["licenses"].values():
        assert name in known or name in newer or name.startswith("LicenseRef-"), name


class TestTexts:
    @pytest.mark.parametrize(("text", "found"), [(APACHE, "Apache-2.0"), (MIT, "MIT")])
    def test_standard_texts(self, text: str, found: str) -> None:
        result = recognize(text)
        assert result.ids == (found,)
        assert result.how.startswith("match ")

    def test_other_wrapping_and_line_ends(self) -> None:
        assert recognize(MIT.replace("\n", "\r\n    ")).ids == ("MIT",)

    def test_two_in_one_file(self) -> None:
        assert recognize(f"{MIT}\n\n----\n\n{BSD}").ids == ("MIT", "BSD-3-Clause")

    def test_an_added_condition_is_another_license(self) -> None:
        result = recognize(MIT + CONDITION)
        assert result.ids == ()
        assert "MIT, and" in result.how

    def test_an_added_condition_in_a_script_that_is_not_read(self) -> None:
        assert recognize(MIT + "本软件仅可用于非商业目的。" * 4).ids == ()

    def test_an_added_word_of_thanks_is_not(self) -> None:
        assert recognize(f"Thanks to all who helped.\n\n{MIT}").ids == ("MIT",)

    def test_a_mention_is_no_text(self) -> None:
        assert recognize("This model is under the MIT license.").ids == ()
        assert recognize("See https://www.apache.org/licenses/LICENSE-2.0").ids == ()

    def test_modified_mit_of_moonshot(self) -> None:
        text = (
            f"Modified MIT License\n{MIT}\nMoonshot AI."
            " Our only modification part is that you show Kimi K2."
        )
        found = recognize(text).ids
        assert found == ("LicenseRef-scancode-moonshot-ai-modified-mit-2025",)

    def test_llama(self) -> None:
        assert recognize(LLAMA).ids == (LLAMA_ID,)
        assert recognize(LLAMA.replace("3.1", "3.2")).ids != (LLAMA_ID,)
        policy = recognize("# Llama 3.1 Acceptable Use Policy\nBe good.")
        assert policy.is_policy

    def test_a_page(self) -> None:
        text = (
            "<!DOCTYPE html><html><head><title>Gemma Terms of Use</title><style>a{}</style>"
            "<script>var x = '<p>llama license agreement</p>';</script></head><body><h1>Gemma Terms"
            " of Use</h1><p>Last modified: <b>March&nbsp;24, 2025</b></p><p>Model Derivatives</p>"
        ).replace("&nbsp;", " ")
        assert recognize(text).ids == ("LicenseRef-scancode-gemma-tou-2025-03-24",)

    def test_the_titles_are_as_they_are_compared(self) -> None:
        for entry in load("license_titles"):
            for part in ("titles", "requires", "forbids"):
                for phrase in entry.get(part, ()):
                    assert phrase == " ".join(phrase.lower().split()), entry["id"]


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


_NAMES = st.sampled_from(
    ["mit", "MIT", "apache-2.0", "or", "AND", "with", "(", ")", "/", ",", "gpl", "+", "3", "-only",
     "LicenseRef-x", "unknown", "GPL-3.0+", "Classpath-exception-2.0"]
)  # fmt: skip


@given(st.lists(_NAMES, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_expression(parts: list[str]) -> None:
    stated = read_license(" ".join(parts))
    if stated is not None and stated.ids:
        again = read_license(stated.value)
        assert again is not None
        assert again.value == stated.value


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real texts in ../shared/data are not here")
class TestRealTexts:
    def test_every_text_is_recognized(self) -> None:
        wrong = {}
        for path in sorted((SHARED / "ai_licenses").glob("*.LICENSE")):
            header, _, text = path.read_text(encoding="utf-8")[4:].partition("\n---\n")
            expected = re.search(r"^spdx_license_key: (\S+)", header, re.MULTILINE)
            assert expected is not None, path.name
            wanted = expected[1].replace("LicenseRef-scancode-openmdw-1.0", "OpenMDW-1.0")
            found = recognize(text).ids
            if found != (wanted,):
                wrong[path.name] = found
        assert wrong == {}

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("deepseek-v3.LICENSE-MODEL", "LicenseRef-scancode-deepseek-la-1.0"),
            ("glm-4.5.LICENSE", "Apache-2.0"),
            ("grok-1.LICENSE", "Apache-2.0"),
            ("kimi-k2-modified-mit.LICENSE", "LicenseRef-scancode-moonshot-ai-modified-mit-2025"),
            ("minimax-m2.LICENSE", "LicenseRef-minimax-m2-modified-mit-2025"),
            ("llama2.LICENSE", "LicenseRef-scancode-llama-2-license-2023"),
            ("llama3.LICENSE", "LicenseRef-llama-3-license-2024"),
            ("llama3_1.LICENSE", LLAMA_ID),
            ("llama3_2.LICENSE", "LicenseRef-scancode-llama-3.2-license-2024"),
            ("llama3_3.LICENSE", "LicenseRef-scancode-llama-3.3-license-2024"),
            ("llama4.LICENSE", "LicenseRef-scancode-llama-4-cla-2025"),
            ("llama4.USE_POLICY.md", "LicenseRef-scancode-llama-4-license-2025"),
            ("openmdw-1.0.LICENSE", "OpenMDW-1.0"),
            ("openmdw-1.1.LICENSE", "LicenseRef-OpenMDW-1.1"),
            ("tongyi-qianwen.LICENSE", "LicenseRef-scancode-tongyi-qianwen-2023"),
        ],
    )
    def test_official_texts(self, name: str, found: str) -> None:
        text = (SHARED / "ai_licenses" / "official" / name).read_text(encoding="utf-8")
        assert recognize(text).ids == (found,)

    def test_the_hubs_list_is_known(self) -> None:
        path = SHARED / "hf_license_lists" / "docs" / "hub" / "repositories-licenses.md"
        listed = set(re.findall(r"\| `(\S+?)` +\|", path.read_text(encoding="utf-8")))
        table = load("hub_licenses")
        assert listed == {*table["licenses"], *table["families_on_hub"], "other", "unknown"}
