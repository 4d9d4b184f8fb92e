"""Decoded blocks equal those of ggml's own Python package, bit for bit."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest

from steelyard.checkpoints.gguf.dequantize import dequantize
from steelyard.checkpoints.gguf.types import TYPES
from steelyard.errors import CheckpointError, Unsupported

BY_NAME = {kind.name: kind for kind in TYPES.values()}
HALVES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82),
    "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,),
    "IQ4_XS": (0,), "MXFP4": (), "NVFP4": (), "TQ1_0": (52,), "TQ2_0": (64,), "IQ2_XXS": (0,),
    "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,), "IQ1_S": (0,), "IQ1_M": (),
}  # fmt: skip
"""Where the scales of a block lie, for the types that the package decodes."""
FIELDS: dict[str, list[Any]] = {
    "Q4_0": [("d", "<f2"), ("codes", "u1", 16)],
    "Q5_1": [("d", "<f2"), ("m", "<f2"), ("high", "<u4"), ("codes", "u1", 16)],
    "Q8_K": [("d", "<f4"), ("codes", "i1", 256), ("sums", "<i2", 16)],
    "Q6_K": [("codes", "u1", 208), ("d", "<f2")],
    "IQ2_XXS": [("d", "<f2"), ("words", [("codes", "u1", 4), ("signs", "<u4")], 8)],
    "IQ1_M": [("codes", "u1", 48), ("scales", "<u2", 4)],
    "IQ4_XS": [("d", "<f2"), ("high", "<u2"), ("codes", "u1", 132)],
}
PACKED = sorted(name for name, kind in BY_NAME.items() if kind.encoding != "plain")


def blocks(name: str, count: int = 300) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw random blocks whose scales are finite."""
    chance = np.random.default_rng(len(name))
    drawn = chance.integers(0, 256, (count, BY_NAME[name].block_bytes), dtype=np.uint8)
    for offset in HALVES[name]:
        scales = chance.standard_normal(count).astype("<f2")
        drawn[:, offset : offset + 2] = scales.view(np.uint8).reshape(count, 2)
    if name == "IQ1_M":
        # Its scale is spread over four bytes: a clear bit in the last keeps it finite.
        drawn[:, 55] &= 0xBF
    return drawn


@pytest.mark.parametrize("name", HALVES)
def test_every_block_decodes_to_the_same_bits(name: str) -> None:
    # So many that every point of every codebook is drawn.
    data = blocks(name, 3000 if name.startswith(("IQ1", "IQ2", "IQ3")) else 300)
    with np.errstate(over="ignore"):
        theirs = gguf.quants.dequantize(data, getattr(gguf.GGMLQuantizationType, name))
    ours = dequantize(name, data.ravel())
    assert ours.dtype == np.float32
    assert np.array_equal(ours.view(np.uint32), theirs.astype(np.float32).ravel().view(np.uint32))


def test_types_for_activations_multiply_codes_by_their_scale() -> None:
    codes = np.arange(-16, 16, dtype=np.int8)
    halves = np.array([0.5, 9], "<f2").view(np.uint8)
    assert np.array_equal(
        dequantize("Q8_1", np.concatenate([halves, codes.view(np.uint8)])), codes * 0.5
    )
    many = np.resize(codes, 256).view(np.uint8)
    block = np.concatenate([np.array([0.25], "<f4").view(np.uint8), many, np.zeros(32, np.uint8)])
    assert np.array_equal(dequantize("Q8_K", block), np.resize(codes, 256) * np.float32(0.25))


def test_one_bit_chooses_the_sign() -> None:
    scale = np.array([-0.5], "<f2").view(np.uint8)
    codes = np.array([0b00000101, *[0xFF] * 15], np.uint8)
    values = dequantize("Q1_0", np.concatenate([scale, codes]))
    assert values.shape == (128,)
    assert values[:8].tolist() == [-0.5, 0.5, -0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert np.all(values[8:] == -0.5)


def test_two_bits_count_from_minus_one() -> None:
    scale = np.array([3.0], "<f2").view(np.uint8)
    codes = np.array([0b11100100, *[0b01010101] * 15], np.uint8)
    values = dequantize("Q2_0", np.concatenate([scale, codes]))
    assert values.shape == (64,)
    assert values[:4].tolist() == [-3.0, 0.0, 3.0, 6.0]
    assert not values[4:].any()


def test_every_packed_type_that_ggml_reads_is_decoded() -> None:
    assert set(PACKED) == {*HALVES, "Q8_1", "Q8_K", "Q1_0", "Q2_0"}
    for name in PACKED:
        kind = BY_NAME[name]
        values = dequantize(name, np.zeros(2 * kind.block_bytes, np.uint8))
        assert values.shape == (2 * kind.block_elements,)


@pytest.mark.parametrize("name", PACKED)
def test_any_bytes_decode_without_a_warning(name: str) -> None:
    kind = BY_NAME[name]
    worst = np.full(kind.block_bytes * 3, 0xFF, np.uint8)
    assert dequantize(name, worst).size == kind.block_elements * 3
    assert dequantize(name, worst[:0]).size == 0
    drawn = np.random.default_rng(5).integers(0, 256, kind.block_bytes * 200, dtype=np.uint8)
    assert dequantize(name, drawn).size == kind.block_elements * 200


def test_what_is_no_block_or_not_known_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no whole number"):
        dequantize("Q4_0", np.zeros(17, np.uint8))
    with pytest.raises(Unsupported, match="Q4_2"):
        dequantize("Q4_2", np.zeros(20, np.uint8))


@pytest.mark.parametrize("name", ["Q4_0", "Q5_1", "Q8_K", "Q6_K", "IQ2_XXS", "IQ1_M", "IQ4_XS"])
def test_the_other_byte_order_swaps_fields_of_several_bytes(name: str) -> None:
    kind = BY_NAME[name]
    layout = np.dtype(FIELDS[name])
    little = blocks(name, 20) if name in HALVES else np.zeros((20, kind.block_bytes), np.uint8)
    big = little.ravel().view(layout).astype(layout.newbyteorder(">")).view(np.uint8)
    assert np.array_equal(dequantize(name, big, byteorder="big"), dequantize(name, little.ravel()))
