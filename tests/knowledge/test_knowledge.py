from __future__ import annotations

from collections import Counter

import pytest

from steelyard import knowledge
from steelyard.checkpoints.naming import parse
from steelyard.facts import vocabulary

NAMES = knowledge.load("tensor_names")
ARCHITECTURES = knowledge.load("architectures")


def test_a_table_is_read_once() -> None:
    assert knowledge.load("tensor_names") is NAMES


@pytest.mark.parametrize("section", ["top", "block"])
def test_no_spelling_stands_for_two_roles(section: str) -> None:
    spellings = Counter(text for texts in NAMES[section].values() for text in texts)
    assert [text for text, times in spellings.items() if times > 1] == []


@pytest.mark.parametrize("section", ["top", "block", "encoder", "decoder"])
def test_every_pattern_is_read_as_its_role(section: str) -> None:
    for role, texts in NAMES[section].items():
        for text in texts:
            spelling, _, part = text.partition(" = ")
            name = spelling.replace("{expert}", "3") + ("" if part else ".weight")
            prefix = {"top": "", "block": "layers.7."}.get(section, f"{section}.layers.7.")
            found = parse(prefix + name)
            assert found is not None, text
            assert (found.role, found.part) == (role, part or "weight"), text
            assert found.layer == (None if section == "top" else 7)
            assert found.expert == (3 if "{expert}" in text else None)


def test_dialects_name_words_and_roles_of_the_table() -> None:
    words = {text for texts in NAMES["block"].values() for text in texts}
    for dialect in NAMES["dialects"]:
        assert {dialect["when"], dialect["word"]} <= words
        assert dialect["role"] in NAMES["block"]


def test_field_names_are_facts() -> None:
    facts = vocabulary()
    tables = [ARCHITECTURES["fields"], ARCHITECTURES["gguf"]["keys"]]
    tables += [*ARCHITECTURES["family_fields"].values()]
    for table in tables:
        for name in table:
            assert name == "expert_intermediate_size" or f"model.{name}" in facts


def test_choices_are_those_of_the_vocabulary() -> None:
    facts = vocabulary()
    assert set(ARCHITECTURES["designs"]) == set(facts["model.design"].choices)
    outputs = {kind for kinds in ARCHITECTURES["class_outputs"].values() for kind in kinds}
    assert outputs <= set(facts["model.modalities.output"].choices)
    inputs = {kind for kinds in ARCHITECTURES["inputs"].values() for kind in kinds}
    inputs |= set(ARCHITECTURES["input_configs"].values())
    assert inputs <= set(facts["model.modalities.input"].choices)


def test_a_family_has_one_design() -> None:
    families = Counter(name for names in ARCHITECTURES["designs"].values() for name in names)
    assert [name for name, times in families.items() if times > 1] == []
    assert set(ARCHITECTURES["tied"]) <= set(families)
    assert set(ARCHITECTURES["inputs"]) <= set(families)


def test_gguf_architectures_stand_for_families() -> None:
    table = ARCHITECTURES["gguf"]
    assert all(table["families"].values())
    assert set(table["copied_head"]) <= set(table["families"])
    for names in table["skip"].values():
        assert set(names) <= set(table["keys"])


@pytest.mark.parametrize("name", ["estimators", "pickle_imports"])
def test_lists_are_read_as_yaml_reads_them(name: str) -> None:
    assert knowledge.load_lists(name) == knowledge.load(name)
