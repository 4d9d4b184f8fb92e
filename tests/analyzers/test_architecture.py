from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.architecture import analyze
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint, MetadataValue, Problem, ProblemKind
from steelyard.facts import Basis, FactBook, Value
from tests.analyzers import published, tables
from tests.analyzers.facts_of import facts_of
from tests.analyzers.published import Config
from tests.analyzers.tables import Table


def look(model: Model) -> FactBook:
    return facts_of(analyze, model)


def by(book: FactBook, basis: Basis, name: str) -> Value | None:
    """Return what is claimed about `name` by one basis; None when nothing is."""
    values = {claim.value for claim in book.claims(f"model.{name}") if claim.basis is basis}
    assert len(values) <= 1, values
    return next(iter(values), None)


def of_table(table: Mapping[str, tuple[int, ...]], config: Config | None = None) -> FactBook:
    return look(tables.model(tables.checkpoint(tables.tensors(table)), config=config))


SIZES = {
    "llama": (published.LLAMA_31_8B, "llama", (32, 4096, 14336, 128256, 128, 8)),
    "mixtral": (published.MIXTRAL_8X7B, "llama", (32, 4096, 14336, 32000, 128, 8)),
    "qwen2": (published.QWEN25_05B, "qwen2", (24, 896, 4864, 151936, 64, 2)),
    "qwen3": (published.QWEN3_06B, "qwen3", (28, 1024, 3072, 151936, 128, 8)),
    "qwen2_moe": (published.QWEN15_MOE, "qwen2moe", (24, 2048, 1408, 151936, 128, 16)),
    "olmoe": (published.OLMOE, "olmoe", (16, 2048, 1024, 50304, 128, 16)),
}
NAMES = (
    "layers", "hidden_size", "intermediate_size", "vocabulary_size", "head_size", "kv_heads",
)  # fmt: skip


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


def test_heads_are_measured_where_a_norm_is_as_wide_as_one() -> None:
    book = look(tables.safetensors_model(published.QWEN3_06B))
    assert by(book, Basis.MEASURED, "heads") == 16
    assert by(book, Basis.MEASURED, "kv_heads") == 8
    whole = look(tables.safetensors_model(published.OLMOE))  # here the norm is as wide as all heads
    assert by(whole, Basis.MEASURED, "heads") is None
    assert by(whole, Basis.DERIVED, "kv_heads") == 16


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


def test_latent_attention_tells_no_heads() -> None:
    for config in (published.DEEPSEEK_V2_LITE, published.DEEPSEEK_V3_SMALL):
        book = look(tables.safetensors_model(config))
        assert book.contradictions() == ()
        assert "model.head_size" not in book
        assert by(book, Basis.MEASURED, "layers") == config["num_hidden_layers"]
        assert by(book, Basis.MEASURED, "intermediate_size") == config["moe_intermediate_size"]


def test_gguf_counts_blocks_that_predict_further_tokens_among_the_layers() -> None:
    metadata: dict[str, MetadataValue] = {
        "general.architecture": "glm4moe",
        "glm4moe.block_count": 47,
        "glm4moe.nextn_predict_layers": 1,
    }
    book = look(tables.model(Checkpoint("gguf", ("model.gguf",), (), metadata)))
    assert book.value("model.layers") == 46


# --- families ----------------------------------------------------------------------------------


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


def test_an_older_spelling_of_a_family() -> None:
    book = look(
        tables.model(config={"model_type": "RefinedWeb", "architectures": ["RWForCausalLM"]})
    )
    assert book.value("model.architecture") == "falcon"


# --- encoders and the like ---------------------------------------------------------------------


def test_bert() -> None:
    book = look(tables.safetensors_model(published.BERT_BASE))
    assert book.contradictions() == ()
    assert by(book, Basis.MEASURED, "context_length") == 512
    assert by(book, Basis.MEASURED, "intermediate_size") == 3072
    assert book.value("model.design") == "encoder"
    assert "model.tied_embeddings" not in book


def test_roberta_numbers_positions_from_two() -> None:
    config = {**published.BERT_BASE, "model_type": "roberta", "max_position_embeddings": 514}
    book = look(tables.safetensors_model(config))
    assert by(book, Basis.MEASURED, "context_length") == 512
    assert by(book, Basis.DECLARED, "context_length") == 512


def test_opt_keeps_two_rows_more_than_it_states() -> None:
    table = {"model.decoder.embed_positions.weight": (2050, 8)}
    config = {"model_type": "opt", "max_position_embeddings": 2048}
    book = of_table(table, config)
    assert by(book, Basis.MEASURED, "context_length") == 2048
    assert book.contradictions() == ()


def test_positions_of_an_unknown_family_are_not_measured() -> None:
    book = of_table(tables.table_of(published.BERT_BASE))
    assert "model.context_length" not in book
    assert by(book, Basis.MEASURED, "layers") == 12


def test_gpt2() -> None:
    book = look(tables.safetensors_model(published.GPT2))
    assert book.contradictions() == ()
    assert [book.value(f"model.{name}") for name in NAMES] == [12, 768, 3072, 50257, 64, 12]
    assert by(book, Basis.MEASURED, "context_length") == 1024


def test_distilbert_has_field_names_of_its_own() -> None:
    config = {
        "model_type": "distilbert", "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12,
        "max_position_embeddings": 512, "vocab_size": 30522,
    }  # fmt: skip
    book = look(tables.model(config=config))
    assert [book.value(f"model.{name}") for name in NAMES[:4]] == [6, 768, 3072, 30522]
    assert book.value("model.heads") == 12


def test_t5() -> None:
    book = look(tables.safetensors_model(published.T5_SMALL))
    assert book.contradictions() == ()
    assert by(book, Basis.MEASURED, "design") == "encoder-decoder"
    assert by(book, Basis.MEASURED, "heads") == 8
    assert by(book, Basis.MEASURED, "layers") == 6
    assert by(book, Basis.MEASURED, "intermediate_size") == 2048


def test_falcon_7b_states_key_heads_that_it_does_not_use() -> None:
    config = {
        "model_type": "falcon", "hidden_size": 4544, "num_attention_heads": 71, "num_kv_heads": 71,
        "num_hidden_layers": 1, "multi_query": True, "new_decoder_architecture": False,
    }  # fmt: skip
    table: Table = {
        "transformer.h.0.input_layernorm.weight": (4544,),
        "transformer.h.0.self_attention.query_key_value.weight": (4672, 4544),
        "transformer.h.0.self_attention.dense.weight": (4544, 4544),
    }
    book = of_table(table, config)
    assert book.contradictions() == ()
    assert book.value("model.kv_heads") == 1
    assert book.value("model.head_size") == 64


def test_a_query_matrix_with_gates_in_it_tells_no_head_size() -> None:
    config = {**published.QWEN3_06B, "model_type": "qwen3_next"}
    table = tables.table_of(published.QWEN3_06B)
    doubled = {
        name: (2 * shape[0], shape[1]) if "q_proj" in name else shape
        for name, shape in table.items()
    }
    book = of_table(doubled, config)
    assert book.contradictions() == ()
    assert by(book, Basis.MEASURED, "heads") is None


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


def test_a_config_of_another_tool_is_left_alone() -> None:
    other = {"hidden_size": 3, "num_layers": 4, "architecture": "resnet50"}
    assert list(look(tables.model(config=other))) == []


def test_blocks_that_differ_tell_no_size() -> None:
    table = tables.table_of(published.LLAMA_32_1B)
    table["model.layers.3.mlp.down_proj.weight"] = (2048, 4096)
    book = of_table(table)
    assert "model.intermediate_size" not in book
    assert book.value("model.layers") == 16


def test_a_gap_between_the_blocks_tells_no_number_of_layers() -> None:
    table = {n: s for n, s in tables.table_of(published.LLAMA_32_1B).items() if ".7." not in n}
    assert "model.layers" not in of_table(table)


def test_a_missing_shard_tells_no_size() -> None:
    weights = Checkpoint(
        "safetensors",
        ("a.safetensors",),
        tables.tensors(tables.table_of(published.LLAMA_32_1B)),
        problems=(Problem(ProblemKind.MISSING_SHARD, "gone", "b.safetensors"),),
    )
    assert list(look(tables.model(weights))) == []


def test_integers_that_hold_packed_weights_tell_no_size() -> None:
    table = tables.table_of(published.LLAMA_32_1B)
    packed = {name: "U8" for name, shape in table.items() if "proj" in name}
    made = tables.tensors(table, dtypes=packed)
    book = look(tables.model(tables.checkpoint(made)))
    assert "model.intermediate_size" not in book
    assert book.value("model.hidden_size") == 2048


def test_an_adapter_tells_nothing_of_the_base() -> None:
    table = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": (8, 64)}
    assert list(of_table(table)) == []


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
