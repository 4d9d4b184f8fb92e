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
SAME = (
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "IQ4_NL", "IQ4_XS", "MXFP4",
)  # fmt: skip
HALVES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82),
    "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,),
    "IQ4_XS": (0,), "MXFP4": (),
}  # fmt: skip


def blocks(name: str, count: int = 300) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw random blocks whose scales are finite."""
    chance = np.random.default_rng(len(name))
    drawn = chance.integers(0, 256, (count, BY_NAME[name].block_bytes), dtype=np.uint8)
    for offset in HALVES[name]:
        scales = chance.standard_normal(count).astype("<f2")
        drawn[:, offset : offset + 2] = scales.view(np.uint8).reshape(count, 2)
    return drawn


@pytest.mark.parametrize("name", SAME)
def test_every_block_decodes_to_the_same_bits(name: str) -> None:
    data = blocks(name)
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


@pytest.mark.parametrize("name", SAME)
def test_any_bytes_decode_without_a_warning(name: str) -> None:
    worst = np.full(BY_NAME[name].block_bytes * 3, 0xFF, np.uint8)
    assert dequantize(name, worst).size == BY_NAME[name].block_elements * 3
    assert dequantize(name, worst[:0]).size == 0


def test_what_is_no_block_or_not_known_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no whole number"):
        dequantize("Q4_0", np.zeros(17, np.uint8))
    with pytest.raises(Unsupported, match="IQ1_S"):
        dequantize("IQ1_S", np.zeros(50, np.uint8))
