"""Families of models, by the names of their published tensors: the same roles for all.

Sizes are those of no real model: the names are what is tested, and what a converter did to values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from steelyard.checkpoints.tensors import MetadataValue
from tests.lineage.laying import Array, found, laid, normal

D = 24
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
