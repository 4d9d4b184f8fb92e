"""Parameters of a model: all, those of one token, those of an adapter, those that are stated."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from steelyard.analyzers.parameters import meant_by
from steelyard.checkpoints.tensors import MetadataValue, Problem, ProblemKind
from steelyard.facts import Basis, Interval
from tests.analyzers import published, tables
from tests.analyzers.counted import LORA, active, look, of_tensors, total
from tests.analyzers.published import Config

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
