"""Packed weights whose parts do not fit, or hold any bytes: numbers or an error come out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steelyard.checkpoints.gguf.dequantize import dequantize
from steelyard.checkpoints.gguf.types import TYPES
from steelyard.checkpoints.tensors import DTYPE_BITS
from steelyard.errors import CheckpointError
from tests.fuzz.counts import fuzz_count
from tests.lineage.laying import Array, stored

UP = "model.layers.0.mlp.up_proj"
SCHEMES = (
    (".qweight", ".qzeros", ".scales", ".g_idx"),
    (".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_global_scale"),
    (".weight", ".scales", ".biases"),
    (".weight", ".weight.absmax", ".weight.quant_map", ".weight.nested_absmax",
     ".weight.nested_quant_map", ".weight.quant_state.bitsandbytes__nf4"),
    (".weight", ".weight_scale_inv"),
    (".weight", ".weight_scale", ".weight_scale_2"),
    (".weight", ".SCB"),
    (".weight", ".weight_scale", ".weight_zero_point"),
)  # fmt: skip
EXPERTS = ("gate_up_proj_blocks", "gate_up_proj_scales", "gate_up_proj_bias")
KINDS = ("I32", "U32", "U8", "I8", "F16", "BF16", "F32", "F8_E4M3", "F8_E8M0", "I64")
SIZES = (0, 1, 2, 3, 8, 16, 32, 64, 96, 128, 256)
STATES = (
    b'{"blocksize": 64, "shape": [32, 64]}',
    b'{"blocksize": 64, "shape": [32, 64], "nested_blocksize": 256, "nested_offset": 1e400}',
    b'{"blocksize": 1, "shape": [281474976710655, 281474976710655]}',
    b"[[[[[[[[[[[[[[",
    b"\xff\xfe",
)


def drawn(chance: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Array:
    """Draw any bytes for a tensor."""
    size = DTYPE_BITS[kind] // 8
    held = chance.integers(0, 256, (*shape, size), dtype=np.uint8)
    return held.view(f"u{size}").reshape(shape)


def pick(chance: np.random.Generator, choices: tuple[object, ...]) -> int:
    return int(chance.integers(len(choices)))


def parts(chance: np.random.Generator) -> tuple[dict[str, Array], dict[str, str]]:
    """Draw the tensors of one matrix, often such that they nearly fit."""
    number = pick(chance, (*SCHEMES, EXPERTS))
    names = (
        [f"{UP}{tail}" for tail in SCHEMES[number]]
        if number < len(SCHEMES)
        else [f"model.layers.0.mlp.experts.{name}" for name in EXPERTS]
    )
    arrays: dict[str, Array] = {}
    kinds: dict[str, str] = {}
    rank = int(chance.integers(0, 5))
    for name in names:
        if chance.random() < 0.15:
            continue
        kind = KINDS[pick(chance, KINDS)]
        shape = tuple(SIZES[pick(chance, SIZES)] for _ in range(rank))
        if name.endswith("nf4") and chance.random() < 0.8:
            kind, state = "U8", STATES[pick(chance, STATES)]
            arrays[name] = np.frombuffer(state, np.uint8)
        elif np.prod(shape, dtype=np.int64) <= 65_536:
            arrays[name] = drawn(chance, kind, shape)
        kinds[name] = kind
        rank = max(rank - int(chance.random() < 0.2), 0)
    return arrays, kinds


def test_parts_of_any_shape_are_read_or_refused(tmp_path: Path) -> None:
    chance = np.random.default_rng(20261126)
    read, errors = 0, []
    for number in range(fuzz_count(250)):
        arrays, kinds = parts(chance)
        with stored(tmp_path / str(number), arrays, dtypes=kinds, config={}) as weights:
            for matrix in (*weights.matrices(), *weights.unnamed()):
                try:
                    values = np.concatenate([matrix.rows(3, 2).ravel(), matrix.whole().ravel()])
                except CheckpointError as error:
                    errors.append(error)
                else:
                    read += 1
                    assert values.dtype == np.float32
    assert all(error.fix for error in errors)
    assert read > 50


@pytest.mark.parametrize("name", [k.name for k in TYPES.values() if k.encoding != "plain"])
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_blocks_of_any_bytes_are_numbers(name: str, byteorder: str) -> None:
    kind = next(kind for kind in TYPES.values() if kind.name == name)
    count = fuzz_count(200)
    held = np.random.default_rng(len(name)).integers(
        0, 256, kind.block_bytes * count, dtype=np.uint8
    )
    values = dequantize(name, held, byteorder=byteorder)
    assert values.size == kind.block_elements * count


DAMAGE: tuple[Callable[[bytes], bytes], ...] = (
    lambda state: state[:-1],
    lambda state: state.replace(b"64", b"-64"),
    lambda state: state.replace(b"64", b"6e1"),
    lambda state: state.replace(b"[32", b"[true"),
    lambda state: state * 200,
)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_descriptions_are_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    state = np.frombuffer(damage(STATES[0]), np.uint8)
    arrays: dict[str, Array] = {
        f"{UP}.weight": np.zeros((1024, 1), np.uint8),
        f"{UP}.weight.absmax": np.ones(32, np.float32),
        f"{UP}.weight.quant_map": np.zeros(16, np.float32),
        f"{UP}.weight.quant_state.bitsandbytes__nf4": state,
        "model.layers.0.input_layernorm.weight": np.ones(64, np.float32),
    }
    with stored(tmp_path, arrays) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        with pytest.raises(CheckpointError):
            matrix.rows(0, 1)
