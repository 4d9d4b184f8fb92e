"""What each stored tensor counts for: constants, copies, packed weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.counting import Packing, count
from steelyard.checkpoints.tensors import DTYPE_BITS, Tensor
from tests.analyzers import published, tables
from tests.analyzers.counted import LORA, look, of_tensors, total
from tests.analyzers.tables import Shape, Table

# --- what is no parameter ----------------------------------------------------------------------


def test_an_integer_buffer_is_no_parameter() -> None:
    table = {**tables.table_of(published.BERT_BASE), "embeddings.position_ids": (1, 512)}
    made = tables.tensors(table, "F32", dtypes={"embeddings.position_ids": "I64"})
    book = of_tensors(*made)
    assert total(book) == 109_482_240
    fact = book.resolve("model.parameters.total")
    assert fact is not None
    assert "left out: 512 elements of constants" in fact.note
    assert "embeddings.position_ids" in fact.note


def test_masks_of_gpt2_are_no_parameters() -> None:
    table = tables.table_of(published.GPT2)
    for layer in range(12):
        table[f"h.{layer}.attn.bias"] = (1, 1, 1024, 1024)
        table[f"h.{layer}.attn.masked_bias"] = ()
    assert total(of_tensors(*tables.tensors(table, "F32"))) == 124_439_808


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bn1.running_mean", "F32"),
        ("bn1.running_var", "F32"),
        ("bn1.num_batches_tracked", "I64"),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "F32"),
        ("rope_freqs.weight", "F32"),
        ("something.freqs_cis", "C64"),
        ("layers.0.attn.relative_position_index", "I64"),
        ("anything", "I32"),
        ("flags.weight", "BOOL"),
    ],
)
def test_buffers(name: str, dtype: str) -> None:
    made = tables.tensors({name: (7,), "fc.weight": (3, 5)}, dtypes={name: dtype})
    assert total(of_tensors(*made)) == 15


def test_small_constants_of_a_graph_are_no_parameters() -> None:
    table: Table = {
        "scalar": (),
        "/model.10/Constant_3_output_0": (4,),
        "/layer/ConstantOfShape/value": (1,),
        "p2o.helper.constant.12": (1,),
        "Constant_1": (4,),
        "/layer/Constant_9_output_0": (500,),  # may well be weights
        "fc.bias": (1,),
    }
    made = tables.tensors(table, "F32")
    assert total(of_tensors(*made, kind="onnx")) == 501
    assert total(of_tensors(*made)) == 501 + 1 + 4 + 1 + 1 + 4


# --- tied weights and copies -------------------------------------------------------------------


def test_two_names_for_the_same_bytes_count_once() -> None:
    embedding, norm = tables.tensors(
        {"model.embed_tokens.weight": (100, 8), "model.norm.weight": (8,)}
    )
    head = replace(embedding, name="lm_head.weight")
    book = of_tensors(embedding, norm, head)
    assert total(book) == 808
    assert book.value("model.parameters.embedding") == 800
    fact = book.resolve("model.parameters.total")
    assert fact is not None
    assert "lm_head.weight" in fact.note or "model.embed_tokens.weight" in fact.note


def test_members_of_an_archive_without_offsets_are_told_apart() -> None:
    (one,) = tables.tensors({"a.weight": (10,)})
    packed = replace(one, offset=None, member="data/0")
    alias, other = (
        replace(packed, name="b.weight"),
        replace(packed, name="c.weight", member="data/1"),
    )
    assert total(of_tensors(packed, alias, other)) == 20
    scattered = replace(one, offset=None)
    assert total(of_tensors(scattered, replace(scattered, name="b.weight"))) == 20


def test_a_stored_copy_of_a_tied_head_is_counted_as_stored() -> None:
    table = {**tables.table_of(published.LLAMA_32_1B), "lm_head.weight": (128256, 2048)}
    book = of_tensors(*tables.tensors(table), config=published.LLAMA_32_1B)
    assert total(book) == 1_235_814_400 + 128256 * 2048


def test_the_head_that_llama_cpp_writes_twice_counts_once() -> None:
    table = tables.as_gguf(tables.table_of(published.GPT2))
    table["output.weight"] = table["token_embd.weight"]
    weights = tables.checkpoint(
        tables.tensors(table, "F16"),
        "gguf",
        {"general.architecture": "gpt2", "general.size_label": "163M"},
    )
    book = look(tables.model(weights))
    assert total(book) == 124_439_808
    assert book.value("model.parameters.embedding") == 50257 * 768
    assert book.contradictions() == ()


def test_latent_attention_that_is_stored_whole_and_split_counts_once() -> None:
    table: Table = {
        "blk.0.attn_kv_b.weight": (64, 16),
        "blk.0.attn_k_b.weight": (4, 8, 16),
        "blk.0.attn_v_b.weight": (4, 16, 8),
    }
    assert total(of_tensors(*tables.tensors(table, "F32"), kind="gguf")) == 64 * 16
    del table["blk.0.attn_kv_b.weight"]
    assert total(of_tensors(*tables.tensors(table, "F32"), kind="gguf")) == 64 * 16


# --- quantized weights -------------------------------------------------------------------------

LINEAR = "model.layers.0.mlp.up_proj"


def quantized(
    parts: Mapping[str, tuple[str, tuple[int, ...]]],
    config: dict[str, Any] | None = None,
    kind: str = "safetensors",
    stem: str = f"{LINEAR}.",
) -> object:
    table = {f"{stem}{part}": shape for part, (_, shape) in parts.items()}
    dtypes = {f"{stem}{part}": dtype for part, (dtype, _) in parts.items()}
    document = {"model_type": "llama", **config} if config else None
    return total(of_tensors(*tables.tensors(table, dtypes=dtypes), kind=kind, config=document))


GPTQ = {
    "qweight": ("I32", (512, 1024)),
    "qzeros": ("I32", (32, 128)),
    "scales": ("F16", (32, 1024)),
}
AWQ = {"qweight": ("I32", (4096, 128)), "qzeros": ("I32", (32, 128)), "scales": ("F16", (32, 1024))}


def test_gptq() -> None:
    ordered = {**GPTQ, "g_idx": ("I32", (4096,))}
    assert quantized(ordered) == 4096 * 1024
    assert quantized(GPTQ, {"quantization_config": {"bits": 4}}) == 4096 * 1024
    assert quantized(GPTQ, {"quantization_config": {"bits": 8}}) == 2048 * 1024
    assert quantized(GPTQ) is None  # nothing says how many lie in one integer


def test_gptq_with_three_bits() -> None:
    parts = {"qweight": ("I32", (384, 1024)), "g_idx": ("I32", (4096,))}
    assert quantized(parts) == 4096 * 1024
    assert (
        quantized({"qweight": parts["qweight"]}, {"quantization_config": {"bits": 3}})
        == 4096 * 1024
    )


def test_awq() -> None:
    assert quantized(AWQ) == 4096 * 1024
    assert (
        quantized({"qweight": AWQ["qweight"]}, {"quantization_config": {"w_bit": 4}}) == 4096 * 1024
    )


def test_shapes_that_make_no_sense_are_not_believed() -> None:
    assert quantized({**GPTQ, "g_idx": ("I32", (9999,))}) is None


def test_bitsandbytes() -> None:
    four = {
        "weight": ("U8", (4096 * 512, 1)),
        "weight.absmax": ("U8", (65536,)),
        "weight.quant_map": ("F32", (16,)),
        "weight.nested_absmax": ("F32", (256,)),
        "weight.nested_quant_map": ("F32", (256,)),
        "weight.quant_state.bitsandbytes__nf4": ("U8", (80,)),
    }
    assert quantized(four) == 4096 * 1024
    eight = {"weight": ("I8", (4096, 1024)), "SCB": ("F32", (4096,)), "weight_format": ("U8", (1,))}
    assert quantized(eight) == 4096 * 1024


def test_compressed_tensors() -> None:
    def said(bits: int) -> dict[str, Any]:
        groups = {"group_0": {"weights": {"num_bits": bits}}}
        return {"quantization_config": {"config_groups": groups}}

    four = {
        "weight_packed": ("I32", (4096, 128)),
        "weight_scale": ("BF16", (4096, 8)),
        "weight_shape": ("I64", (2,)),
    }
    assert quantized(four, said(4)) == 4096 * 1024
    floats = {
        "weight_packed": ("U8", (4096, 512)),
        "weight_scale": ("F8_E4M3", (4096, 64)),
        "weight_global_scale": ("F32", (1,)),
        "input_global_scale": ("F32", (1,)),
    }
    assert quantized(floats) == quantized(floats, said(4)) == 4096 * 1024


def test_fp8_with_scales() -> None:
    parts = {"weight": ("F8_E4M3", (256, 128)), "weight_scale_inv": ("F32", (2, 1))}
    assert quantized(parts) == 256 * 128


def test_nvfp4_as_modelopt_writes_it() -> None:
    parts = {
        "weight": ("U8", (256, 64)),
        "weight_scale": ("F8_E4M3", (256, 8)),
        "weight_scale_2": ("F32", ()),
        "input_scale": ("F32", ()),
    }
    assert quantized(parts) == 256 * 128


def test_mxfp4_of_gpt_oss() -> None:
    parts = {
        "gate_up_proj_blocks": ("U8", (32, 5760, 90, 16)),
        "gate_up_proj_scales": ("U8", (32, 5760, 90)),
        "gate_up_proj_bias": ("BF16", (32, 5760)),
    }
    found = quantized(parts, stem="model.layers.0.mlp.experts.")
    assert found == 32 * 5760 * 2880 + 32 * 5760


def test_mlx() -> None:
    parts = {
        "weight": ("U32", (1024, 512)),
        "scales": ("F16", (1024, 64)),
        "biases": ("F16", (1024, 64)),
    }
    assert quantized(parts, {"quantization": {"bits": 4, "group_size": 64}}) == 1024 * 4096
    wider = {**parts, "weight": ("U32", (1024, 1024))}  # eight bits in this one matrix
    assert quantized(wider, {"quantization": {"bits": 4, "group_size": 64}}) == 1024 * 4096


def test_onnx_with_integers_and_scales() -> None:
    parts = {
        "val_57_q": ("I8", (384, 384)),
        "val_57_scale": ("F32", (1, 384)),
        "emb.weight_quantized": ("U8", (100, 8)),
        "emb.weight_scale": ("F32", ()),
        "emb.weight_zero_point": ("U8", ()),
        "fc.bias_quantized": ("I32", (384,)),
        "fc.bias_quantized_scale": ("F32", (384,)),
        "fc.bias_quantized_zero_point": ("I32", (384,)),
        "MatMul.weight_Q4": ("U8", (64, 2, 16)),
        "MatMul.weight_scales": ("F32", (128,)),
        "shape": ("I64", (4,)),
    }
    expected = 384 * 384 + 800 + 384 + 64 * 2 * 16 * 2
    assert quantized(parts, kind="onnx", stem="") == expected


def test_a_scale_without_anything_quantized_is_a_parameter() -> None:
    assert quantized({"scale": ("F32", (8,))}) == 8
    assert quantized({"weight": ("F32", (8, 8)), "scale": ("F32", (8,))}) == 72


names = st.sampled_from(
    [
        *("model.embed_tokens.weight", "lm_head.weight", "token_embd.weight", "output.weight"),
        *(f"{LINEAR}.{part}" for part in ("weight", "qweight", "scales", "g_idx", "weight.absmax")),
        *(f"{LINEAR}.weight_scale_2", f"{LORA}_A.weight", "y.running_mean", "rope_freqs.weight"),
        *("x_q", "x_scale", "x_Q4", "x", "blk.0.attn_kv_b.weight", "blk.0.attn_k_b.weight"),
        *(f"model.layers.0.mlp.experts.{word}" for word in ("3.up_proj.weight", "up_proj")),
        "model.layers.0.embed_tokens.weight",
    ]
)
rows = st.tuples(
    st.sampled_from(sorted(DTYPE_BITS)),
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
    st.sampled_from(["plain", "Q4_K"]),
    st.none() | st.integers(0, 3),
)
packings = st.builds(Packing, st.none() | st.integers(1, 64), st.none() | st.integers(1, 64))


@given(
    st.dictionaries(names, rows, max_size=12),
    packings,
    st.sampled_from(["safetensors", "gguf", "onnx", "pytorch", "numpy"]),
    st.sampled_from(["gpt2", "llama", None]),
)
def test_every_tensor_counts_for_one_thing(
    held: dict[str, tuple[str, Shape, str, int | None]],
    packing: Packing,
    kind: str,
    arch: str | None,
) -> None:
    made = tuple(
        Tensor(name, dtype, shape, encoding, "file", offset, 8)
        for name, (dtype, shape, encoding, offset) in held.items()
    )
    weights = tables.checkpoint(made, kind, {"general.architecture": arch})
    found = count(weights, packing)
    parts = [c.tensor for c in (*found.parameters, *found.adapter)]
    parts += [tensor for tensors in found.left_out.values() for tensor in tensors]
    parts += [*found.unknown, *found.aliases]
    assert sorted(tensor.name for tensor in parts) == sorted(held)
    assert all(c.parameters >= 0 for c in found.parameters)
    look(tables.model(weights, config={"quantization_config": {"bits": packing.bits}}))
