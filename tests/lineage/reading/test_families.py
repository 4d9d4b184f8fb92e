"""Families of models, by the names of their published tensors: the same roles for all.

Sizes are those of no real model: the names are what is tested, and where fused matrices are cut.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from steelyard.checkpoints.tensors import MetadataValue
from steelyard.lineage.reading.layouts import Layout
from tests.lineage.laying import Array, found, laid, normal

D, F, V, H, KV = 24, 64, 40, 4, 2
HEAD = D // H
NARROW = KV * HEAD

LLAMA = {
    "model.embed_tokens.weight": ("embedding", None, "weight"),
    "model.layers.0.self_attn.q_proj.weight": ("attention.q", 0, "weight"),
    "model.layers.0.mlp.gate_proj.weight": ("mlp.gate", 0, "weight"),
    "model.layers.0.input_layernorm.weight": ("norm.attention", 0, "weight"),
    "model.layers.0.post_attention_layernorm.weight": ("norm.mlp", 0, "weight"),
    "model.norm.weight": ("norm.final", None, "weight"),
    "lm_head.weight": ("output_head", None, "weight"),
}
Expected = Mapping[str, tuple[str, int | None, str]]
FAMILIES: dict[str, Expected] = {
    "llama, mistral": LLAMA,
    "llama as gguf": {
        "token_embd.weight": ("embedding", None, "weight"),
        "blk.0.attn_q.weight": ("attention.q", 0, "weight"),
        "blk.0.ffn_gate.weight": ("mlp.gate", 0, "weight"),
        "blk.0.attn_norm.weight": ("norm.attention", 0, "weight"),
        "blk.0.ffn_norm.weight": ("norm.mlp", 0, "weight"),
        "output_norm.weight": ("norm.final", None, "weight"),
        "output.weight": ("output_head", None, "weight"),
    },
    "qwen2": LLAMA | {"model.layers.0.self_attn.k_proj.bias": ("attention.k", 0, "bias")},
    "qwen3": LLAMA | {
        "model.layers.0.self_attn.q_norm.weight": ("norm.q", 0, "weight"),
        "model.layers.0.self_attn.k_norm.weight": ("norm.k", 0, "weight"),
    },
    "qwen3 as gguf": {
        "blk.0.attn_q_norm.weight": ("norm.q", 0, "weight"),
        "blk.0.attn_k_norm.weight": ("norm.k", 0, "weight"),
    },
    "qwen1": {
        "transformer.wte.weight": ("embedding", None, "weight"),
        "transformer.h.0.mlp.w1.weight": ("mlp.up", 0, "weight"),
        "transformer.h.0.mlp.w2.weight": ("mlp.gate", 0, "weight"),
        "transformer.h.0.mlp.c_proj.weight": ("mlp.down", 0, "weight"),
    },
    "gemma2, gemma3": {
        "model.layers.0.input_layernorm.weight": ("norm.attention", 0, "weight"),
        "model.layers.0.post_attention_layernorm.weight": ("norm.post_attention", 0, "weight"),
        "model.layers.0.pre_feedforward_layernorm.weight": ("norm.mlp", 0, "weight"),
        "model.layers.0.post_feedforward_layernorm.weight": ("norm.post_mlp", 0, "weight"),
    },
    "gemma3 as gguf": {
        "blk.0.attn_norm.weight": ("norm.attention", 0, "weight"),
        "blk.0.post_attention_norm.weight": ("norm.post_attention", 0, "weight"),
        "blk.0.ffn_norm.weight": ("norm.mlp", 0, "weight"),
        "blk.0.post_ffw_norm.weight": ("norm.post_mlp", 0, "weight"),
    },
    "gpt-2": {
        "wte.weight": ("embedding", None, "weight"),
        "wpe.weight": ("position_embedding", None, "weight"),
        "h.0.ln_1.bias": ("norm.attention", 0, "bias"),
        "h.0.ln_2.weight": ("norm.mlp", 0, "weight"),
        "h.0.attn.c_proj.weight": ("attention.o", 0, "weight"),
        "h.0.mlp.c_fc.bias": ("mlp.up", 0, "bias"),
        "ln_f.weight": ("norm.final", None, "weight"),
    },
    "gpt-neox, pythia": {
        "gpt_neox.embed_in.weight": ("embedding", None, "weight"),
        "gpt_neox.layers.0.attention.dense.weight": ("attention.o", 0, "weight"),
        "gpt_neox.layers.0.mlp.dense_h_to_4h.weight": ("mlp.up", 0, "weight"),
        "gpt_neox.final_layer_norm.weight": ("norm.final", None, "weight"),
        "embed_out.weight": ("output_head", None, "weight"),
    },
    "bloom": {
        "word_embeddings.weight": ("embedding", None, "weight"),
        "word_embeddings_layernorm.weight": ("norm.embedding", None, "weight"),
        "h.0.self_attention.dense.weight": ("attention.o", 0, "weight"),
        "h.0.mlp.dense_4h_to_h.bias": ("mlp.down", 0, "bias"),
    },
    "falcon": {
        "transformer.word_embeddings.weight": ("embedding", None, "weight"),
        "transformer.h.0.ln_attn.weight": ("norm.attention_2", 0, "weight"),
        "transformer.h.0.ln_mlp.weight": ("norm.attention", 0, "weight"),
        "transformer.h.0.mlp.dense_h_to_4h.weight": ("mlp.up", 0, "weight"),
    },
    "opt": {
        "model.decoder.embed_tokens.weight": ("embedding", None, "weight"),
        "model.decoder.embed_positions.weight": ("position_embedding", None, "weight"),
        "model.decoder.layers.0.fc1.weight": ("mlp.up", 0, "weight"),
        "model.decoder.layers.0.final_layer_norm.weight": ("norm.mlp", 0, "weight"),
        "model.decoder.final_layer_norm.weight": ("norm.final", None, "weight"),
    },
    "mpt": {
        "transformer.blocks.0.norm_1.weight": ("norm.attention", 0, "weight"),
        "transformer.blocks.0.ffn.up_proj.weight": ("mlp.up", 0, "weight"),
        "transformer.blocks.0.attn.out_proj.weight": ("attention.o", 0, "weight"),
    },
    "bert, roberta": {
        "bert.embeddings.word_embeddings.weight": ("embedding", None, "weight"),
        "bert.embeddings.token_type_embeddings.weight": ("token_type_embedding", None, "weight"),
        "bert.encoder.layer.0.attention.self.query.weight": ("attention.q", 0, "weight"),
        "bert.encoder.layer.0.attention.output.LayerNorm.weight":
            ("norm.post_attention", 0, "weight"),
        "bert.encoder.layer.0.intermediate.dense.bias": ("mlp.up", 0, "bias"),
        "bert.encoder.layer.0.output.LayerNorm.bias": ("norm.post_mlp", 0, "bias"),
    },
    "bert as gguf": {
        "token_types.weight": ("token_type_embedding", None, "weight"),
        "blk.0.attn_output_norm.weight": ("norm.post_attention", 0, "weight"),
        "blk.0.layer_output_norm.bias": ("norm.post_mlp", 0, "bias"),
    },
    "distilbert": {
        "distilbert.transformer.layer.0.attention.out_lin.weight": ("attention.o", 0, "weight"),
        "distilbert.transformer.layer.0.sa_layer_norm.weight": ("norm.post_attention", 0, "weight"),
        "distilbert.transformer.layer.0.ffn.lin2.weight": ("mlp.down", 0, "weight"),
    },
    "mpnet": {
        "mpnet.encoder.layer.0.attention.attn.q.weight": ("attention.q", 0, "weight"),
        "mpnet.encoder.layer.0.attention.LayerNorm.weight": ("norm.post_attention", 0, "weight"),
        "mpnet.encoder.relative_attention_bias.weight": ("relative_bias", None, "weight"),
    },
    "albert": {
        "albert.encoder.embedding_hidden_mapping_in.weight":
            ("embedding.projection", None, "weight"),
        "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight":
            ("attention.q", 0, "weight"),
        "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm.bias":
            ("norm.post_attention", 0, "bias"),
        "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight": ("mlp.up", 0, "weight"),
        "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight":
            ("mlp.down", 0, "weight"),
    },
    "deberta": {
        "deberta.encoder.layer.0.attention.self.query_proj.weight": ("attention.q", 0, "weight"),
    },
    "t5": {
        "shared.weight": ("embedding", None, "weight"),
        "encoder.block.0.layer.0.SelfAttention.q.weight": ("attention.q", 1, "weight"),
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": ("mlp.gate", 1, "weight"),
        "decoder.block.0.layer.1.EncDecAttention.k.weight": ("cross_attention.k", 0, "weight"),
        "decoder.block.0.layer.2.DenseReluDense.wo.weight": ("mlp.down", 0, "weight"),
    },
    "t5 as gguf": {
        "enc.blk.0.attn_q.weight": ("attention.q", 1, "weight"),
        "enc.blk.0.ffn_gate.weight": ("mlp.gate", 1, "weight"),
        "dec.blk.0.cross_attn_k.weight": ("cross_attention.k", 0, "weight"),
        "dec.blk.0.ffn_down.weight": ("mlp.down", 0, "weight"),
    },
    "whisper": {
        "model.encoder.layers.0.self_attn.k_proj.weight": ("attention.k", 1, "weight"),
        "model.decoder.layers.0.encoder_attn.v_proj.bias": ("cross_attention.v", 0, "bias"),
        "model.decoder.layers.0.encoder_attn_layer_norm.weight":
            ("norm.cross_attention", 0, "weight"),
        "proj_out.weight": ("output_head", None, "weight"),
    },
    "whisper by openai": {
        "decoder.token_embedding.weight": ("embedding", None, "weight"),
        "encoder.blocks.0.attn.query.weight": ("attention.q", 1, "weight"),
        "encoder.blocks.0.mlp.0.weight": ("mlp.up", 1, "weight"),
        "encoder.blocks.0.mlp.2.bias": ("mlp.down", 1, "bias"),
        "decoder.blocks.0.cross_attn.out.weight": ("cross_attention.o", 0, "weight"),
        "decoder.blocks.0.cross_attn_ln.weight": ("norm.cross_attention", 0, "weight"),
        "decoder.blocks.0.mlp_ln.weight": ("norm.mlp", 0, "weight"),
        "decoder.ln.weight": ("norm.final", None, "weight"),
    },
    "mixtral": {
        "model.layers.0.block_sparse_moe.gate.weight": ("router", 0, "weight"),
        "model.layers.0.block_sparse_moe.experts.1.w3.weight": ("experts.up", 0, "weight"),
        "model.layers.0.block_sparse_moe.experts.1.w2.weight": ("experts.down", 0, "weight"),
    },
    "qwen2-moe, deepseek": {
        "model.layers.0.mlp.gate.weight": ("router", 0, "weight"),
        "model.layers.0.mlp.experts.2.gate_proj.weight": ("experts.gate", 0, "weight"),
        "model.layers.0.mlp.shared_expert.up_proj.weight": ("shared_expert.up", 0, "weight"),
        "model.layers.1.mlp.shared_experts.up_proj.weight": ("shared_expert.up", 1, "weight"),
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": ("attention.kv_a", 0, "weight"),
        "model.layers.0.self_attn.kv_b_proj.weight": ("attention.kv_b", 0, "weight"),
        "model.layers.0.self_attn.q_a_layernorm.weight": ("norm.q_a", 0, "weight"),
    },
    "mixtures as gguf": {
        "blk.0.ffn_gate_inp.weight": ("router", 0, "weight"),
        "blk.0.ffn_up_shexp.weight": ("shared_expert.up", 0, "weight"),
        "blk.0.attn_kv_a_mqa.weight": ("attention.kv_a", 0, "weight"),
    },
    "gpt-oss": {
        "model.layers.0.mlp.router.weight": ("router", 0, "weight"),
        "model.layers.0.self_attn.sinks": ("attention.sinks", 0, "weight"),
    },
    "vit": {
        "vit.embeddings.patch_embeddings.projection.bias":
            ("vision.patch_embedding", None, "bias"),
        "vit.encoder.layer.0.attention.attention.query.weight": ("attention.q", 0, "weight"),
        "vit.encoder.layer.0.layernorm_before.weight": ("norm.attention", 0, "weight"),
    },
    "clip": {
        "text_model.encoder.layers.0.mlp.fc1.weight": ("mlp.up", 0, "weight"),
        "vision_model.encoder.layers.0.self_attn.v_proj.weight": ("attention.v", 1, "weight"),
        "vision_model.embeddings.class_embedding": ("vision.class_embedding", None, "weight"),
        "visual_projection.weight": ("projection.vision", None, "weight"),
    },
    "llava": {
        "language_model.model.layers.0.mlp.up_proj.weight": ("mlp.up", 0, "weight"),
        "model.vision_tower.vision_tower.vision_model.encoder.layers.0.mlp.fc2.weight":
            ("mlp.down", 1, "weight"),
        "model.mm_projector.0.weight": ("vision_projector.1", None, "weight"),
        "model.mm_projector.2.bias": ("vision_projector.2", None, "bias"),
    },
    "llava by transformers": {
        "multi_modal_projector.linear_1.weight": ("vision_projector.1", None, "weight"),
        "multi_modal_projector.linear_2.bias": ("vision_projector.2", None, "bias"),
    },
    "mamba": {
        "backbone.embeddings.weight": ("embedding", None, "weight"),
        "backbone.layers.0.mixer.in_proj.weight": ("ssm.in", 0, "weight"),
        "backbone.layers.0.mixer.out_proj.weight": ("ssm.out", 0, "weight"),
        "backbone.layers.0.mixer.A_log": ("ssm.a", 0, "weight"),
        "backbone.layers.0.norm.weight": ("norm.attention", 0, "weight"),
        "backbone.norm_f.weight": ("norm.final", None, "weight"),
    },
    "mamba as gguf": {
        "blk.0.ssm_in.weight": ("ssm.in", 0, "weight"),
        "blk.0.ssm_out.weight": ("ssm.out", 0, "weight"),
        "blk.0.ssm_a": ("ssm.a", 0, "weight"),
    },
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_published_names_have_their_roles(family: str) -> None:
    wanted = FAMILIES[family]
    arrays: dict[str, Array] = {
        name: normal(D) if part == "bias" or role.startswith("norm.") else normal(D, D)
        for name, (role, _, part) in wanted.items()
    }
    layout = laid(arrays, "gguf" if "gguf" in family else "safetensors")
    made = {m.tensor: (m.role, m.layer, m.part) for m in layout.named}
    assert made == wanted


# --- fused matrices ----------------------------------------------------------------------------


def separate(keys: int = NARROW) -> dict[str, Array]:
    """Make queries, keys, values and output as they are when they lie apart."""
    shapes = {"q": (D, D), "k": (keys, D), "v": (keys, D)}
    return {name: normal(*shape, seed=n) for n, (name, shape) in enumerate(shapes.items())}


def by_head(parts: Mapping[str, Array]) -> Array:
    """Join as NeoX, BLOOM and Falcon do: for each head of keys its queries, then k, then v."""
    groups = len(parts["k"]) // HEAD
    queries = parts["q"].reshape(groups, -1, *parts["q"].shape[1:])
    others = [parts[n].reshape(groups, HEAD, *parts[n].shape[1:]) for n in ("k", "v")]
    joined = np.concatenate([queries, *others], axis=1)
    return joined.reshape(-1, *parts["q"].shape[1:])


def one_after_another(parts: Mapping[str, Array]) -> Array:
    return np.concatenate([parts[name] for name in ("q", "k", "v")])


def check(layout: Layout, parts: Mapping[str, Array], part: str = "weight") -> None:
    for name, wanted in parts.items():
        one = found(layout, f"attention.{name}", part=part)
        assert np.array_equal(one, wanted)
        if part == "weight":
            (matrix,) = [
                m for m in layout.named if m.role == f"attention.{name}" and m.part == "weight"
            ]
            assert np.array_equal(matrix.rows(3, 5), wanted[3:8])


@pytest.mark.parametrize(
    ("fused", "output", "keys", "cut"),
    [
        ("gpt_neox.layers.0.attention.query_key_value", "gpt_neox.layers.0.attention.dense", D, 1),
        ("h.0.self_attention.query_key_value", "h.0.self_attention.dense", D, 1),
        ("transformer.h.0.self_attention.query_key_value",
         "transformer.h.0.self_attention.dense", NARROW, 1),
        ("transformer.h.0.self_attention.query_key_value",
         "transformer.h.0.self_attention.dense", HEAD, 1),
        ("model.layers.0.attention.wqkv", "model.layers.0.attention.wo", NARROW, 1),
        ("transformer.encoder.layers.0.self_attention.query_key_value",
         "transformer.encoder.layers.0.self_attention.dense", NARROW, 0),
        ("model.layers.0.self_attn.qkv_proj", "model.layers.0.self_attn.o_proj", NARROW, 0),
        ("transformer.blocks.0.attn.Wqkv", "transformer.blocks.0.attn.out_proj", D, 0),
        ("model.layers.0.self_attn.W_pack", "model.layers.0.self_attn.o_proj", D, 0),
        ("blk.0.attn_qkv", "blk.0.attn_output", NARROW, 0),
    ],
)  # fmt: skip
def test_queries_keys_and_values_are_cut_apart(
    fused: str, output: str, keys: int, cut: int
) -> None:
    parts = separate(keys)
    bias = {name: normal(len(each), seed=9) for name, each in parts.items()}
    join = by_head if cut else one_after_another
    layout = laid(
        {
            f"{fused}.weight": join(parts),
            f"{fused}.bias": join(bias),
            f"{output}.weight": normal(D, D, seed=7),
        },
        heads=H,
    )
    check(layout, parts)
    check(layout, bias, "bias")


def test_without_heads_what_lies_by_head_stays_in_one() -> None:
    name = "gpt_neox.layers.0.attention.query_key_value.weight"
    layout = laid({name: by_head(separate(D))})
    assert np.array_equal(found(layout, "attention.qkv"), by_head(separate(D)))


@pytest.mark.parametrize("heads", [0, -4, 5, 7, 1000])
def test_heads_that_do_not_fit_leave_it_in_one(heads: int) -> None:
    name = "gpt_neox.layers.0.attention.query_key_value.weight"
    layout = laid({name: by_head(separate(D))}, heads=heads)
    assert [m.role for m in layout.named] == ["attention.qkv"]


def test_what_gpt2_fuses_is_turned_and_cut() -> None:
    parts = separate(D)
    bias = {name: normal(D, seed=n) for n, name in enumerate("qkv")}
    layout = laid(
        {
            "wte.weight": normal(V, D),
            "h.0.attn.c_attn.weight": one_after_another(parts).T,
            "h.0.attn.c_attn.bias": one_after_another(bias),
            "h.0.attn.c_proj.weight": normal(D, D),
            "h.0.mlp.c_fc.weight": normal(D, F),
        }
    )
    check(layout, parts)
    check(layout, bias, "bias")


@pytest.mark.parametrize("name", ["blk.0.ffn_up", "transformer.encoder.layers.0.mlp.dense_h_to_4h"])
def test_up_of_twice_the_width_holds_the_gate_too(name: str) -> None:
    down = {"ffn_up": "blk.0.ffn_down"}.get(
        name.rpartition(".")[2], "transformer.encoder.layers.0.mlp.dense_4h_to_h"
    )
    both = normal(2 * F, D)
    layout = laid({f"{name}.weight": both, f"{down}.weight": normal(D, F)})
    assert np.array_equal(found(layout, "mlp.gate"), both[:F])
    assert np.array_equal(found(layout, "mlp.up"), both[F:])


def test_some_put_the_gate_last() -> None:
    both = normal(2 * F, D)
    layout = laid({"encoder.layer.0.mlp.up_gate_proj.weight": both})
    assert np.array_equal(found(layout, "mlp.up"), both[:F])
    assert np.array_equal(found(layout, "mlp.gate"), both[F:])


# --- experts -----------------------------------------------------------------------------------


def test_experts_of_llama4_are_turned_and_the_attention_is_not() -> None:
    gate, up, down = normal(3, F, D, seed=1), normal(3, F, D, seed=2), normal(3, D, F, seed=3)
    query = normal(D, D, seed=4)
    start = "language_model.model.layers.0"
    layout = laid(
        {
            "language_model.model.embed_tokens.weight": normal(V, D),
            f"{start}.feed_forward.experts.gate_up_proj":
                np.concatenate([gate, up], axis=1).swapaxes(1, 2).copy(),
            f"{start}.feed_forward.experts.down_proj": down.swapaxes(1, 2).copy(),
            f"{start}.self_attn.q_proj.weight": query,
        }
    )  # fmt: skip
    for expert in range(3):
        assert np.array_equal(found(layout, "experts.gate", expert=expert), gate[expert])
        assert np.array_equal(found(layout, "experts.up", expert=expert), up[expert])
        assert np.array_equal(found(layout, "experts.down", expert=expert), down[expert])
    assert np.array_equal(found(layout, "attention.q"), query)


def test_experts_of_gpt_oss_lie_crosswise() -> None:
    gate, up = normal(2, F, D, seed=1), normal(2, F, D, seed=2)
    both = np.stack([gate, up], axis=2).reshape(2, 2 * F, D)
    bias = normal(2, 2 * F, seed=3)
    start = "model.layers.0.mlp.experts"
    layout = laid(
        {
            "model.embed_tokens.weight": normal(V, D),
            f"{start}.gate_up_proj": both.swapaxes(1, 2).copy(),
            f"{start}.gate_up_proj_bias": bias,
        }
    )
    for expert in range(2):
        assert np.array_equal(found(layout, "experts.gate", expert=expert), gate[expert])
        assert np.array_equal(found(layout, "experts.up", expert=expert), up[expert])
        own = found(layout, "experts.gate", expert=expert, part="bias")
        assert np.array_equal(own, bias[expert, ::2])


def test_experts_as_published_and_as_converted_are_the_same() -> None:
    up = normal(2, F, D)
    names = [f"model.layers.0.mlp.experts.{expert}.up_proj.weight" for expert in range(2)]
    published = laid(dict(zip(names, up, strict=True)))
    converted = laid({"blk.0.ffn_up_exps.weight": up}, "gguf")
    for expert in range(2):
        theirs = found(published, "experts.up", expert=expert)
        assert np.array_equal(found(converted, "experts.up", expert=expert), theirs)


# --- what llama.cpp's converter does -----------------------------------------------------------


@pytest.mark.parametrize(("heads", "kv"), [(4, 2), (4, 4), (8, 1)])
def test_queries_and_keys_of_llama_files_are_moved_back(heads: int, kv: int) -> None:
    size = 6
    shapes = {"q": (heads * size, D), "k": (kv * size, D)}
    parts = {name: normal(*shape, seed=n) for n, (name, shape) in enumerate(shapes.items())}
    stored = {}
    for (name, rows), count in zip(parts.items(), (heads, kv), strict=True):
        apart = rows.reshape(count, 2, size // 2, D).swapaxes(1, 2)
        stored[f"blk.0.attn_{name}.weight"] = apart.reshape(rows.shape)
    about: dict[str, MetadataValue] = {
        "general.architecture": "llama",
        "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": kv,
    }
    layout = laid(stored, "gguf", about)
    for name, rows in parts.items():
        assert np.array_equal(found(layout, f"attention.{name}"), rows)


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3", "nemotron", "qwen3next"])
def test_norms_that_add_one_are_brought_back(architecture: str) -> None:
    norm = normal(D)
    layout = laid(
        {"blk.0.attn_norm.weight": norm + 1, "blk.0.ssm_norm.weight": norm},
        "gguf",
        {"general.architecture": architecture},
    )
    np.testing.assert_allclose(found(layout, "norm.attention"), norm, atol=1e-6)
    assert np.array_equal(found(layout, "norm.ssm"), norm)


def test_the_decay_of_mamba_is_brought_back() -> None:
    decay = normal(D, 16)
    layout = laid({"blk.0.ssm_a": -np.exp(decay)}, "gguf", {"general.architecture": "mamba"})
    np.testing.assert_allclose(found(layout, "ssm.a"), decay, rtol=1e-5, atol=1e-6)
