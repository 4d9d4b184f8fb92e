from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.counting import Packing, count
from steelyard.analyzers.parameters import analyze, meant_by
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import DTYPE_BITS, MetadataValue, Problem, ProblemKind, Tensor
from steelyard.facts import Basis, FactBook, Interval
from tests.analyzers import published, tables
from tests.analyzers.facts_of import facts_of
from tests.analyzers.published import Config
from tests.analyzers.tables import Shape, Table


def look(model: Model) -> FactBook:
    return facts_of(analyze, model)


def total(book: FactBook) -> object:
    return book.value("model.parameters.total")


def active(book: FactBook) -> object:
    return book.value("model.parameters.active")


def of_tensors(*made: Tensor, kind: str = "safetensors", config: Config | None = None) -> FactBook:
    return look(tables.model(tables.checkpoint(made, kind), config=config))


# --- published models --------------------------------------------------------------------------

PUBLISHED = {
    # The totals are those of the models' cards and of `num_parameters()`; the rest by hand.
    # total, active, embedding
    "Llama-3.1-8B": (published.LLAMA_31_8B, "llama", 8_030_261_248, None, 2 * 128256 * 4096),
    "Llama-3.2-1B": (published.LLAMA_32_1B, "llama", 1_235_814_400, None, 128256 * 2048),
    "Qwen2.5-0.5B": (published.QWEN25_05B, "qwen2", 494_032_768, None, 151936 * 896),
    "Qwen3-0.6B": (published.QWEN3_06B, "qwen3", 596_049_920, None, 151936 * 1024),
    # less 32 blocks of 6 experts of 3 matrices 4096 x 14336
    "Mixtral-8x7B": (
        published.MIXTRAL_8X7B, "llama", 46_702_792_704, 12_879_925_248, 2 * 32000 * 4096,
    ),
    # less 24 blocks of 56 experts of 3 matrices 2048 x 1408
    "Qwen1.5-MoE-A2.7B": (
        published.QWEN15_MOE, "qwen2moe", 14_315_784_192, 2_689_173_504, 2 * 151936 * 2048,
    ),
    # less 16 blocks of 56 experts of 3 matrices 2048 x 1024
    "OLMoE-1B-7B": (published.OLMOE, "olmoe", 6_919_161_856, 1_282_017_280, 2 * 50304 * 2048),
    # less 26 blocks of 58 experts of 3 matrices 2048 x 1408
    "DeepSeek-V2-Lite": (
        published.DEEPSEEK_V2_LITE, "deepseek2", 15_706_484_224, 2_661_150_208, 2 * 102400 * 2048,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "arch", "parameters", "used", "embedding"), PUBLISHED.values(), ids=PUBLISHED
)
@pytest.mark.parametrize("container", ["safetensors", "gguf"])
def test_published_models(
    config: Config, arch: str, parameters: int, used: int | None, embedding: int, container: str
) -> None:
    gguf = container == "gguf"
    model = tables.gguf_model(config, arch) if gguf else tables.safetensors_model(config)
    book = look(model)
    assert book.claims("model.parameters.total")[0].basis is Basis.MEASURED
    assert total(book) == parameters
    assert active(book) == (used or parameters)
    assert book.value("model.parameters.embedding") == embedding
    assert book.contradictions() == ()


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (published.GPT2, 124_439_808),
        (published.BERT_BASE, 109_482_240),
        (published.T5_SMALL, 60_506_624),
    ],
    ids=["gpt2", "bert-base-uncased", "t5-small"],
)
def test_published_models_in_safetensors(config: Config, parameters: int) -> None:
    book = look(tables.safetensors_model(config, "F32"))
    assert total(book) == active(book) == parameters
    assert book.resolve("model.parameters.total").note == ""  # type: ignore[union-attr]  # it is known


def test_blocks_that_predict_further_tokens_are_counted_but_not_active() -> None:
    config = published.DEEPSEEK_V3_SMALL
    book = look(tables.safetensors_model(config))
    # one block: hidden 64, 4 heads of 8 + 4, values of 8, ranks 24 and 16
    attention = 24 * 64 + 24 + 48 * 24 + (16 + 4) * 64 + 16 + 4 * 16 * 16 + 64 * 32
    dense, expert = 3 * 64 * 160, 3 * 64 * 32
    routed = 16 * 64 + 16 + 17 * expert  # router and its correction, 16 experts and a shared one
    main = 2 * 256 * 64 + 64 + 3 * (attention + 2 * 64) + dense + 2 * routed
    further = attention + 2 * 64 + routed + 2 * 256 * 64 + 3 * 64 + 64 * 128
    assert total(book) == main + further
    assert active(book) == main - 2 * 14 * expert
    fact = book.resolve("model.parameters.total")
    assert fact is not None
    assert f"{further:,} are in blocks that predict further tokens" in fact.note


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


# --- experts -----------------------------------------------------------------------------------


def test_experts_of_unknown_choice_give_a_range() -> None:
    config = {k: v for k, v in published.MIXTRAL_8X7B.items() if k != "num_experts_per_tok"}
    weights = tables.checkpoint(tables.tensors(tables.table_of(config)))
    book = look(tables.model(weights, config=config))
    one = 46_702_792_704 - 32 * 7 * 3 * 4096 * 14336
    assert active(book) == Interval(one, 46_702_792_704)


def test_a_choice_of_more_experts_than_there_are_is_not_believed() -> None:
    config = {**published.MIXTRAL_8X7B, "num_experts_per_tok": 9}
    assert active(look(tables.safetensors_model(config))) is None


def test_stated_experts_that_are_not_found_leave_it_open() -> None:
    config = {**published.LLAMA_32_1B, "num_local_experts": 8, "num_experts_per_tok": 2}
    weights = tables.checkpoint(tables.tensors(tables.table_of(published.LLAMA_32_1B)))
    assert active(look(tables.model(weights, config=config))) is None


def test_unknown_names_leave_it_open() -> None:
    table = {f"onnx::MatMul_{i}": (30, 30) for i in range(9)}
    book = of_tensors(*tables.tensors(table))
    assert total(book) == 8100
    assert active(book) is None


# --- adapters ----------------------------------------------------------------------------------

LORA = "base_model.model.model.layers.0.self_attn.q_proj.lora"


def test_an_adapter_alone_is_no_total() -> None:
    table = {f"{LORA}_A.weight": (8, 64), f"{LORA}_B.weight": (64, 8)}
    book = of_tensors(*tables.tensors(table, file="adapter_model.safetensors"))
    assert book.value("model.parameters.adapter") == 1024
    assert total(book) is None


def test_an_adapter_in_and_beside_the_base() -> None:
    table = {**tables.table_of(published.QWEN25_05B), f"{LORA}_A.default.weight": (8, 896)}
    book = of_tensors(*tables.tensors(table))
    assert total(book) == 494_032_768
    assert book.value("model.parameters.adapter") == 8 * 896
    base = tables.checkpoint(tables.tensors(tables.table_of(published.QWEN25_05B)))
    beside = tables.checkpoint(
        tables.tensors({f"{LORA}_A.weight": (4, 896)}, file="lora/adapter_model.safetensors")
    )
    book = look(tables.model(base, beside))
    assert total(book) == 494_032_768
    assert book.value("model.parameters.adapter") == 4 * 896


# --- what is stated ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "parameters"),
    [
        ("135M", 134_515_008),  # SmolLM2
        ("270M", 268_098_176),  # Gemma 3
        ("0.5B", 494_032_768),
        ("7B", 7_615_616_512),  # Qwen2.5, cut
        ("7B", 6_738_415_616),  # Llama 2, rounded
        ("70B", 70_553_706_496),
        ("1.2B", 1_235_814_464),
        ("8.0B", 8_030_261_312),
        ("72B", 72_706_203_648),
    ],
)
def test_labels_of_honest_models(label: str, parameters: int) -> None:
    claim = meant_by(label)
    assert claim is not None
    assert claim.overlaps(parameters)


@pytest.mark.parametrize(
    ("label", "parameters"),
    [("7B", 8_537_680_896), ("7B", 6_400_000_000), ("135M", 494_032_768), ("70B", 65_000_000_000)],
)
def test_labels_that_are_wrong(label: str, parameters: int) -> None:
    claim = meant_by(label)
    assert claim is not None
    assert not claim.overlaps(parameters)


@pytest.mark.parametrize(
    "label", ["8x7B", "Large", "", "B", "7", "0B", "-7B", "7 B params", "1e9B"]
)
def test_labels_that_are_no_total(label: str) -> None:
    metadata: dict[str, MetadataValue] = {
        "general.architecture": "llama",
        "general.size_label": label,
    }
    weights = tables.checkpoint(tables.tensors({"output.weight": (4, 4)}), "gguf", metadata)
    book = look(tables.model(weights))
    assert [claim.basis for claim in book.claims("model.parameters.total")] == [Basis.MEASURED]


def test_a_wrong_label_is_a_contradiction() -> None:
    model = tables.gguf_model(published.QWEN25_05B, "qwen2")
    metadata = {**model.weights[0].metadata, "general.size_label": "7B"}
    book = look(tables.model(replace(model.weights[0], metadata=metadata)))
    assert [c.name for c in book.contradictions()] == ["model.parameters.total"]
    stated: dict[str, MetadataValue] = {**metadata, "general.size_label": "0.5B"}
    stated["general.parameter_count"] = 494_032_768
    book = look(tables.model(replace(model.weights[0], metadata=stated)))
    assert len(book.claims("model.parameters.total")) == 3
    assert book.contradictions() == ()


# --- what is not told --------------------------------------------------------------------------


def test_nothing_is_counted_of_nothing() -> None:
    assert list(look(tables.model())) == []
    assert list(of_tensors()) == []
    assert list(of_tensors(*tables.tensors({"steps": ()}, "I64"))) == []


@pytest.mark.parametrize("kind", [ProblemKind.MISSING_SHARD, ProblemKind.UNREADABLE])
def test_a_part_that_is_missing_leaves_the_total_open(kind: ProblemKind) -> None:
    weights = tables.checkpoint(tables.tensors(tables.table_of(published.GPT2)))
    broken = replace(weights, problems=(Problem(kind, "gone", "b"),))
    assert list(look(tables.model(broken))) == []


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


def test_time_is_linear_in_the_number_of_tensors() -> None:
    def seconds(layers: int) -> float:
        config = {
            **published.DEEPSEEK_V3_SMALL,
            "num_hidden_layers": layers,
            "n_routed_experts": 64,
        }
        model = tables.safetensors_model(config)
        start = time.process_time()
        assert total(look(model)) is not None
        return time.process_time() - start

    few = seconds(10)  # 2,000 tensors
    assert seconds(100) < 40 * few + 1
