"""Licenses by their texts."""

from __future__ import annotations

import re

import pytest

from steelyard.analyzers.licenses.texts import recognize
from steelyard.knowledge import load
from tests.analyzers.documents import SHARED
from tests.analyzers.licenses.asking import APACHE, BSD, CONDITION, LLAMA, LLAMA_ID, MIT


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


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data: the texts are others' data")
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
