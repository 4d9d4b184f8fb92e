"""From ggml's blocks to numbers: what the packed elements of a GGUF tensor stand for.

A block is a record of scales and codes; each type is read as an array of such records, all blocks
at once. Decoded values equal those of ggml's reference code bit for bit: the same products and
sums of 32-bit floats in the same order.

Source: `dequantize_row_*` in ggml/src/ggml-quants.c, block layouts in ggml/src/ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.gguf.types import TYPES
from steelyard.errors import CheckpointError, Unsupported

Blocks = NDArray[Any]
Codes = NDArray[np.uint8]
Values = NDArray[np.float32]

_IQ4: Final = np.array(
    (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113), np.float32
)
_MXFP4: Final = np.array((0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12), np.float32)
_HALF: Final = "<f2"
_BY_NAME: Final = MappingProxyType({kind.name: kind for kind in TYPES.values()})


def dequantize(encoding: str, data: NDArray[np.uint8]) -> Values:
    """Decode a run of whole blocks.

    Args:
        encoding: The type's name, as `Tensor.encoding` has it.
        data: The bytes of the blocks, flat.

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
            why="their codebook is not among those that Steelyard knows",
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
    blocks = np.ascontiguousarray(data).view(np.dtype(layout))
    with np.errstate(over="ignore", invalid="ignore"):
        values = decode(blocks)
    return np.ascontiguousarray(values, np.float32).reshape(-1)


def _wide(part: NDArray[Any]) -> Values:
    """Return scales as floats with a last axis to multiply along."""
    return part.astype(np.float32)[..., None]


def _shifted(codes: Codes, run: int, width: int) -> Codes:
    """Unpack codes of `width` bits: of each run of bytes first all the lowest, then the next.

    Args:
        codes: blocks x bytes.
        run: Bytes whose codes lie together.
        width: Bits of one code.

    Returns:
        blocks x codes.
    """
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    parts = codes.reshape(len(codes), -1, 1, run) >> shifts
    result: Codes = (parts & np.uint8((1 << width) - 1)).reshape(len(codes), -1)
    return result


def _fifth_bits(blocks: Blocks) -> NDArray[np.float32]:
    """Join the low four bits and the fifth of 32 codes."""
    places = np.arange(32, dtype=np.uint32)
    high = ((blocks["high"][:, None] >> places) & np.uint32(1)).astype(np.uint8) << np.uint8(4)
    return (_shifted(blocks["codes"], 16, 4) | high).astype(np.float32)


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
    return _wide(blocks["d"]) * (_shifted(blocks["codes"], 16, 4).astype(np.float32) - 8)


def _q4_1(blocks: Blocks) -> Values:
    return _wide(blocks["d"]) * _shifted(blocks["codes"], 16, 4) + _wide(blocks["m"])


def _q5_0(blocks: Blocks) -> Values:
    return _wide(blocks["d"]) * (_fifth_bits(blocks) - 16)


def _q5_1(blocks: Blocks) -> Values:
    return _wide(blocks["d"]) * _fifth_bits(blocks) + _wide(blocks["m"])


def _q8(blocks: Blocks) -> Values:
    return _wide(blocks["d"]) * blocks["codes"].astype(np.float32)


def _q2_k(blocks: Blocks) -> Values:
    codes = _shifted(blocks["codes"], 32, 2).reshape(-1, 16, 16).astype(np.float32)
    scales = _wide(blocks["d"]) * (blocks["scales"] & 15).astype(np.float32)
    minimums = _wide(blocks["m"]) * (blocks["scales"] >> 4).astype(np.float32)
    return scales[..., None] * codes - minimums[..., None]


def _q3_k(blocks: Blocks) -> Values:
    low = _shifted(blocks["codes"], 32, 2).astype(np.int8)
    high = _shifted(blocks["high"], 32, 1).astype(np.int8)
    packed = blocks["scales"]
    upper = _shifted(packed[:, 8:], 4, 2) << np.uint8(4)
    scales = (_shifted(packed[:, :8], 8, 4) | upper).astype(np.float32) - 32
    codes = (low - ((1 - high) << 2)).reshape(-1, 16, 16).astype(np.float32)
    return (_wide(blocks["d"]) * scales)[..., None] * codes


def _q4_k(blocks: Blocks) -> Values:
    codes = _shifted(blocks["codes"], 32, 4).reshape(-1, 8, 32).astype(np.float32)
    return _with_minimums(blocks, codes)


def _q5_k(blocks: Blocks) -> Values:
    high = _shifted(blocks["high"], 32, 1) << np.uint8(4)
    codes = (_shifted(blocks["codes"], 32, 4) | high).reshape(-1, 8, 32).astype(np.float32)
    return _with_minimums(blocks, codes)


def _with_minimums(blocks: Blocks, codes: Values) -> Values:
    scales, minimums = _scales_and_minimums(blocks["scales"])
    steps = (_wide(blocks["d"]) * scales)[..., None]
    return steps * codes - (_wide(blocks["m"]) * minimums)[..., None]


def _q6_k(blocks: Blocks) -> Values:
    high = _shifted(blocks["high"], 32, 2) << np.uint8(4)
    codes = (_shifted(blocks["codes"], 64, 4) | high).astype(np.float32) - 32
    scales = _wide(blocks["d"]) * blocks["scales"].astype(np.float32)
    return scales[..., None] * codes.reshape(-1, 16, 16)


def _iq4_nl(blocks: Blocks) -> Values:
    return _wide(blocks["d"]) * _IQ4[_shifted(blocks["codes"], 16, 4)]


def _iq4_xs(blocks: Blocks) -> Values:
    low = _shifted(blocks["scales"], 1, 4)
    upper = (blocks["high"][:, None] >> np.arange(0, 16, 2, dtype=np.uint16)) & np.uint16(3)
    scales = (low | (upper.astype(np.uint8) << np.uint8(4))).astype(np.float32) - 32
    codes = _IQ4[_shifted(blocks["codes"], 16, 4)].reshape(-1, 8, 32)
    return (_wide(blocks["d"]) * scales)[..., None] * codes


def _mxfp4(blocks: Blocks) -> Values:
    # Half of the power of two, since the table holds doubles of the values.
    scale = np.ldexp(np.float32(1), blocks["e"].astype(np.int32) - 128).astype(np.float32)
    return scale[:, None] * _MXFP4[_shifted(blocks["codes"], 16, 4)]


_Decoder = Callable[[Blocks], Values]
_Fields = list[tuple[Any, ...]]
_TYPES: Final[Mapping[str, tuple[_Fields, _Decoder]]] = MappingProxyType(
    {
        "Q4_0": ([("d", _HALF), ("codes", "u1", 16)], _q4_0),
        "Q4_1": ([("d", _HALF), ("m", _HALF), ("codes", "u1", 16)], _q4_1),
        "Q5_0": ([("d", _HALF), ("high", "<u4"), ("codes", "u1", 16)], _q5_0),
        "Q5_1": ([("d", _HALF), ("m", _HALF), ("high", "<u4"), ("codes", "u1", 16)], _q5_1),
        "Q8_0": ([("d", _HALF), ("codes", "i1", 32)], _q8),
        "Q8_1": ([("d", _HALF), ("sum", _HALF), ("codes", "i1", 32)], _q8),
        "Q2_K": ([("scales", "u1", 16), ("codes", "u1", 64), ("d", _HALF), ("m", _HALF)], _q2_k),
        "Q3_K": (
            [("high", "u1", 32), ("codes", "u1", 64), ("scales", "u1", 12), ("d", _HALF)],
            _q3_k,
        ),
        "Q4_K": ([("d", _HALF), ("m", _HALF), ("scales", "u1", 12), ("codes", "u1", 128)], _q4_k),
        "Q5_K": (
            [("d", _HALF), ("m", _HALF), ("scales", "u1", 12), ("high", "u1", 32),
             ("codes", "u1", 128)],
            _q5_k,
        ),
        "Q6_K": (
            [("codes", "u1", 128), ("high", "u1", 64), ("scales", "i1", 16), ("d", _HALF)],
            _q6_k,
        ),
        "Q8_K": ([("d", "<f4"), ("codes", "i1", 256), ("sums", "<i2", 16)], _q8),
        "IQ4_NL": ([("d", _HALF), ("codes", "u1", 16)], _iq4_nl),
        "IQ4_XS": (
            [("d", _HALF), ("high", "<u2"), ("scales", "u1", 4), ("codes", "u1", 128)],
            _iq4_xs,
        ),
        "MXFP4": ([("e", "u1"), ("codes", "u1", 16)], _mxfp4),
    }
)  # fmt: skip
