"""Matrices that hold several, cut apart where each family puts the seams.

Sizes are those of no real model: where the matrices are cut is what is tested.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from steelyard.lineage.reading.layouts import Layout
from tests.lineage.laying import Array, found, laid, normal

D, F, V, H, KV = 24, 64, 40, 4, 2
HEAD = D // H
NARROW = KV * HEAD


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
