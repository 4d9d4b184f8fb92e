"""Architectures: where the witnesses agree, where they do not, and what follows from both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.tensors import Checkpoint, MetadataValue
from steelyard.facts import Basis, Value
from tests.analyzers import published, tables
from tests.analyzers.published import Config
from tests.analyzers.tables import Table
from tests.analyzers.witnesses import NAMES, by, look, of_table

SIZES = {
    "llama": (published.LLAMA_31_8B, "llama", (32, 4096, 14336, 128256, 128, 8)),
    "mixtral": (published.MIXTRAL_8X7B, "llama", (32, 4096, 14336, 32000, 128, 8)),
    "qwen2": (published.QWEN25_05B, "qwen2", (24, 896, 4864, 151936, 64, 2)),
    "qwen3": (published.QWEN3_06B, "qwen3", (28, 1024, 3072, 151936, 128, 8)),
    "qwen2_moe": (published.QWEN15_MOE, "qwen2moe", (24, 2048, 1408, 151936, 128, 16)),
    "olmoe": (published.OLMOE, "olmoe", (16, 2048, 1024, 50304, 128, 16)),
}


@pytest.mark.parametrize(("config", "arch", "sizes"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("container", ["safetensors", "gguf"])
def test_sizes_are_told_by_shapes_and_stated_alike(
    config: Config, arch: str, sizes: tuple[int, ...], container: str
) -> None:
    gguf = container == "gguf"
    model = tables.gguf_model(config, arch) if gguf else tables.safetensors_model(config)
    book = look(model)
    assert book.contradictions() == ()
    for name, size in zip(NAMES, sizes, strict=True):
        assert book.value(f"model.{name}") == size, name
    for name in NAMES[:4]:
        assert by(book, Basis.MEASURED, name) == by(book, Basis.DECLARED, name), name
    assert book.value("model.design") == "decoder"
    assert book.value("model.modalities.input") == frozenset({"text"})
    assert book.value("model.modalities.output") == frozenset({"text"})


def test_every_claim_says_where_it_comes_from() -> None:
    book = look(tables.safetensors_model(published.LLAMA_31_8B))
    declared, measured = (
        next(c for c in book.claims("model.hidden_size") if c.basis is basis)
        for basis in (Basis.DECLARED, Basis.MEASURED)
    )
    assert declared.evidence[0].place == "config.json hidden_size"
    assert measured.evidence[0].file == "model.safetensors"
    assert measured.evidence[0].field == "model.layers.0.input_layernorm.weight"


LIES = [
    ("hidden_size", 2048, {"hidden_size"}),
    ("num_hidden_layers", 31, {"layers"}),
    ("intermediate_size", 11008, {"intermediate_size"}),
    ("vocab_size", 128000, {"vocabulary_size"}),
    ("num_key_value_heads", 32, {"kv_heads"}),
    ("head_dim", 64, {"head_size"}),
]


@pytest.mark.parametrize(("field", "value", "names"), LIES)
def test_a_configuration_that_lies_is_contradicted(field: str, value: int, names: set[str]) -> None:
    table = tables.table_of(published.LLAMA_31_8B)
    book = of_table(table, {**published.LLAMA_31_8B, field: value})
    assert {c.name for c in book.contradictions()} == {f"model.{name}" for name in names}


def test_experts_are_counted() -> None:
    book = look(tables.safetensors_model(published.MIXTRAL_8X7B))
    assert by(book, Basis.MEASURED, "experts") == 8
    assert by(book, Basis.DECLARED, "experts.active") == 2
    lying = of_table(
        tables.table_of(published.MIXTRAL_8X7B), {**published.MIXTRAL_8X7B, "num_local_experts": 4}
    )
    assert [c.name for c in lying.contradictions()] == ["model.experts"]


def test_a_dense_model_has_no_experts() -> None:
    config = {**published.LLAMA_32_1B, "num_experts": 0, "num_experts_per_tok": 2}
    book = of_table(tables.table_of(config), config)
    assert "model.experts" not in book
    assert "model.experts.active" not in book


def test_names_that_only_one_family_has() -> None:
    table = {
        "distilbert.transformer.layer.0.attention.q_lin.weight": (8, 8),
        "distilbert.transformer.layer.0.sa_layer_norm.weight": (8,),
    }
    assert by(of_table(table), Basis.MEASURED, "architecture") == "distilbert"
    book = of_table(table, {"model_type": "bert"})
    assert [c.name for c in book.contradictions()] == ["model.architecture"]
    shared = tables.table_of(published.LLAMA_32_1B)
    assert by(of_table(shared), Basis.MEASURED, "architecture") is None


# --- multimodal --------------------------------------------------------------------------------


def multimodal() -> tuple[Table, dict[str, Any]]:
    text = tables.table_of(published.LLAMA_32_1B)
    table: Table = {f"language_model.{name}": shape for name, shape in text.items()}
    for layer in range(3):
        block = f"vision_tower.vision_model.encoder.layers.{layer}"
        table[f"{block}.layer_norm1.weight"] = (1152,)
        table[f"{block}.mlp.fc2.weight"] = (1152, 4304)
    config = {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "tie_word_embeddings": False,
        "hidden_size": 77,
        "text_config": dict(published.LLAMA_32_1B),
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 3},
    }
    return table, config


def test_the_language_model_is_what_sizes_are_of() -> None:
    book = of_table(*multimodal())
    assert book.contradictions() == ()
    assert book.value("model.architecture") == "llava"
    assert book.value("model.layers") == 16
    assert book.value("model.hidden_size") == 2048
    place = book.claims("model.hidden_size")[1].evidence[0].place
    assert place == "config.json text_config.hidden_size"
    assert by(book, Basis.MEASURED, "modalities.input") == frozenset({"text", "image"})
    assert by(book, Basis.DERIVED, "modalities.input") == frozenset({"text", "image"})


def test_a_vision_model_alone() -> None:
    table = {
        f"vit.encoder.layer.{layer}.{name}": shape
        for layer in range(2)
        for name, shape in {
            "layernorm_before.weight": (768,),
            "output.dense.weight": (768, 3072),
        }.items()
    }
    config = {
        "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 768,
        "intermediate_size": 3072, "num_hidden_layers": 2,
    }  # fmt: skip
    book = of_table(table, config)
    assert book.contradictions() == ()
    assert by(book, Basis.MEASURED, "layers") == 2
    assert book.value("model.modalities.input") == frozenset({"image"})
    assert book.value("model.modalities.output") == frozenset({"label"})


def test_a_sentence_embedding_model() -> None:
    weights = tables.checkpoint(tables.tensors(tables.table_of(published.BERT_BASE)))
    model = tables.model(weights, config=published.BERT_BASE, json={"modules.json": [{}]})
    assert look(model).value("model.modalities.output") == frozenset({"embedding"})
    pooled: dict[str, MetadataValue] = {
        "general.architecture": "bert",
        "bert.pooling_type": 2,
    }
    book = look(tables.model(Checkpoint("gguf", ("m.gguf",), (), pooled)))
    assert book.value("model.modalities.output") == frozenset({"embedding"})


# --- tying -------------------------------------------------------------------------------------


def tied(config: Config, table: Table | None = None) -> list[tuple[Value, Basis]]:
    book = of_table(table if table is not None else tables.table_of(config), config)
    assert book.contradictions() == ()
    return [(c.value, c.basis) for c in book.claims("model.tied_embeddings")]


def test_tying_as_stated() -> None:
    untied = [(False, Basis.DERIVED), (False, Basis.DECLARED)]
    assert tied(published.LLAMA_31_8B) == untied
    assert tied(published.LLAMA_32_1B) == [(True, Basis.DECLARED)]


def test_a_head_that_is_not_stored() -> None:
    assert tied(published.GPT2) == [(True, Basis.DERIVED)]
    base = {**published.GPT2, "architectures": ["GPT2Model"]}
    assert tied(base) == []


def test_an_embedding_model_without_a_head_is_not_tied() -> None:
    config = {**published.LLAMA_31_8B, "architectures": ["MistralModel"]}
    table = tables.table_of(config)
    del table["lm_head.weight"]
    assert tied(config, table) == [(False, Basis.DECLARED)]


def test_a_tied_head_may_be_stored_twice() -> None:
    table = {**tables.table_of(published.LLAMA_32_1B), "lm_head.weight": (128256, 2048)}
    assert tied(published.LLAMA_32_1B, table) == [(True, Basis.DECLARED)]


def test_a_head_of_another_shape_is_not_tied() -> None:
    table = {**tables.table_of(published.LLAMA_32_1B), "lm_head.weight": (128256 + 64, 2048)}
    book = of_table(table, published.LLAMA_32_1B)
    assert [c.name for c in book.contradictions()] == ["model.tied_embeddings"]


def test_two_names_for_the_same_bytes_are_tied() -> None:
    table = {"model.embed_tokens.weight": (100, 8)}
    (embedding,) = tables.tensors(table)
    head = embedding.__class__(
        "lm_head.weight", "BF16", (100, 8), "plain", embedding.file, embedding.offset, 1600
    )
    book = look(tables.model(tables.checkpoint([embedding, head])))
    assert by(book, Basis.MEASURED, "tied_embeddings") is True


# --- what is not told --------------------------------------------------------------------------


def test_nothing_is_said_of_nothing() -> None:
    assert list(look(tables.model())) == []
    assert list(of_table({"onnx::MatMul_1": (3, 3), "weight": (2,)})) == []


# --- hostile -----------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        "model_type", "architectures", "text_config", "hidden_size", "num_hidden_layers",
        "num_attention_heads", "vocab_size", "max_position_embeddings", "tie_word_embeddings",
        "num_experts", "num_experts_per_tok", "vision_config", "thinker_config", "attn_config",
    ]
)  # fmt: skip
leaves = st.sampled_from(
    [
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_norm",
        "self_attn.qkv_proj", "self_attn.sinks", "mlp.down_proj", "mlp.experts.0.down_proj",
        "mlp.experts.down_proj", "mlp.gate", "input_layernorm", "embed_tokens",
    ]
)  # fmt: skip
shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)


@given(
    st.dictionaries(fields, json_values, max_size=6),
    st.dictionaries(st.tuples(st.integers(0, 2), leaves), shapes, max_size=8),
    st.sampled_from(["llama", "opt", "t5", "dbrx", "deepseek_v3"]),
)
def test_whatever_is_stated_or_stored_is_survived(
    config: dict[str, Any], blocks: dict[tuple[int, str], tuple[int, ...]], family: str
) -> None:
    table = {
        f"model.layers.{layer}.{leaf}.weight": shape for (layer, leaf), shape in blocks.items()
    }
    table |= {"model.embed_tokens.weight": (4, 4), "lm_head.weight": (0, 4)}
    of_table(table, {"model_type": family, **config}).contradictions()
