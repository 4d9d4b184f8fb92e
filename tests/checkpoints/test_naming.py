from __future__ import annotations

import time

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.naming import (
    TensorName,
    canonical_names,
    gguf_permutation,
    parse,
    split_part,
)
from steelyard.checkpoints.tensors import MetadataValue
from tests.analyzers import published, tables
from tests.analyzers.published import Config

NAMES = [
    # Llama and its kin
    ("model.embed_tokens.weight", "embedding.weight"),
    ("model.layers.3.self_attn.q_proj.weight", "layers.3.attention.q.weight"),
    ("model.layers.3.self_attn.qkv_proj.weight", "layers.3.attention.qkv.weight"),
    ("model.layers.3.mlp.gate_up_proj.weight", "layers.3.mlp.gate_up.weight"),
    ("model.layers.3.self_attn.rotary_emb.inv_freq", "layers.3.buffer.rope.weight"),
    ("lm_head.weight", "output_head.weight"),
    ("language_model.model.layers.0.mlp.down_proj.weight", "layers.0.mlp.down.weight"),
    ("model.language_model.layers.0.mlp.down_proj.weight", "layers.0.mlp.down.weight"),
    ("layers.0.attention.wq.weight", "layers.0.attention.q.weight"),
    ("tok_embeddings.weight", "embedding.weight"),
    # GPT-2, GPT-NeoX, OPT, BLOOM, Falcon, MPT
    ("transformer.h.0.attn.c_attn.weight", "layers.0.attention.qkv.weight"),
    ("h.0.attn.c_attn.bias", "layers.0.attention.qkv.bias"),
    ("h.0.attn.bias", "layers.0.buffer.mask.weight"),
    ("h.0.attn.masked_bias", "layers.0.buffer.mask.masked"),
    ("gpt_neox.layers.2.attention.query_key_value.bias", "layers.2.attention.qkv.bias"),
    ("gpt_neox.layers.2.mlp.dense_4h_to_h.weight", "layers.2.mlp.down.weight"),
    ("gpt_neox.layers.2.attention.bias", "layers.2.buffer.mask.weight"),
    ("embed_out.weight", "output_head.weight"),
    ("model.decoder.layers.1.self_attn.out_proj.bias", "decoder.layers.1.attention.o.bias"),
    ("model.decoder.embed_positions.weight", "decoder.position_embedding.weight"),
    ("word_embeddings_layernorm.weight", "norm.embedding.weight"),
    ("h.5.self_attention.query_key_value.weight", "layers.5.attention.qkv.weight"),
    ("transformer.h.5.ln_mlp.weight", "layers.5.norm.attention.weight"),
    ("transformer.blocks.4.attn.Wqkv.weight", "layers.4.attention.qkv.weight"),
    ("transformer.blocks.4.ffn.down_proj.weight", "layers.4.mlp.down.weight"),
    # encoders
    ("bert.encoder.layer.1.attention.self.query.bias", "encoder.layers.1.attention.q.bias"),
    ("roberta.encoder.layer.1.output.LayerNorm.gamma", "encoder.layers.1.norm.post_mlp.weight"),
    ("distilbert.transformer.layer.0.attention.q_lin.weight", "layers.0.attention.q.weight"),
    ("cls.predictions.decoder.weight", "output_head.weight"),
    ("cls.predictions.bias", "head.bias.bias"),
    ("embeddings.position_ids", "buffer.position_ids.weight"),
    ("0.auto_model.embeddings.word_embeddings.weight", "embedding.weight"),
    ("inner.embeddings.word_embeddings.weight_q", "embedding.weight"),
    ("model.layers.0.attn.Wqkv.weight", "layers.0.attention.qkv.weight"),
    ("layers.0.mlp.Wi.weight", "layers.0.mlp.gate_up.weight"),
    # encoder and decoder
    ("encoder.block.0.layer.1.layer_norm.weight", "encoder.layers.0.norm.mlp.weight"),
    ("decoder.block.0.layer.1.layer_norm.weight", "decoder.layers.0.norm.cross_attention.weight"),
    (
        "decoder.block.0.layer.1.EncDecAttention.k.weight",
        "decoder.layers.0.cross_attention.k.weight",
    ),
    ("dec.blk.0.cross_attn_k.weight", "decoder.layers.0.cross_attention.k.weight"),
    ("model.encoder.conv1.weight", "encoder.patch_embedding.weight"),
    (
        "model.decoder.layers.0.encoder_attn.v_proj.weight",
        "decoder.layers.0.cross_attention.v.weight",
    ),
    # vision
    (
        "vision_tower.vision_model.encoder.layers.0.self_attn.k_proj.weight",
        "vision.layers.0.attention.k.weight",
    ),
    ("vision_model.embeddings.class_embedding", "vision.class_embedding.weight"),
    ("v.blk.0.ln1.weight", "vision.layers.0.norm.attention.weight"),
    ("visual.blocks.0.attn.qkv.weight", "vision.layers.0.attention.qkv.weight"),
    ("text_model.encoder.layers.0.mlp.fc1.weight", "encoder.layers.0.mlp.up.weight"),
    # experts
    ("model.layers.0.block_sparse_moe.gate.weight", "layers.0.router.weight"),
    ("model.layers.0.block_sparse_moe.experts.5.w1.weight", "layers.0.experts.5.gate.weight"),
    ("blk.0.ffn_gate.5.weight", "layers.0.experts.5.gate.weight"),
    ("model.layers.0.mlp.gate.weight", "layers.0.router.weight"),
    ("model.layers.0.mlp.gate_proj.weight", "layers.0.mlp.gate.weight"),
    ("model.layers.0.mlp.gate.e_score_correction_bias", "layers.0.router.correction.bias"),
    ("blk.0.exp_probs_b.bias", "layers.0.router.correction.bias"),
    ("model.layers.0.mlp.shared_experts.up_proj.weight", "layers.0.shared_expert.up.weight"),
    ("model.layers.0.mlp.experts.gate_up_proj_blocks", "layers.0.experts.gate_up.packed"),
    ("model.layers.0.mlp.experts.gate_up_proj_bias", "layers.0.experts.gate_up.bias"),
    (
        "language_model.model.layers.1.feed_forward.experts.gate_up_proj",
        "layers.1.experts.gate_up.weight",
    ),
    ("blk.0.ffn_down_exps.weight", "layers.0.experts.down.weight"),
    ("model.layers.0.self_attn.sinks", "layers.0.attention.sinks.weight"),
    ("model.layers.0.self_attn.kv_a_proj_with_mqa.weight", "layers.0.attention.kv_a.weight"),
    ("model.layers.61.embed_tokens.weight", "layers.61.mtp.embedding.weight"),
    # adapters
    (
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "layers.0.attention.q.lora_a",
    ),
    (
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight",
        "layers.0.attention.q.lora_b",
    ),
    (
        "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight",
        "layers.0.attention.q.weight",
    ),
    ("base_model.model.model.embed_tokens.lora_embedding_A", "embedding.lora_a"),
    (
        "base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector",
        "layers.0.mlp.up.lora_magnitude",
    ),
    ("blk.0.attn_q.weight.lora_a", "layers.0.attention.q.lora_a"),
    # quantized
    ("model.layers.0.mlp.up_proj.qweight", "layers.0.mlp.up.packed"),
    ("model.layers.0.mlp.up_proj.g_idx", "layers.0.mlp.up.order"),
    ("model.layers.0.mlp.up_proj.weight_scale_inv", "layers.0.mlp.up.scale_inverse"),
    ("model.layers.0.mlp.up_proj.weight.absmax", "layers.0.mlp.up.scale"),
    (
        "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
        "layers.0.mlp.up.state_nf4",
    ),
    ("model.layers.0.mlp.up_proj.SCB", "layers.0.mlp.up.scale"),
]

UNKNOWN = [
    "", ".", "..", "weight", "layers", "layers.0", "layers.0.weight", "layers.x.mlp.up_proj.weight",
    "onnx::MatMul_470", "val_57_q", "model", "model.model.model", "encoder", "a.b.c.weight",
    "layers.1234567.mlp.up_proj.weight", "layers.\u0661.mlp.up_proj.weight",
    "layers.\u00b23.mlp.up_proj.weight", "layers.-1.mlp.up_proj.weight",
    "encoder.block.0.layer.7.SelfAttention.q.weight", "h.0.attn.c_attn",
]  # fmt: skip


@pytest.mark.parametrize(("name", "canonical"), NAMES)
def test_names_of_every_family(name: str, canonical: str) -> None:
    found = parse(name)
    assert found is not None
    assert found.canonical == canonical


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_no_pattern_knows_keeps_its_spelling(name: str) -> None:
    assert parse(name) is None
    assert canonical_names([name]) == {name: name}


def test_the_fields_of_a_name() -> None:
    found = parse("model.layers.3.mlp.experts.12.up_proj.weight")
    assert found == TensorName("experts.up", "weight", layer=3, expert=12)
    found = parse("vision_tower.blocks.3.norm1.bias")
    assert found == TensorName("norm.attention", "bias", layer=3, stack="vision")


CONFIGS = [
    published.LLAMA_32_1B, published.QWEN25_05B, published.QWEN3_06B, published.GPT2,
    published.BERT_BASE,
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c["model_type"])
def test_both_containers_give_the_same_canonical_names(config: Config) -> None:
    published = tables.table_of(config)
    converted = tables.as_gguf(published)
    kept = [name for name in published if not name.startswith("pooler")]
    assert set(canonical_names(kept).values()) == set(canonical_names(converted).values())
    assert not set(canonical_names(kept).values()) & set(kept)


ORACLE = [
    (gguf.MODEL_ARCH.LLAMA, published.LLAMA_32_1B),
    (gguf.MODEL_ARCH.QWEN2, published.QWEN25_05B),
    (gguf.MODEL_ARCH.QWEN3, published.QWEN3_06B),
    (gguf.MODEL_ARCH.GPT2, published.GPT2),
    (gguf.MODEL_ARCH.BERT, published.BERT_BASE),
    (gguf.MODEL_ARCH.T5, published.T5_SMALL),
    (gguf.MODEL_ARCH.DEEPSEEK2, {**published.DEEPSEEK_V3_SMALL, "num_nextn_predict_layers": 0}),
    (gguf.MODEL_ARCH.QWEN2MOE, published.QWEN15_MOE),
]


@pytest.mark.parametrize(("arch", "config"), ORACLE, ids=lambda v: getattr(v, "name", ""))
def test_names_agree_with_the_map_of_gguf_py(arch: gguf.MODEL_ARCH, config: Config) -> None:
    theirs = gguf.TensorNameMap(arch, 32)
    compared = 0
    for name in tables.table_of(config):
        if ".experts." in name:
            continue  # joined before they are renamed
        converted = theirs.get_name(name, try_suffixes=(".weight", ".bias"))
        ours, other = parse(name), parse(converted) if converted else None
        if converted is None or ours is None:
            assert "pooler" in name or name.endswith("correction_bias"), name
            continue
        assert other is not None, converted
        assert (other.role, other.layer, other.part) == (ours.role, ours.layer, ours.part)
        compared += 1
    assert compared > 20


def test_a_norm_after_attention_is_told_by_the_norm_after_the_feed_forward() -> None:
    names = [
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.pre_feedforward_layernorm.weight",
        "model.layers.0.post_feedforward_layernorm.weight",
    ]
    converted = ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"]
    theirs = [f"blk.0.{name}.weight" for name in converted]
    assert [*canonical_names(names).values()] == [*canonical_names(theirs).values()]


def test_a_lone_stack_is_not_named() -> None:
    one = "bert.encoder.layer.0.output.dense.weight"
    other = "decoder.layers.0.fc2.weight"
    assert canonical_names([one])[one] == "layers.0.mlp.down.weight"
    assert canonical_names([other])[other] == "layers.0.mlp.down.weight"
    assert set(canonical_names([one, other]).values()) == {
        "encoder.layers.0.mlp.down.weight",
        "decoder.layers.0.mlp.down.weight",
    }


def test_names_that_would_collide_keep_their_spelling() -> None:
    names = ["model.embed_tokens.weight", "wte.weight", "lm_head.weight"]
    assert canonical_names(names) == {
        "model.embed_tokens.weight": "model.embed_tokens.weight",
        "wte.weight": "wte.weight",
        "lm_head.weight": "output_head.weight",
    }


def test_a_name_that_is_the_canonical_name_of_another() -> None:
    router, gate = "layers.0.mlp.gate.weight", "layers.0.mlp.gate_proj.weight"
    assert canonical_names([router, gate]) == {router: "layers.0.router.weight", gate: router}
    # A second router takes its canonical name from the first, and the spelling that the first
    # falls back to was the canonical name of the gate.
    names = [router, gate, "layers.0.mlp.router.weight"]
    assert canonical_names(names) == {name: name for name in names}


words = st.sampled_from(
    [
        "model", "layers", "0", "1", "7", "blk", "encoder", "decoder", "layer", "self_attn", "mlp",
        "q_proj", "attn_q", "weight", "bias", "experts", "up_proj", "gate", "embedding", "norm",
        "attention", "q", "embed_tokens", "lora_A", "default", "scale", "absmax", "router", "",
    ]
)  # fmt: skip
dotted = st.lists(words, max_size=8).map(".".join)


@given(st.lists(dotted | st.text(max_size=12), max_size=30))
def test_canonical_names_are_one_to_one(names: list[str]) -> None:
    found = canonical_names(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)


@given(st.lists(dotted, max_size=20), st.randoms())
def test_order_does_not_matter(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert canonical_names(shuffled) == canonical_names(names)


@given(dotted, dotted)
def test_different_meanings_have_different_canonical_names(a: str, b: str) -> None:
    one, other = parse(a), parse(b)
    if one is not None and other is not None and one != other:
        assert one.canonical != other.canonical


@given(dotted | st.text(max_size=40))
def test_a_name_starts_with_what_its_part_belongs_to(name: str) -> None:
    base, part = split_part(name)
    assert name.startswith(base)
    assert (part is None) == (base == name)


@pytest.mark.parametrize(
    "name",
    ["model." * 700, "." * 4096, "layers.0." * 400, "1." * 2000, "encoder." * 500 + "norm.weight"],
)
def test_long_names_are_left_alone(name: str) -> None:
    assert parse(name) is None
    assert split_part(name)[0] in (name, name.removesuffix(".weight"))


def test_a_hundred_thousand_names_take_about_a_second() -> None:
    names = [
        f"model.layers.{i}.mlp.experts.{j}.up_proj.weight" for i in range(100) for j in range(1000)
    ]
    start = time.process_time()
    assert len(canonical_names(names)) == 100_000
    assert time.process_time() - start < 8  # generous: other things run on the machine


# --- permutation -------------------------------------------------------------------------------


def llama(
    arch: str = "llama", heads: MetadataValue = 4, kv: MetadataValue = 2
) -> dict[str, MetadataValue]:
    return {
        "general.architecture": arch,
        f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": kv,
    }


def permutation(name: str, metadata: dict[str, MetadataValue], kind: str = "gguf") -> int | None:
    made = tables.tensors({name: (32, 8)}, "F32")
    return gguf_permutation(tables.checkpoint(made, kind, metadata), made[0])


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("blk.0.attn_q.weight", 4),
        ("blk.0.attn_q.bias", 4),
        ("blk.0.attn_k.weight", 2),
        ("blk.0.attn_q.weight.lora_b", 4),
        ("blk.0.attn_q.weight.lora_a", None),
        ("blk.0.attn_v.weight", None),
        ("blk.0.attn_q_norm.weight", None),
        ("v.blk.0.attn_q.weight", None),
        ("token_embd.weight", None),
        ("nonsense", None),
    ],
)
def test_which_tensors_are_permuted(name: str, heads: int | None) -> None:
    assert permutation(name, llama()) == heads


@pytest.mark.parametrize("arch", ["qwen2", "gemma3", "llama4", "bert", "phi3", ""])
def test_architectures_that_are_not_permuted(arch: str) -> None:
    assert permutation("blk.0.attn_q.weight", llama(arch)) is None


def test_heads_of_each_layer_and_heads_that_are_wrong() -> None:
    each = llama(kv=(1, 2))
    assert permutation("blk.1.attn_k.weight", each) == 2
    assert permutation("blk.2.attn_k.weight", each) is None
    alone: dict[str, MetadataValue] = {k: v for k, v in llama().items() if not k.endswith("_kv")}
    assert permutation("blk.0.attn_k.weight", alone) == 4
    for wrong in (0, -1, 5, True, "4", 1.5, None):
        assert permutation("blk.0.attn_q.weight", llama(heads=wrong)) is None
    assert permutation("blk.0.attn_q.weight", llama(), kind="safetensors") is None
    assert permutation("blk.0.attn_q.weight", {}) is None


@pytest.mark.parametrize(("heads", "size"), [(4, 8), (2, 16), (3, 4)])
def test_the_documented_reordering_undoes_the_converter(heads: int, size: int) -> None:
    rows = heads * size
    published = np.arange(rows * 5).reshape(rows, 5)
    stored = published.reshape(heads, 2, size // 2, 5).swapaxes(1, 2).reshape(rows, 5)
    back = stored.reshape(heads, rows // heads // 2, 2, 5).swapaxes(1, 2).reshape(rows, 5)
    assert (back == published).all()
