"""Which model a card, a header or a configuration names as the base."""

from __future__ import annotations

import pytest

from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import MetadataValue
from tests.analyzers.card.asking import EMBEDDER, ask, evidence
from tests.analyzers.documents import front, model


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
