"""What configurations and headers state about an architecture, as each family writes it."""

from __future__ import annotations

import pytest

from steelyard.checkpoints.tensors import Checkpoint, MetadataValue
from tests.analyzers import published, tables
from tests.analyzers.witnesses import NAMES, look


def test_gguf_counts_blocks_that_predict_further_tokens_among_the_layers() -> None:
    metadata: dict[str, MetadataValue] = {
        "general.architecture": "glm4moe",
        "glm4moe.block_count": 47,
        "glm4moe.nextn_predict_layers": 1,
    }
    book = look(tables.model(Checkpoint("gguf", ("model.gguf",), (), metadata)))
    assert book.value("model.layers") == 46


@pytest.mark.parametrize(
    ("arch", "config", "family"),
    [
        ("llama", None, "llama"),
        ("llama", "mistral", "mistral"),
        ("llama", "mixtral", "mixtral"),
        ("llama", "gemma", "gemma"),
        ("bert", "xlm-roberta", "xlm-roberta"),
        ("gemma3", None, "gemma3_text"),
        ("gemma3", "gemma3", "gemma3"),
        ("gpt-oss", None, "gpt_oss"),
        ("never-heard-of", None, None),
        ("never-heard-of", "something", "something"),
        ("clip", None, None),
    ],
)
def test_what_a_gguf_architecture_stands_for(
    arch: str, config: str | None, family: str | None
) -> None:
    weights = Checkpoint("gguf", ("m.gguf",), (), {"general.architecture": arch})
    book = look(tables.model(weights, config={"model_type": config} if config else None))
    assert book.value("model.architecture") == family
    contradicted = bool(book.contradictions())
    assert contradicted == (arch == "llama" and config == "gemma")


def test_gguf_beside_the_configuration_it_was_converted_from() -> None:
    config = {**published.LLAMA_31_8B, "model_type": "mistral"}
    model = tables.gguf_model(config, "llama")
    book = look(tables.model(*model.weights, config=config))
    assert book.contradictions() == ()
    assert book.value("model.architecture") == "mistral"


def test_rows_that_the_converter_cut_are_no_contradiction() -> None:
    model = tables.gguf_model({**published.LLAMA_32_1B, "vocab_size": 262144}, "llama")
    book = look(
        tables.model(*model.weights, config={**published.LLAMA_32_1B, "vocab_size": 262208})
    )
    assert "model.vocabulary_size" not in {c.name for c in book.contradictions()}


def test_an_older_spelling_of_a_family() -> None:
    book = look(
        tables.model(config={"model_type": "RefinedWeb", "architectures": ["RWForCausalLM"]})
    )
    assert book.value("model.architecture") == "falcon"


def test_distilbert_has_field_names_of_its_own() -> None:
    config = {
        "model_type": "distilbert", "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12,
        "max_position_embeddings": 512, "vocab_size": 30522,
    }  # fmt: skip
    book = look(tables.model(config=config))
    assert [book.value(f"model.{name}") for name in NAMES[:4]] == [6, 768, 3072, 30522]
    assert book.value("model.heads") == 12


def test_a_config_of_another_tool_is_left_alone() -> None:
    other = {"hidden_size": 3, "num_layers": 4, "architecture": "resnet50"}
    assert list(look(tables.model(config=other))) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ((3, 3, 3), 3),
        ((3, 0, 3), None),
        ((), None),
        (tuple([3] * 64), None),
        (True, None),
        (-1, None),
        ("3", None),
        (3.0, None),
        (2**70, None),
        (None, None),
    ],
)
def test_values_that_are_no_size(value: MetadataValue, told: int | None) -> None:
    metadata: dict[str, MetadataValue] = {
        "general.architecture": "llama",
        "llama.attention.head_count_kv": value,
        "llama.block_count": 80,
    }
    book = look(tables.model(Checkpoint("gguf", ("m.gguf",), (), metadata)))
    assert book.value("model.kv_heads") == told
