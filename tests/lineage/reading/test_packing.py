"""Packed weights, encoded here from known numbers, decode to those numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.checkpoints.small_floats import value_table
from steelyard.errors import CheckpointError
from steelyard.lineage.reading.weights import StoredWeights
from tests.lineage.laying import Array, normal, stored
from tests.lineage.packers import NF4, signed, words

UP = "model.layers.0.mlp.up_proj"
OUT, IN = 96, 128
NORM = {"model.layers.0.input_layernorm.weight": np.ones(IN, np.float32)}
E2M1 = np.array((0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6), np.float32)


def codes(bits: int, rows: int = OUT, columns: int = IN, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 1 << bits, (rows, columns))


def check(weights: StoredWeights, wanted: Array, scheme: str, role: str = "mlp.up") -> None:
    """Hold a matrix against what was encoded, whole and by rows."""
    with weights:
        matrix = weights.matrix(role, 0)
        assert matrix is not None
        assert (matrix.scheme, matrix.shape) == (scheme, wanted.shape)
        np.testing.assert_allclose(matrix.whole(), wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(matrix.rows(5, 7), wanted[5:12], rtol=1e-5, atol=1e-6)
        assert matrix.rows(OUT, 4).shape == (0, wanted.shape[1])
        assert matrix.dtype == "F32"


def grouped(scale: Array, group: int) -> Array:
    return np.repeat(scale, group, axis=1)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("ordered", [False, True])
def test_gptq_keeps_outputs_side_by_side(bits: int, ordered: bool, tmp_path: Path) -> None:
    held, group = codes(bits), 32
    zero = codes(bits, OUT, IN // group, seed=1) % ((1 << bits) - 1) + 1
    scale = np.abs(normal(OUT, IN // group, seed=2)).astype(np.float16)
    place = np.arange(IN) // group
    arrays = {
        **NORM,
        f"{UP}.qweight": signed(words(held, bits)).T,
        f"{UP}.qzeros": signed(words((zero - 1).T, bits)),
        f"{UP}.scales": scale.T,
    }
    if ordered:
        place = np.random.default_rng(3).permutation(place)
        arrays[f"{UP}.g_idx"] = place.astype(np.int32)
    wanted = scale.astype(np.float32)[:, place] * (held - zero[:, place])
    check(stored(tmp_path, arrays), wanted, f"GPTQ {bits}-bit")


def test_the_second_format_of_gptq_stores_zero_points_as_they_are(tmp_path: Path) -> None:
    held, scale = codes(4), np.full((OUT, 1), 0.5, np.float16)
    arrays = {
        f"{UP}.qweight": signed(words(held, 4)).T,
        f"{UP}.qzeros": signed(words(np.full((1, OUT), 8), 4)),
        f"{UP}.scales": scale.T,
    }
    config = {"quantization_config": {"quant_method": "gptq", "checkpoint_format": "gptq_v2"}}
    check(stored(tmp_path, arrays, config=config), 0.5 * (held - 8.0), "GPTQ 4-bit")


def test_few_outputs_of_gptq_take_few_bytes(tmp_path: Path) -> None:
    held, scale = codes(4, 2048, IN), np.ones((2048, 1), np.float16)
    arrays = {
        f"{UP}.qweight": signed(words(held, 4)).T,
        f"{UP}.qzeros": signed(words(np.full((1, 2048), 7), 4)),
        f"{UP}.scales": scale.T,
        f"{UP}.g_idx": np.zeros(IN, np.int32),
    }
    with stored(tmp_path, arrays) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        assert np.array_equal(matrix.rows(64, 64), held[64:128] - 8)
        assert weights.bytes_read < matrix.nbytes // 10


def test_awq_interleaves_outputs(tmp_path: Path) -> None:
    held, group = codes(4), 64
    zero = codes(4, OUT, IN // group, seed=1)
    scale = np.abs(normal(OUT, IN // group, seed=2)).astype(np.float16)
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def crossed(values: Array) -> Array:
        apart = values.reshape(len(values), -1, 8)[:, :, order]
        return signed(words(apart.reshape(len(values), -1), 4))

    arrays = {
        f"{UP}.qweight": crossed(held.T),
        f"{UP}.qzeros": crossed(zero.T),
        f"{UP}.scales": scale.T,
    }
    wanted = grouped(scale.astype(np.float32), group) * (held - grouped(zero, group))
    check(stored(tmp_path, arrays), wanted, "AWQ 4-bit")


@pytest.mark.parametrize("zeros", ["none", "packed", "plain"])
def test_compressed_tensors_pack_inputs(zeros: str, tmp_path: Path) -> None:
    held, group = codes(4), 32
    scale = np.abs(normal(OUT, IN // group, seed=2)).astype(np.float16)
    zero = np.full((OUT, IN // group), 8)
    arrays = {
        **NORM,
        f"{UP}.weight_packed": signed(words(held, 4)),
        f"{UP}.weight_scale": scale,
        f"{UP}.weight_shape": np.array([OUT, IN], np.int64),
    }
    if zeros != "none":
        zero = codes(4, OUT, IN // group, seed=1)
        arrays[f"{UP}.weight_zero_point"] = (
            signed(words(zero.T, 4)).T if zeros == "packed" else (zero - 8).astype(np.int8)
        )
    wanted = grouped(scale.astype(np.float32), group) * (held - grouped(zero, group))
    check(stored(tmp_path, arrays), wanted, "int4")


@pytest.mark.parametrize(("bits", "group"), [(4, 64), (8, 32), (3, 64), (6, 64)])
def test_mlx_adds_an_offset(bits: int, group: int, tmp_path: Path) -> None:
    held = codes(bits)
    scale, offset = (normal(OUT, IN // group, seed=n).astype(np.float16) for n in (2, 3))
    arrays = {
        **NORM,
        f"{UP}.weight": words(held, bits),
        f"{UP}.scales": scale,
        f"{UP}.biases": offset,
    }
    wanted = grouped(scale.astype(np.float32), group) * held + grouped(offset, group)
    check(stored(tmp_path, arrays), wanted, f"MLX {bits}-bit")


def nf4(
    held: Array, group: int, *, nested: bool = False, state: object = None
) -> tuple[dict[str, Array], Array]:
    """Pack as bitsandbytes does; return the tensors and what they stand for."""
    flat = held.ravel()
    blocks = flat.size // group
    scale = np.abs(normal(blocks, seed=4)) + 0.5
    about = {"quant_type": "nf4", "blocksize": group, "shape": list(held.shape)}
    arrays: dict[str, Array] = {
        f"{UP}.weight": (flat[0::2] << 4 | flat[1::2]).astype(np.uint8)[:, None],
        f"{UP}.weight.quant_map": NF4,
    }
    if nested:
        table = np.linspace(-1, 1, 256).astype(np.float32)
        outer = np.abs(normal(-(-blocks // 256), seed=5)) + 1
        small = np.random.default_rng(6).integers(0, 256, blocks).astype(np.uint8)
        scale = table[small] * np.repeat(outer, 256)[:blocks] + np.float32(0.25)
        arrays |= {
            f"{UP}.weight.absmax": small,
            f"{UP}.weight.nested_absmax": outer,
            f"{UP}.weight.nested_quant_map": table,
        }
        about |= {"nested_blocksize": 256, "nested_offset": 0.25}
    else:
        arrays[f"{UP}.weight.absmax"] = scale
    text = json.dumps(about if state is None else state).encode()
    name = f"{UP}.weight.quant_state.bitsandbytes__nf4"
    arrays[name] = np.frombuffer(text, np.uint8)
    return arrays, (NF4[flat] * np.repeat(scale, group)).reshape(held.shape)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("normed", [False, True])
def test_nf4_names_levels(nested: bool, normed: bool, tmp_path: Path) -> None:
    arrays, wanted = nf4(codes(4), 64, nested=nested)
    check(stored(tmp_path, {**arrays, **(NORM if normed else {})}), wanted, "NF4")


def test_rows_of_nf4_need_not_fill_blocks(tmp_path: Path) -> None:
    arrays, wanted = nf4(codes(4, OUT, 36), 64)
    check(stored(tmp_path, arrays), wanted, "NF4")


@pytest.mark.parametrize("state", [{}, {"blocksize": 64}, {"shape": [1, 2], "blocksize": True}, []])
def test_a_damaged_state_is_told(state: Any, tmp_path: Path) -> None:
    arrays, _ = nf4(codes(4), 64, state=state)
    with stored(tmp_path, {**arrays, **NORM}) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        with pytest.raises(CheckpointError, match="shape"):
            matrix.rows(0, 1)


def test_where_only_a_damaged_state_tells_the_shape_the_rest_is_read(tmp_path: Path) -> None:
    arrays, _ = nf4(codes(4), 64, state=[])
    arrays["model.norm.weight"] = normal(IN)
    with stored(tmp_path, arrays) as weights:
        assert weights.matrix("mlp.up", 0) is None
        assert weights.matrix("norm.final") is not None
        assert weights.unreadable == (f"{UP}.weight",)


def test_a_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    state = {"blocksize": 64, "shape": [IN, OUT]}
    arrays, _ = nf4(codes(4), 64, state=state)
    with stored(tmp_path, {**arrays, **NORM}) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        with pytest.raises(CheckpointError, match="its shape is"):
            matrix.rows(0, 1)


def test_int8_of_bitsandbytes_scales_by_the_largest(tmp_path: Path) -> None:
    held = (codes(8) - 128).astype(np.int8)
    largest = np.abs(normal(OUT, seed=1))
    arrays = {f"{UP}.weight": held, f"{UP}.SCB": largest}
    check(stored(tmp_path, arrays), held * largest[:, None] / 127, "int8")


@pytest.mark.parametrize("shape", [(), (1,), (OUT,), (OUT, 1), (3, 4), (1, IN)])
def test_eight_bit_floats_have_scales_of_many_shapes(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    held = (codes(8) % 120).astype(np.uint8)
    table = value_table("F8_E4M3")
    assert table is not None
    scale: Array = np.abs(normal(*shape, seed=1)) if shape else np.array(0.5, np.float32)
    spread = scale
    if shape == (3, 4):
        spread = np.repeat(np.repeat(scale, 32, axis=0), 32, axis=1)
    elif shape == (OUT,):
        spread = scale[:, None]
    arrays = {f"{UP}.weight": held, f"{UP}.weight_scale_inv": scale}
    weights = stored(tmp_path, arrays, dtypes={f"{UP}.weight": "F8_E4M3"})
    check(weights, table[held] * spread, "FP8")


def test_the_last_block_of_scales_may_be_cut(tmp_path: Path) -> None:
    held, scale = np.full((80, 40), 56, np.uint8), normal(3, 2)
    name = f"{UP}.weight"
    arrays = {name: held, f"{UP}.weight_scale_inv": scale}
    wanted = np.repeat(np.repeat(scale, 32, axis=0)[:80], 32, axis=1)[:, :40]
    with stored(tmp_path, arrays, dtypes={name: "F8_E4M3"}) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        np.testing.assert_allclose(matrix.whole(), wanted)


def pairs(held: Array) -> Array:
    return np.asarray(held[..., 0::2] | held[..., 1::2] << 4, np.uint8)


def test_mxfp4_of_gpt_oss_keeps_experts_in_one(tmp_path: Path) -> None:
    held = codes(4, 2 * 48, IN).reshape(2, 48, IN)
    power = np.random.default_rng(1).integers(120, 134, (2, 48, IN // 32)).astype(np.uint8)
    values = E2M1[held] * np.repeat(np.exp2(power - 127.0), 32, axis=-1)
    start = "model.layers.0.mlp.experts"
    bias = normal(2, 48, seed=2)
    arrays = {
        f"{start}.gate_up_proj_blocks": pairs(held).reshape(2, 48, IN // 32, 16),
        f"{start}.gate_up_proj_scales": power,
        f"{start}.gate_up_proj_bias": bias,
    }
    with stored(tmp_path, arrays) as weights:
        for expert in range(2):
            for at, role in enumerate(("experts.gate", "experts.up")):
                matrix = weights.matrix(role, 0, expert=expert)
                assert matrix is not None
                assert matrix.scheme == "MXFP4"
                np.testing.assert_allclose(matrix.whole(), values[expert, at::2])
                np.testing.assert_allclose(matrix.rows(3, 5), values[expert, at::2][3:8])
                own = weights.matrix(role, 0, expert=expert, part="bias")
                assert own is not None
                assert np.array_equal(own.whole(), bias[expert, at::2])


@pytest.mark.parametrize(
    ("part", "name"), [("weight_packed", "weight_global_scale"), ("weight", "weight_scale_2")]
)
def test_nvfp4_has_two_scales(part: str, name: str, tmp_path: Path) -> None:
    held = codes(4)
    scale = np.full((OUT, IN // 16), 0x40, np.uint8)
    scale[::2] = 0x48
    arrays = {
        f"{UP}.{part}": pairs(held),
        f"{UP}.weight_scale": scale,
        f"{UP}.{name}": np.array([4.0], np.float32),
    }
    factor = np.where(np.arange(OUT) % 2, 2.0, 4.0)[:, None]
    wanted = E2M1[held] * factor * (0.25 if part == "weight_packed" else 4.0)
    weights = stored(tmp_path, arrays, dtypes={f"{UP}.weight_scale": "F8_E4M3"})
    check(weights, wanted, "NVFP4")


def test_onnx_packs_blocks(tmp_path: Path) -> None:
    held = codes(4)
    scale = np.abs(normal(OUT, IN // 32, seed=1))
    zero = codes(4, OUT, IN // 32, seed=2)
    arrays = {
        "val_3_Q4": pairs(held).reshape(OUT, IN // 32, 16),
        "val_3_scales": scale.ravel(),
        "val_3_zp": pairs(zero).ravel(),
    }
    with stored(tmp_path, arrays) as weights:
        (matrix,) = weights.unnamed()
        wanted = grouped(scale, 32) * (held - grouped(zero, 32))
        np.testing.assert_allclose(matrix.rows(4, 9), wanted[4:13], rtol=1e-5)
        assert matrix.scheme == "int4"


def test_integers_with_zero_points(tmp_path: Path) -> None:
    held = codes(8).astype(np.uint8)
    scale, zero = np.abs(normal(OUT, seed=1)), codes(8, 1, OUT, seed=2)[0].astype(np.uint8)
    arrays = {"w_quantized": held, "w_scale": scale, "w_zero_point": zero}
    with stored(tmp_path, arrays) as weights:
        (matrix,) = weights.unnamed()
        wanted = scale[:, None] * (held - zero[:, None].astype(np.float32))
        np.testing.assert_allclose(matrix.whole(), wanted, rtol=1e-5, atol=1e-5)


BROKEN: list[Callable[[dict[str, Array]], object]] = [
    lambda arrays: arrays.pop(f"{UP}.scales"),
    lambda arrays: arrays.update({f"{UP}.scales": np.ones((4, 3), np.float16)}),
    lambda arrays: arrays.update({f"{UP}.qweight": np.ones((0, OUT), np.int32)}),
    lambda arrays: arrays.update({f"{UP}.qweight": np.ones((5, 7, 9), np.int32)}),
    lambda arrays: arrays.update({f"{UP}.scales": np.ones((0, OUT), np.float16)}),
]


@pytest.mark.parametrize("damage", BROKEN)
def test_what_cannot_be_decoded_is_listed(
    damage: Callable[[dict[str, Array]], object], tmp_path: Path
) -> None:
    arrays: dict[str, Array] = {
        f"{UP}.qweight": signed(words(codes(4), 4)).T,
        f"{UP}.qzeros": np.zeros((4, OUT // 8), np.int32),
        f"{UP}.scales": np.ones((4, OUT), np.float16),
    }
    damage(arrays)
    with stored(tmp_path, arrays) as weights:
        assert weights.matrix("mlp.up", 0) is None
        assert weights.unreadable == (f"{UP}.qweight",)


def test_groups_out_of_range_are_refused(tmp_path: Path) -> None:
    arrays: dict[str, Array] = {
        f"{UP}.qweight": signed(words(codes(4), 4)).T,
        f"{UP}.scales": np.ones((4, OUT), np.float16),
        f"{UP}.g_idx": np.full(IN, 4, np.int32),
    }
    with stored(tmp_path, arrays) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        with pytest.raises(CheckpointError, match="from 0 to 3"):
            matrix.rows(0, 4)


def row_by_row() -> dict[str, dict[str, Array]]:
    rows, group = 2048, 32
    scale = np.ones((rows, IN // group), np.float16)
    return {
        "int4": {
            f"{UP}.weight_packed": signed(words(codes(4, rows), 4)),
            f"{UP}.weight_scale": scale,
        },
        "MLX 4-bit": {
            f"{UP}.weight": words(codes(4, rows), 4),
            f"{UP}.scales": scale[:, ::2],
            f"{UP}.biases": scale[:, ::2],
        },
        "MXFP4": {
            f"{UP}.weight_packed": pairs(codes(4, rows)),
            f"{UP}.weight_scale": np.full((rows, IN // 32), 127, np.uint8),
        },
        "NF4": nf4(codes(4, rows), 64)[0],
        "int8": {
            f"{UP}.weight": (codes(8, rows) - 128).astype(np.int8),
            f"{UP}.SCB": np.ones(rows, np.float32),
        },
    }


@pytest.mark.parametrize("scheme", row_by_row())
def test_few_rows_take_few_bytes(scheme: str, tmp_path: Path) -> None:
    with stored(tmp_path, {**NORM, **row_by_row()[scheme]}) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        assert matrix.scheme == scheme
        assert matrix.rows(100, 16).shape == (16, IN)
        assert weights.bytes_read < matrix.nbytes // 10
