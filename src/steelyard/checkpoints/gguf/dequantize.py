"""From ggml's blocks to numbers: what the packed elements of a GGUF tensor stand for.

A block is a record of scales and codes; each type is read as an array of such records, all blocks
at once. Decoded values equal those of ggml's reference code bit for bit: the same products and
sums of 32-bit floats in the same order.

Source: `dequantize_row_*` in ggml/src/ggml-quants.c, block layouts in ggml/src/ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.gguf.blocks import (
    HALF,
    Blocks,
    Codes,
    Decoder,
    Fields,
    Values,
    shifted,
    wide,
)
from steelyard.checkpoints.gguf.lattices import LATTICES
from steelyard.checkpoints.gguf.types import TYPES
from steelyard.errors import CheckpointError, Unsupported

_IQ4: Final = np.array(
    (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113), np.float32
)
_FP4: Final = np.array((0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12), np.float32)
_BY_NAME: Final = MappingProxyType({kind.name: kind for kind in TYPES.values()})


def dequantize(encoding: str, data: NDArray[np.uint8], *, byteorder: str = "little") -> Values:
    """Decode a run of whole blocks.

    Args:
        encoding: The type's name, as `Tensor.encoding` has it.
        data: The bytes of the blocks, flat.
        byteorder: `little` or `big`, for the fields of more than one byte.

    Returns:
        The values, flat, as many as the blocks hold. Scales that are no number give what
        arithmetic gives, without a warning.

    Raises:
        Unsupported: If blocks of this type are not decoded.
        CheckpointError: If the bytes are no whole number of blocks.
    """
    found = _TYPES.get(encoding)
    if found is None:
        raise Unsupported(
            f"elements packed as {encoding} are not decoded",
            why="it is none of the block types of ggml",
            fix=f"use one of {', '.join(sorted(_TYPES))}, or the original weights",
        )
    size = _BY_NAME[encoding].block_bytes
    if data.ndim != 1 or data.size % size:
        raise CheckpointError(
            f"{data.size} bytes are no whole number of {encoding} blocks of {size} bytes",
            why="the tensor is damaged, or its type is not what the file says",
            fix="download the file again and compare its SHA-256 with the publisher's",
        )
    layout, decode = found
    if not data.size:
        return np.empty(0, np.float32)
    record = np.dtype(layout)
    blocks = np.ascontiguousarray(data).view(
        record if byteorder == "little" else record.newbyteorder(">")
    )
    with np.errstate(over="ignore", invalid="ignore"):
        values = decode(blocks)
    return np.ascontiguousarray(values, np.float32).reshape(-1)


def _fifth_bits(blocks: Blocks) -> NDArray[np.float32]:
    """Join the low four bits and the fifth of 32 codes."""
    places = np.arange(32, dtype=np.uint32)
    high = ((blocks["high"][:, None] >> places) & np.uint32(1)).astype(np.uint8) << np.uint8(4)
    return (shifted(blocks["codes"], 16, 4) | high).astype(np.float32)


def _scales_and_minimums(packed: Codes) -> tuple[Values, Values]:
    """Unpack the eight 6-bit scales and minimums of Q4_K and Q5_K from twelve bytes."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = (first & 63, (third & 15) | ((first >> 6) << 4))
    minimums = (second & 63, (third >> 4) | ((second >> 6) << 4))
    return (
        np.concatenate(scales, axis=1).astype(np.float32),
        np.concatenate(minimums, axis=1).astype(np.float32),
    )


def _q4_0(blocks: Blocks) -> Values:
    return wide(blocks["d"]) * (shifted(blocks["codes"], 16, 4).astype(np.float32) - 8)


def _q4_1(blocks: Blocks) -> Values:
    return wide(blocks["d"]) * shifted(blocks["codes"], 16, 4) + wide(blocks["m"])


def _q5_0(blocks: Blocks) -> Values:
    return wide(blocks["d"]) * (_fifth_bits(blocks) - 16)


def _q5_1(blocks: Blocks) -> Values:
    return wide(blocks["d"]) * _fifth_bits(blocks) + wide(blocks["m"])


def _q8(blocks: Blocks) -> Values:
    return wide(blocks["d"]) * blocks["codes"].astype(np.float32)


def _q2_k(blocks: Blocks) -> Values:
    codes = shifted(blocks["codes"], 32, 2).reshape(-1, 16, 16).astype(np.float32)
    scales = wide(blocks["d"]) * (blocks["scales"] & 15).astype(np.float32)
    minimums = wide(blocks["m"]) * (blocks["scales"] >> 4).astype(np.float32)
    return scales[..., None] * codes - minimums[..., None]


def _q3_k(blocks: Blocks) -> Values:
    low = shifted(blocks["codes"], 32, 2).astype(np.int8)
    high = shifted(blocks["high"], 32, 1).astype(np.int8)
    packed = blocks["scales"]
    upper = shifted(packed[:, 8:], 4, 2) << np.uint8(4)
    scales = (shifted(packed[:, :8], 8, 4) | upper).astype(np.float32) - 32
    codes = (low - ((1 - high) << 2)).reshape(-1, 16, 16).astype(np.float32)
    return (wide(blocks["d"]) * scales)[..., None] * codes


def _q4_k(blocks: Blocks) -> Values:
    codes = shifted(blocks["codes"], 32, 4).reshape(-1, 8, 32).astype(np.float32)
    return _with_minimums(blocks, codes)


def _q5_k(blocks: Blocks) -> Values:
    high = shifted(blocks["high"], 32, 1) << np.uint8(4)
    codes = (shifted(blocks["codes"], 32, 4) | high).reshape(-1, 8, 32).astype(np.float32)
    return _with_minimums(blocks, codes)


def _with_minimums(blocks: Blocks, codes: Values) -> Values:
    scales, minimums = _scales_and_minimums(blocks["scales"])
    steps = (wide(blocks["d"]) * scales)[..., None]
    return steps * codes - (wide(blocks["m"]) * minimums)[..., None]


def _q6_k(blocks: Blocks) -> Values:
    high = shifted(blocks["high"], 32, 2) << np.uint8(4)
    codes = (shifted(blocks["codes"], 64, 4) | high).astype(np.float32) - 32
    scales = wide(blocks["d"]) * blocks["scales"].astype(np.float32)
    return scales[..., None] * codes.reshape(-1, 16, 16)


def _iq4_nl(blocks: Blocks) -> Values:
    return wide(blocks["d"]) * _IQ4[shifted(blocks["codes"], 16, 4)]


def _iq4_xs(blocks: Blocks) -> Values:
    low = shifted(blocks["scales"], 1, 4)
    upper = (blocks["high"][:, None] >> np.arange(0, 16, 2, dtype=np.uint16)) & np.uint16(3)
    scales = (low | (upper.astype(np.uint8) << np.uint8(4))).astype(np.float32) - 32
    codes = _IQ4[shifted(blocks["codes"], 16, 4)].reshape(-1, 8, 32)
    return (wide(blocks["d"]) * scales)[..., None] * codes


def _mxfp4(blocks: Blocks) -> Values:
    # Half of the power of two, since the table holds doubles of the values.
    scale = np.ldexp(np.float32(1), blocks["e"].astype(np.int32) - 128).astype(np.float32)
    return scale[:, None] * _FP4[shifted(blocks["codes"], 16, 4)]


def _nvfp4(blocks: Blocks) -> Values:
    codes = _FP4[shifted(blocks["codes"], 8, 4)].reshape(-1, 4, 16)
    result: Values = _half_scales()[blocks["scales"]][..., None] * codes
    return result


@cache
def _half_scales() -> Values:
    """Return half of what each byte of an unsigned E4M3 scale stands for: ggml drops the sign bit.

    Half, since the table of codes holds doubles; what would be no number is zero to ggml, as long
    as the bit that is dropped is not set.
    """
    codes = np.arange(256)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    scaled = np.where(exponent == 0, fraction, fraction + 8)
    values: Values = np.ldexp(scaled.astype(np.float32), np.maximum(exponent, 1) - 11).astype(
        np.float32
    )
    values[127] = 0
    values.setflags(write=False)
    return values


def _trits(codes: Codes, run: int, count: int) -> Values:
    """Unpack numbers of -1, 0 and 1, five to a byte: a fraction of 256, read to the base three."""
    powers = np.array((1, 3, 9, 27, 81)[:count], np.uint8)[:, None]
    parts = codes.reshape(len(codes), -1, 1, run) * powers
    digits = (parts.astype(np.uint16) * np.uint16(3)) >> np.uint16(8)
    result: Values = digits.reshape(len(codes), -1).astype(np.float32) - 1
    return result


def _tq1_0(blocks: Blocks) -> Values:
    codes = blocks["codes"]
    parts = (_trits(codes[:, :32], 32, 5), _trits(codes[:, 32:], 16, 5))
    trits = np.concatenate([*parts, _trits(blocks["rest"], 4, 4)], axis=1)
    result: Values = wide(blocks["d"]) * trits
    return result


def _tq2_0(blocks: Blocks) -> Values:
    codes = shifted(blocks["codes"], 32, 2).astype(np.float32)
    result: Values = wide(blocks["d"]) * (codes - 1)
    return result


def _q1_0(blocks: Blocks) -> Values:
    # The sign is put on, not multiplied: ggml chooses between the scale and its negative.
    scale = wide(blocks["d"])
    result: Values = np.where(shifted(blocks["codes"], 1, 1) > 0, scale, -scale)
    return result


def _q2_0(blocks: Blocks) -> Values:
    codes = shifted(blocks["codes"], 1, 2).astype(np.float32)
    result: Values = (codes - 1) * wide(blocks["d"])
    return result


_TYPES: Final[Mapping[str, tuple[Fields, Decoder]]] = MappingProxyType(
    {
        **LATTICES,
        "Q4_0": ([("d", HALF), ("codes", "u1", 16)], _q4_0),
        "Q4_1": ([("d", HALF), ("m", HALF), ("codes", "u1", 16)], _q4_1),
        "Q5_0": ([("d", HALF), ("high", "<u4"), ("codes", "u1", 16)], _q5_0),
        "Q5_1": ([("d", HALF), ("m", HALF), ("high", "<u4"), ("codes", "u1", 16)], _q5_1),
        "Q8_0": ([("d", HALF), ("codes", "i1", 32)], _q8),
        "Q8_1": ([("d", HALF), ("sum", HALF), ("codes", "i1", 32)], _q8),
        "Q2_K": ([("scales", "u1", 16), ("codes", "u1", 64), ("d", HALF), ("m", HALF)], _q2_k),
        "Q3_K": (
            [("high", "u1", 32), ("codes", "u1", 64), ("scales", "u1", 12), ("d", HALF)],
            _q3_k,
        ),
        "Q4_K": ([("d", HALF), ("m", HALF), ("scales", "u1", 12), ("codes", "u1", 128)], _q4_k),
        "Q5_K": (
            [("d", HALF), ("m", HALF), ("scales", "u1", 12), ("high", "u1", 32),
             ("codes", "u1", 128)],
            _q5_k,
        ),
        "Q6_K": (
            [("codes", "u1", 128), ("high", "u1", 64), ("scales", "i1", 16), ("d", HALF)],
            _q6_k,
        ),
        "Q8_K": ([("d", "<f4"), ("codes", "i1", 256), ("sums", "<i2", 16)], _q8),
        "IQ4_NL": ([("d", HALF), ("codes", "u1", 16)], _iq4_nl),
        "IQ4_XS": (
            [("d", HALF), ("high", "<u2"), ("scales", "u1", 4), ("codes", "u1", 128)],
            _iq4_xs,
        ),
        "MXFP4": ([("e", "u1"), ("codes", "u1", 16)], _mxfp4),
        "NVFP4": ([("scales", "u1", 4), ("codes", "u1", 32)], _nvfp4),
        "TQ1_0": ([("codes", "u1", 48), ("rest", "u1", 4), ("d", HALF)], _tq1_0),
        "TQ2_0": ([("codes", "u1", 64), ("d", HALF)], _tq2_0),
        "Q1_0": ([("d", HALF), ("codes", "u1", 16)], _q1_0),
        "Q2_0": ([("d", HALF), ("codes", "u1", 16)], _q2_0),
    }
)  # fmt: skip
