"""Matrices by role, whatever the container: fused, turned, stacked, permuted, packed."""

from __future__ import annotations

from math import prod

import numpy as np

from steelyard.checkpoints.tensors import Checkpoint, MetadataValue, Tensor
from steelyard.lineage.reading.fusion import About
from steelyard.lineage.reading.layouts import lay_out
from steelyard.lineage.reading.stored import StoredMatrix
from steelyard.lineage.reading.views import View
from tests.lineage.laying import found, laid, normal


def test_gate_and_up_in_one_are_cut_apart() -> None:
    both = normal(24, 8)
    layout = laid({"model.layers.0.mlp.gate_up_proj.weight": both})
    assert np.array_equal(found(layout, "mlp.gate"), both[:12])
    assert np.array_equal(found(layout, "mlp.up"), both[12:])


def test_what_gpt2_stores_inputs_first_is_turned() -> None:
    up, out = normal(8, 32), normal(8, 8)
    layout = laid(
        {
            "transformer.wte.weight": normal(40, 8),
            "transformer.h.0.mlp.c_fc.weight": up,
            "transformer.h.0.attn.c_proj.weight": out,
        }
    )
    assert np.array_equal(found(layout, "mlp.up"), up.T)
    assert np.array_equal(found(layout, "attention.o"), out.T)


def test_a_matrix_that_lies_as_usual_is_left() -> None:
    up = normal(32, 8)
    layout = laid(
        {"model.embed_tokens.weight": normal(40, 8), "model.layers.0.mlp.up_proj.weight": up}
    )
    assert np.array_equal(found(layout, "mlp.up"), up)


def test_experts_in_one_tensor_are_told_apart() -> None:
    stacked = normal(3, 10, 8)
    layout = laid({"blk.0.ffn_up_exps.weight": stacked}, "gguf")
    for expert in range(3):
        assert np.array_equal(found(layout, "experts.up", expert=expert), stacked[expert])


def test_rows_that_the_converter_moved_are_moved_back() -> None:
    published = normal(16, 8)
    stored = published.reshape(2, 2, 4, 8).swapaxes(1, 2).reshape(16, 8)
    meta: dict[str, MetadataValue] = {
        "general.architecture": "llama",
        "llama.attention.head_count": 2,
    }
    layout = laid({"blk.0.attn_q.weight": stored}, "gguf", meta)
    assert np.array_equal(found(layout, "attention.q"), published)
    one = next(m for m in layout.named if m.role == "attention.q")
    assert np.array_equal(one.rows(5, 6), published[5:11])


def test_what_the_converter_added_to_norms_is_taken_away() -> None:
    norm = normal(8)
    layout = laid({"blk.0.ffn_norm.weight": norm}, "gguf", {"general.architecture": "gemma3"})
    assert np.array_equal(found(layout, "norm.mlp"), norm - 1)


def test_integers_are_multiplied_by_their_scale() -> None:
    packed = np.random.default_rng(0).integers(-127, 128, (12, 8)).astype(np.int8)
    by_row, by_column = np.abs(normal(12, 1)), np.abs(normal(1, 8))
    layout = laid(
        {
            "model.embed_tokens.weight_q": packed,
            "model.embed_tokens.weight_scale": by_row,
            "val_9_q": np.repeat(packed, 4, axis=0),
            "val_9_scale": by_column,
        }
    )
    assert np.allclose(found(layout, "embedding", None), packed * by_row)
    (nameless,) = layout.unnamed
    assert (nameless.role, nameless.scheme) == ("tensor:val_9_q", "int8")
    assert np.allclose(nameless.whole(), np.repeat(packed, 4, axis=0) * by_column)


def test_stacks_keep_their_names_and_their_order() -> None:
    layout = laid(
        {
            "vision_tower.encoder.layers.0.mlp.fc1.weight": normal(4, 4),
            "language_model.model.layers.1.mlp.up_proj.weight": normal(4, 4),
            "language_model.model.layers.0.mlp.up_proj.weight": normal(4, 4),
        }
    )
    assert layout.layers == ("layers.0", "layers.1", "vision.layers.0")


def test_rows_out_of_range_are_clipped() -> None:
    layout = laid({"model.embed_tokens.weight": normal(10, 4)})
    (embedding,) = layout.named
    assert isinstance(embedding, StoredMatrix)
    assert embedding.rows(8, 64).shape == (2, 4)
    assert embedding.rows(99, 1).shape == (0, 4)


def test_columns_are_those_of_the_rows() -> None:
    layout = laid(
        {"model.embed_tokens.weight": normal(40, 8), "h.0.mlp.c_fc.weight": normal(8, 32)}
    )
    for matrix in layout.named:
        assert matrix.has_columns
        assert np.array_equal(matrix.columns(2, 3), matrix.whole()[:, 2:5])
        assert matrix.columns(7, 99).shape[1] == matrix.shape[1] - 7


def test_vectors_and_matrices_without_a_name_are_kept_apart() -> None:
    layout = laid({"a": normal(32), "b": normal(32, 16), "c": normal(4), "d": normal(4, 4)})
    assert [m.role for m in layout.unnamed] == ["tensor:b"]
    assert [m.role for m in layout.vectors] == ["tensor:a"]


def test_integers_that_nothing_decodes_are_listed() -> None:
    layout = laid({"model.layers.0.mlp.up_proj.weight": np.ones((32, 16), np.int8)})
    assert layout.named == ()
    assert layout.unreadable == ("model.layers.0.mlp.up_proj.weight",)


def test_forged_numbers_of_experts_and_heads_take_no_memory() -> None:
    width = 1 << 40
    shapes = {
        "model.layers.0.mlp.experts.gate_up_proj": (width, 2, 1),
        "gpt_neox.layers.0.attention.query_key_value.weight": (3 * width, 1),
        "blk.0.attn_q.weight": (width, 1),
    }
    tensors = [Tensor(n, "F32", s, "plain", "f", 0, 4 * prod(s)) for n, s in shapes.items()]

    def opened(tensor: Tensor) -> View:
        return View((tensor.shape[0], prod(tensor.shape[1:])), lambda _a, _b: normal(1), 1)

    about: dict[str, MetadataValue] = {
        "general.architecture": "llama", "llama.attention.head_count": 2,
    }  # fmt: skip
    checkpoint = Checkpoint("gguf", ("f",), tuple(tensors), about)
    layout = lay_out(checkpoint, opened, about=About(heads=2))
    assert {m.role for m in layout.named} == {"experts.gate_up", "attention.qkv", "attention.q"}
