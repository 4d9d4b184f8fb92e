"""Schemes whose codes are whole numbers: a weight is a scale times a code less a zero point.

They differ in what lies along what. GPTQ and AWQ keep the outputs along the rows of words, so that
an output is a column; the others keep them row by row.

Sources: GPTQ (Frantar et al. 2022) as AutoGPTQ stores it; AWQ (Lin et al. 2023), `gemm` version;
the `pack-quantized` format of compressed-tensors; MLX's affine mode; MatMulNBits of ONNX Runtime.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.tensors import Tensor
from steelyard.lineage.matrix import Floats
from steelyard.lineage.reading.packing.parts import (
    Decoded,
    Open,
    Parts,
    codes_of_words,
    columns_of_codes,
    damaged,
    group_of,
    joined,
    multiplied,
    plain_matrix,
    rows_of,
    spread,
    stored,
    unpacked,
)
from steelyard.lineage.reading.views import View

_WIDTHS: Final = (2, 3, 4, 8)
_AWQ_PLACES: Final = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where each of eight outputs lies in a word of AWQ, which its kernels read crosswise."""
_MLX_GROUPS: Final = (64, 32, 128)
"""Numbers that share a scale in MLX, the usual first."""


def gptq(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give a matrix of GPTQ: words (inputs / n) x outputs, a scale for each group and output."""
    main, scale = parts.main, parts.beside.get("scale")
    order, zeros = parts.beside.get("order"), parts.beside.get("zero_point")
    if scale is None or not plain_matrix(main) or not plain_matrix(scale):
        return None
    outputs, groups = main.shape[1], scale.shape[0]
    bits = _gptq_bits(parts)
    if bits is None or scale.shape[1] != outputs or not groups or not main.shape[0]:
        return None
    inputs = codes_of_words(main.shape[0], bits)
    if zeros is not None and (
        not plain_matrix(zeros) or codes_of_words(zeros.shape[1], bits) < outputs
    ):
        return None
    words, steps = open_tensor(main), open_tensor(scale)
    place = None if order is None else open_tensor(joined(order, 1))

    def read(first: int, count: int) -> Floats:
        codes = unpacked(stored(words, main).columns(first, count).T, bits)[:, :inputs]
        group = _groups(place, order, inputs, groups)
        zero = np.full((groups, count), 1 << (bits - 1), np.int16)
        if zeros is not None:
            held = columns_of_codes(open_tensor(zeros), zeros, bits, first, count)
            zero = held.astype(np.int16) + parts.stated.zeros_less_one
        factor = _columns(steps, first, count)
        return multiplied(codes - zero.T[:, group], factor.T[:, group])

    return Decoded(
        View((outputs, inputs), read, parts.nbytes), f"GPTQ {bits}-bit", (outputs, inputs)
    )


def _gptq_bits(parts: Parts) -> int | None:
    """Tell how wide the codes are: one number for each input says, or the zero points do."""
    words, outputs = parts.main.shape
    order, zeros = parts.beside.get("order"), parts.beside.get("zero_point")
    guesses = [
        32 * words // order.shape[0] if order is not None and order.shape and order.shape[0] else 0,
        32 * words // parts.inputs if parts.inputs else 0,
        32 * zeros.shape[1] // outputs if plain_matrix(zeros) and zeros and outputs else 0,
        parts.stated.bits or 0,
    ]
    return next((bits for bits in guesses if bits in _WIDTHS), None)


def _groups(place: View | None, order: Tensor | None, inputs: int, groups: int) -> NDArray[np.intp]:
    """Return the group of each input."""
    if place is None or order is None:
        return np.arange(inputs, dtype=np.intp) // group_of(inputs, groups)
    found = stored(place, order).rows(0, inputs).ravel().astype(np.intp)
    if len(found) != inputs or found.min(initial=0) < 0 or found.max(initial=0) >= groups:
        raise damaged(order, f"its groups are not numbers from 0 to {groups - 1}")
    return found


def _columns(view: View, first: int, count: int) -> Floats:
    if view.columns is not None:
        return view.columns(first, count)
    return view.read(0, view.shape[0])[:, first : first + count]


def awq(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give a matrix of AWQ: words inputs x (outputs / 8), a scale for each group and output."""
    main, scale = parts.main, parts.beside.get("scale")
    zeros = parts.beside.get("zero_point")
    if scale is None or not plain_matrix(main) or not plain_matrix(scale):
        return None
    inputs, outputs = main.shape[0], scale.shape[1]
    groups = scale.shape[0]
    if outputs != 8 * main.shape[1] or groups == 0:
        return None
    if zeros is not None and zeros.shape != (groups, main.shape[1]):
        return None
    steps = open_tensor(scale)

    def read(first: int, count: int) -> Floats:
        group = np.arange(inputs) // group_of(inputs, groups)
        codes = _awq_codes(open_tensor(main), main, first, count).astype(np.int16)
        zero = np.full((groups, count), 8, np.int16)
        if zeros is not None:
            zero = _awq_codes(open_tensor(zeros), zeros, first, count).astype(np.int16)
        factor = _columns(steps, first, count)
        return np.ascontiguousarray(multiplied(codes - zero[group], factor[group]).T)

    return Decoded(View((outputs, inputs), read, parts.nbytes), "AWQ 4-bit", (outputs, inputs))


def _awq_codes(view: View, tensor: Tensor, first: int, count: int) -> NDArray[np.uint8]:
    """Read columns of codes, each eight of them brought in order: rows x count."""
    start, stop = first // 8, -(-(first + count) // 8)
    words = stored(view, tensor).columns(start, stop - start)
    codes = unpacked(words, 4).reshape(len(words), stop - start, 8)[..., _AWQ_PLACES]
    flat: NDArray[np.uint8] = codes.reshape(len(words), 8 * (stop - start))
    return flat[:, first - start * 8 :][:, :count]


def compressed(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give a matrix of compressed-tensors: words outputs x (inputs / n), scales beside."""
    main, scale = parts.main, parts.beside.get("scale")
    zeros, order = parts.beside.get("zero_point"), parts.beside.get("order")
    if scale is None or not plain_matrix(main) or not plain_matrix(scale):
        return None
    outputs, words = main.shape
    bits = 32 * words // parts.inputs if parts.inputs else parts.stated.bits or 4
    groups = scale.shape[1]
    if bits not in (4, 8) or scale.shape[0] != outputs or groups == 0:
        return None
    inputs = parts.inputs or codes_of_words(words, bits)
    packed_zeros = zeros is not None and zeros.dtype in ("I32", "U32")
    if zeros is not None and (
        zeros.shape != ((-(-outputs * bits // 32), groups) if packed_zeros else scale.shape)
    ):
        return None
    codes, steps = open_tensor(main), open_tensor(scale)
    place = None if order is None else open_tensor(joined(order, 1))

    def read(first: int, count: int) -> Floats:
        found = unpacked(stored(codes, main).rows(first, count), bits)[:, :inputs]
        zero: NDArray[np.int16] = np.full((count, groups), 1 << (bits - 1), np.int16)
        if zeros is not None and packed_zeros:
            held = stored(open_tensor(zeros), zeros).rows(0, zeros.shape[0])
            zero = unpacked(held.T, bits).T[first : first + count].astype(np.int16)
        elif zeros is not None:
            zero = zero + stored(open_tensor(zeros), zeros).rows(first, count).astype(np.int16)
        group = _groups(place, order, inputs, groups)
        return multiplied(found - zero[:, group], steps.read(first, count)[:, group])

    return Decoded(View((outputs, inputs), read, parts.nbytes), f"int{bits}", (outputs, inputs))


def mlx(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give a matrix of MLX: words outputs x (inputs / n), a scale and an offset for each group."""
    main, scale, offset = parts.main, parts.beside.get("scale"), parts.beside.get("zero_point")
    if scale is None or offset is None or len(main.shape) < 2 or scale.shape != offset.shape:
        return None
    if main.shape[:-1] != scale.shape[:-1] or not scale.shape[-1] or main.strides is not None:
        return None
    words, groups = main.shape[-1], scale.shape[-1]
    bits = _mlx_bits(parts, words, groups)
    if bits is None:
        return None
    inputs = codes_of_words(words, bits)
    rows = rows_of(main.shape)
    codes = open_tensor(joined(main, words))
    steps, offsets = (open_tensor(joined(one, groups)) for one in (scale, offset))

    def read(first: int, count: int) -> Floats:
        found = unpacked(stored(codes, main).rows(first, count), bits)[:, :inputs]
        step, less = (
            spread(one.read(first, count), inputs // groups, inputs) for one in (steps, offsets)
        )
        return multiplied(found, step) + less

    shape = (*main.shape[:-1], inputs)
    return Decoded(View((rows, inputs), read, parts.nbytes), f"MLX {bits}-bit", shape)


def _mlx_bits(parts: Parts, words: int, groups: int) -> int | None:
    """Tell how wide the codes are: as stated, or as the inputs or the usual groups make them."""
    guesses = [parts.stated.bits or 0]
    guesses += [32 * words // parts.inputs] if parts.inputs else []
    guesses += [32 * words // (groups * group) for group in _MLX_GROUPS]
    for bits in guesses:
        inputs = codes_of_words(words, bits) if bits in (*_WIDTHS, 5, 6) else 0
        if inputs and inputs % groups == 0 and inputs * bits == 32 * words:
            return bits
    return None


def onnx_blocks(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give a matrix of ONNX's MatMulNBits: bytes outputs x blocks x (block / 2)."""
    main, scale, zeros = parts.main, parts.beside.get("scale"), parts.beside.get("zero_point")
    if scale is None or len(main.shape) != 3 or main.strides is not None:
        return None
    outputs, blocks, size = main.shape
    if scale.elements != outputs * blocks or not scale.elements:
        return None
    if zeros is not None and (zeros.dtype != "U8" or zeros.elements != outputs * -(-blocks // 2)):
        return None
    inputs = blocks * size * 2
    codes, steps = open_tensor(joined(main, blocks * size)), open_tensor(joined(scale, blocks))

    def read(first: int, count: int) -> Floats:
        found = unpacked(stored(codes, main).rows(first, count), 4).astype(np.int16)
        zero = np.full((count, blocks), 8, np.int16)
        if zeros is not None:
            held = joined(zeros, -(-blocks // 2))
            both = stored(open_tensor(held), zeros).rows(first, count)
            zero = unpacked(both, 4)[:, :blocks].astype(np.int16)
        step = np.repeat(steps.read(first, count), 2 * size, axis=1)
        return multiplied(found - np.repeat(zero, 2 * size, axis=1), step)

    return Decoded(View((outputs, inputs), read, parts.nbytes), "int4", (outputs, inputs))
