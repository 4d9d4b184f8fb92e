"""The lattice types of ggml: codes that name points of a codebook, signs beside them.

A point is four or eight numbers, each one of a few levels; the codebooks are data
(`knowledge/ggml_lattices.yaml`). Decoded values equal those of ggml's reference code bit for bit.

Source: `dequantize_row_iq*` in ggml/src/ggml-quants.c, block layouts in ggml/src/ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steelyard import knowledge
from steelyard.checkpoints.gguf.blocks import HALF, Blocks, Codes, Decoder, Fields, Values, wide

_SIGNS: Final = 128
"""Ways to sign eight numbers of which the last has the sign that makes an even number negative."""
_SHIFT: Final = np.float32(0.125)
"""By how much all numbers of a group of an IQ1 block lie above or below the lattice."""


@cache
def _points(name: str) -> Values:
    """Return a codebook: points x numbers."""
    held: Mapping[str, Any] = knowledge.load("ggml_lattices")[name]
    levels = np.array(held["levels"], np.float32)
    width = (len(levels) - 1).bit_length()
    codes = np.array([int(point, 16) for point in held["points"].split()], np.uint16)
    size = 8 if width == 2 else 4
    places = codes[:, None] >> np.arange(0, width * size, width, dtype=np.uint16)
    values: Values = levels[places & np.uint16((1 << width) - 1)]
    values.setflags(write=False)
    return values


@cache
def _signs() -> Values:
    """Return the signs that seven bits stand for: 128 x 8; an even number of them is negative."""
    bits = np.arange(_SIGNS, dtype=np.uint8)
    last = np.bitwise_xor.reduce(_bits(bits), axis=1)
    signs = _signed(bits | (last << np.uint8(7)))
    signs.setflags(write=False)
    return signs


def _bits(codes: Codes) -> Codes:
    """Return the bits of bytes along a last axis, the lowest first."""
    return (codes[..., None] >> np.arange(8, dtype=np.uint8)) & np.uint8(1)


def _signed(codes: Codes) -> Values:
    """Return -1 for each bit that is set and 1 for each that is not, along a last axis."""
    result: Values = 1 - 2 * _bits(codes).astype(np.float32)
    return result


def _pairs(codes: Codes) -> Codes:
    """Split bytes in halves, the lower first: blocks x bytes give blocks x 2 bytes."""
    both = np.stack([codes & np.uint8(15), codes >> np.uint8(4)], axis=-1)
    return both.reshape(len(codes), -1)


def _upper(codes: Codes, width: int) -> NDArray[np.uint16]:
    """Unpack the upper bits of codes, the lowest first, and put them above eight others."""
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    parts = (codes[..., None] >> shifts) & np.uint8((1 << width) - 1)
    return parts.reshape(len(codes), -1).astype(np.uint16) << np.uint16(8)


def _steps(blocks: Blocks, scales: NDArray[Any], share: float) -> Values:
    """Return the step of each group: `d` times a half more than its scale, times a share."""
    plus = np.float32(0.5) + scales.astype(np.float32)
    result: Values = wide(blocks["d"]) * plus * np.float32(share)
    return result


def _scaled(steps: Values, points: Values, signs: Values) -> Values:
    """Multiply points by the step of their group, then by their signs."""
    groups = points.reshape(*steps.shape, -1)
    return (steps[..., None] * groups) * signs.reshape(groups.shape)


def _packed_signs(words: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], Values]:
    """Take apart the scale and the four times seven sign bits of a word: one for 32 numbers."""
    shifts = np.arange(0, 28, 7, dtype=np.uint32)
    return words >> np.uint32(28), _signs()[(words[..., None] >> shifts) & np.uint32(_SIGNS - 1)]


def _iq2_xxs(blocks: Blocks) -> Values:
    groups = blocks["groups"]
    scales, signs = _packed_signs(groups["word"])
    return _scaled(_steps(blocks, scales, 0.25), _points("IQ2_XXS")[groups["codes"]], signs)


def _iq2_xs(blocks: Blocks) -> Values:
    codes = blocks["codes"]
    signs = _signs()[codes >> np.uint16(9)]
    steps = _steps(blocks, _pairs(blocks["scales"]), 0.25)
    return _scaled(steps, _points("IQ2_XS")[codes & np.uint16(511)], signs)


def _iq2_s(blocks: Blocks) -> Values:
    codes = blocks["codes"] | _upper(blocks["high"], 2)
    steps = _steps(blocks, _pairs(blocks["scales"]), 0.25)
    return _scaled(steps, _points("IQ2_S")[codes], _signed(blocks["signs"]))


def _iq3_xxs(blocks: Blocks) -> Values:
    scales, signs = _packed_signs(blocks["words"])
    return _scaled(_steps(blocks, scales, 0.5), _points("IQ3_XXS")[blocks["codes"]], signs)


def _iq3_s(blocks: Blocks) -> Values:
    codes = blocks["codes"] | _upper(blocks["high"], 1)
    steps = wide(blocks["d"]) * (1 + 2 * _pairs(blocks["scales"]).astype(np.float32))
    return _scaled(steps, _points("IQ3_S")[codes], _signed(blocks["signs"]))


def _iq1_s(blocks: Blocks) -> Values:
    high = blocks["high"]
    places = (high[..., None] >> np.arange(0, 12, 3, dtype=np.uint16)) & np.uint16(7)
    codes = blocks["codes"] | (places.reshape(len(blocks), -1) << np.uint16(8))
    steps = wide(blocks["d"]) * (2 * ((high >> np.uint16(12)) & np.uint16(7)) + 1)
    shifts = np.where(high & np.uint16(0x8000), -_SHIFT, _SHIFT)
    points = _points("IQ1_S")[codes].reshape(len(blocks), 8, 32)
    result: Values = steps[..., None] * (points + shifts[..., None])
    return result


def _iq1_m(blocks: Blocks) -> Values:
    packed = blocks["scales"]
    # The block's scale lies in the upper four bits of the four words, the first word's lowest.
    nibbles = (packed >> np.uint16(12)) << np.arange(0, 16, 4, dtype=np.uint16)
    scale = np.bitwise_or.reduce(nibbles, axis=1).view(np.float16)
    scales = (packed[..., None] >> np.arange(0, 12, 3, dtype=np.uint16)) & np.uint16(7)
    high = _pairs(blocks["high"])
    codes = blocks["codes"] | ((high & np.uint8(7)).astype(np.uint16) << np.uint16(8))
    shifts = np.where(high & np.uint8(8), -_SHIFT, _SHIFT)
    points = _points("IQ1_S")[codes] + shifts[..., None]
    steps = wide(scale) * (2 * scales.reshape(len(blocks), -1) + 1)
    result: Values = steps[..., None] * points.reshape(len(blocks), 16, 16)
    return result


LATTICES: Final[Mapping[str, tuple[Fields, Decoder]]] = MappingProxyType(
    {
        "IQ2_XXS": ([("d", HALF), ("groups", [("codes", "u1", 4), ("word", "<u4")], 8)], _iq2_xxs),
        "IQ2_XS": ([("d", HALF), ("codes", "<u2", 32), ("scales", "u1", 8)], _iq2_xs),
        "IQ2_S": (
            [("d", HALF), ("codes", "u1", 32), ("signs", "u1", 32), ("high", "u1", 8),
             ("scales", "u1", 8)],
            _iq2_s,
        ),
        "IQ3_XXS": ([("d", HALF), ("codes", "u1", 64), ("words", "<u4", 8)], _iq3_xxs),
        "IQ3_S": (
            [("d", HALF), ("codes", "u1", 64), ("high", "u1", 8), ("signs", "u1", 32),
             ("scales", "u1", 4)],
            _iq3_s,
        ),
        "IQ1_S": ([("d", HALF), ("codes", "u1", 32), ("high", "<u2", 8)], _iq1_s),
        "IQ1_M": ([("codes", "u1", 32), ("high", "u1", 16), ("scales", "<u2", 4)], _iq1_m),
    }
)  # fmt: skip
"""Fields of a block and its decoder, by the type's name."""
