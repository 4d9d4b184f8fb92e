"""What shapes tell about an architecture, and where they tell nothing."""

from __future__ import annotations

from steelyard.checkpoints.tensors import Checkpoint, Problem, ProblemKind
from steelyard.facts import Basis
from tests.analyzers import published, tables
from tests.analyzers.tables import Table
from tests.analyzers.witnesses import NAMES, by, look, of_table


def test_heads_are_measured_where_a_norm_is_as_wide_as_one() -> None:
    book = look(tables.safetensors_model(published.QWEN3_06B))
    assert by(book, Basis.MEASURED, "heads") == 16
    assert by(book, Basis.MEASURED, "kv_heads") == 8
    whole = look(tables.safetensors_model(published.OLMOE))  # here the norm is as wide as all heads
    assert by(whole, Basis.MEASURED, "heads") is None
    assert by(whole, Basis.DERIVED, "kv_heads") == 16


def test_latent_attention_tells_no_heads() -> None:
    for config in (published.DEEPSEEK_V2_LITE, published.DEEPSEEK_V3_SMALL):
        book = look(tables.safetensors_model(config))
        assert book.contradictions() == ()
        assert "model.head_size" not in book
        assert by(book, Basis.MEASURED, "layers") == config["num_hidden_layers"]
        assert by(book, Basis.MEASURED, "intermediate_size") == config["moe_intermediate_size"]


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
