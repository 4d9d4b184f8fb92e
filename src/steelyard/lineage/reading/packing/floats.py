"""Schemes whose codes are small floating-point numbers or names of them, scaled block by block.

Sources: QLoRA (Dettmers et al. 2023, section 3) as bitsandbytes stores it; LLM.int8() (Dettmers et
al. 2022); OCP Microscaling Formats 1.0 (MXFP4), NVIDIA's NVFP4; DeepSeek-V3's and
compressed-tensors' eight-bit floating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.documents import parse_json
from steelyard.checkpoints.small_floats import value_table
from steelyard.checkpoints.tensors import Tensor
from steelyard.lineage.matrix import Floats
from steelyard.lineage.reading.packing.parts import (
    Decoded,
    Open,
    Parts,
    damaged,
    group_of,
    joined,
    multiplied,
    rows_of,
    spread,
    stored,
    unpacked,
)
from steelyard.lineage.reading.views import View

_FP4: Final = np.array(
    (0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6), np.float32
)
"""What the codes of E2M1 stand for."""
_LARGEST_CODE: Final = 127
"""The code that stands for a row's largest weight in LLM.int8()."""
_STATE_BYTES: Final = 4096
_MOST_WEIGHTS: Final = 1 << 48


@dataclass(frozen=True, slots=True)
class _State:
    """What bitsandbytes says of one matrix."""

    shape: tuple[int, int]
    block: int
    nested_block: int
    offset: float


def bitsandbytes(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give a matrix of bitsandbytes in four bits: codes row after row, a scale for each block."""
    main, beside = parts.main, parts.beside
    scale, table = beside.get("scale"), beside.get("scale_map")
    state_of = beside.get("state_nf4") or beside.get("state_fp4")
    if scale is None or table is None or state_of is None or table.elements != 16:
        return None
    weights = 2 * main.elements
    inputs = parts.inputs or (weights // parts.outputs if parts.outputs else 0)
    if not inputs or weights % inputs:
        # Neither role nor sizes tell how long a row is: only the state does.
        state = _state(state_of, open_tensor)
        shape = state.shape if state.shape[0] * state.shape[1] == weights else None
        if shape is None:
            return None
    else:
        shape = (weights // inputs, inputs)
    if not shape[0] or not shape[1]:
        return None
    codes = open_tensor(joined(main, 1))
    levels = open_tensor(joined(table, 1))
    blocks = _Blocks(parts, open_tensor, state_of, shape)

    def read(first: int, count: int) -> Floats:
        start, stop = first * shape[1], (first + count) * shape[1]
        held = stored(codes, main).rows(start // 2, -(-stop // 2) - start // 2).ravel()
        # The first of two lies in the upper half.
        both = np.stack([held >> np.uint8(4), held & np.uint8(15)], axis=-1).ravel()
        values = levels.read(0, 16).ravel()[both[start % 2 :][: stop - start]]
        return multiplied(values, blocks.read(start, stop)).reshape(count, shape[1])

    scheme = "NF4" if "state_nf4" in beside else "FP4"
    return Decoded(View(shape, read, parts.nbytes), scheme, shape)


class _Blocks:
    """The scales of bitsandbytes' blocks, which may be quantized themselves."""

    def __init__(
        self, parts: Parts, open_tensor: Open, state: Tensor, shape: tuple[int, int]
    ) -> None:
        self._scale = parts.beside["scale"]
        self._nested = parts.beside.get("scale_nested")
        self._map = parts.beside.get("scale_nested_map")
        self._weights = 2 * parts.main.elements
        self._open, self._state_of, self._shape = open_tensor, state, shape
        self._state: _State | None = None

    def read(self, start: int, stop: int) -> Floats:
        """Return the scale of each weight from `start` to `stop`."""
        if self._state is None:
            self._state = _state(self._state_of, self._open)
        state = self._state
        if state.shape != self._shape:
            raise damaged(self._state_of, f"its shape is {state.shape}, not {self._shape}")
        if self._scale.elements != -(-self._weights // state.block):
            raise damaged(self._scale, "it has not one scale for each block of weights")
        first, last = start // state.block, -(-stop // state.block)
        values = self._scales(first, last, state)
        return np.repeat(values, state.block)[start - first * state.block :][: stop - start]

    def _scales(self, first: int, last: int, state: _State) -> Floats:
        view = self._open(joined(self._scale, 1))
        if self._nested is None or self._map is None:
            return view.read(first, last - first).ravel()
        codes = stored(view, self._scale).rows(first, last - first).ravel()
        if self._map.elements != 256 or codes.dtype != np.uint8:
            raise damaged(self._scale, "its scales are quantized in a way that is not known")
        begin, end = first // state.nested_block, -(-last // state.nested_block)
        if end > self._nested.elements:
            raise damaged(self._nested, "it has too few scales for the scales")
        levels = self._open(joined(self._map, 1)).read(0, 256).ravel()
        outer = self._open(joined(self._nested, 1)).read(begin, end - begin).ravel()
        steps = np.repeat(outer, state.nested_block)[first - begin * state.nested_block :]
        return multiplied(levels[codes], steps[: last - first]) + np.float32(state.offset)


def _state(tensor: Tensor, open_tensor: Open) -> _State:
    """Read what bitsandbytes says of a matrix: a JSON object, byte by byte in a tensor."""
    if tensor.dtype != "U8" or not 0 < tensor.elements <= _STATE_BYTES:
        raise damaged(tensor, "it is no description of a packed matrix")
    held = stored(open_tensor(joined(tensor, 1)), tensor).rows(0, tensor.elements)
    found = parse_json(held.tobytes(), tensor.file)
    content: Mapping[str, Any] = found if isinstance(found, dict) else {}
    shape = content.get("shape")
    sizes = [_size(size) for size in shape] if isinstance(shape, list) else []
    block, nested = _size(content.get("blocksize")), _size(content.get("nested_blocksize", 256))
    offset = content.get("nested_offset", 0.0)
    if len(sizes) != 2 or not all((*sizes, block, nested)):
        raise damaged(tensor, "it does not tell the shape and the size of blocks")
    if isinstance(offset, bool) or not isinstance(offset, int | float):
        raise damaged(tensor, "its offset is no number")
    return _State((sizes[0], sizes[1]), block, nested, float(offset))


def _size(value: object) -> int:
    """Return a size as stated; 0 for what is none."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_WEIGHTS
    return value if known and isinstance(value, int) else 0


def fp4(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give a matrix of four-bit floats with a scale for each block: MXFP4 or NVFP4.

    MXFP4 has blocks of 32 and powers of two, NVFP4 blocks of 16, eight-bit floats, and one number
    for the whole matrix besides. gpt-oss keeps all experts in one tensor of outputs x blocks x 16.
    """
    main, scale = parts.main, parts.beside.get("scale")
    if scale is None or main.dtype != "U8" or main.strides is not None or len(main.shape) < 2:
        return None
    blocked = len(main.shape) == len(scale.shape) + 1
    lead = main.shape[:-2] if blocked else main.shape[:-1]
    inputs = 2 * (main.shape[-1] * main.shape[-2] if blocked else main.shape[-1])
    blocks = scale.shape[-1] if scale.shape else 0
    if scale.shape[:-1] != lead or not blocks or inputs not in (32 * blocks, 16 * blocks):
        return None
    powers = inputs == 32 * blocks
    if scale.dtype not in (("U8", "F8_E8M0") if powers else ("F8_E4M3",)):
        return None
    rows = rows_of((*lead, inputs))
    codes, steps = open_tensor(joined(main, inputs // 2)), open_tensor(joined(scale, blocks))

    def read(first: int, count: int) -> Floats:
        values = _FP4[unpacked(stored(codes, main).rows(first, count), 4)]
        if powers and scale.dtype == "U8":
            step = _powers()[stored(steps, scale).rows(first, count)]
        else:
            step = steps.read(first, count)
        factor = spread(step, inputs // blocks, inputs)
        return multiplied(multiplied(values, factor), _of_the_whole(parts, open_tensor))

    scheme = "MXFP4" if powers else "NVFP4"
    return Decoded(View((rows, inputs), read, parts.nbytes), scheme, (*lead, inputs))


def _powers() -> NDArray[np.float32]:
    table = value_table("F8_E8M0")
    return np.ones(256, np.float32) if table is None else table


def _of_the_whole(parts: Parts, open_tensor: Open) -> Floats:
    """Return the factor of a whole matrix: compressed-tensors divides by it, others multiply."""
    factor: Floats = np.ones(1, np.float32)
    for part in ("scale_2", "scale_global"):
        tensor = parts.beside.get(part)
        if tensor is not None and tensor.elements == 1:
            found = open_tensor(joined(tensor, 1)).read(0, 1).ravel()
            factor = found if part == "scale_2" else np.reciprocal(found)
    return factor


def scaled(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give codes of eight bits with one scale, one for each row or column, or for square blocks.

    Scales of `a` x `b` for a matrix of `m` x `n` hold for blocks of so many rows and columns as
    fit (`group_of`). bitsandbytes' scales are the largest weight of each row.
    """
    main, scale = parts.main, parts.beside.get("scale") or parts.beside.get("scale_inverse")
    zeros = parts.beside.get("zero_point")
    if scale is None or len(main.shape) < 2:
        return None
    view, steps = open_tensor(main), open_tensor(scale)
    rows, columns = view.shape
    grid = _grid(scale, (rows, columns))
    if grid is None or (zeros is not None and zeros.elements != scale.elements):
        return None
    tall, wide = group_of(rows, grid[0]), group_of(columns, grid[1])
    share = 1 / _LARGEST_CODE if scale.name.endswith("SCB") else 1.0
    offsets = None if zeros is None else open_tensor(zeros)

    def read(first: int, count: int) -> Floats:
        place = np.arange(first, first + count) // tall
        factor = (steps.read(0, steps.shape[0]).reshape(grid) * np.float32(share))[place]
        codes = view.read(first, count)
        if offsets is not None:
            zero = offsets.read(0, offsets.shape[0]).reshape(grid)[place]
            codes = codes - spread(zero, wide, columns)
        return multiplied(codes, spread(factor, wide, columns))

    scheme = "FP8" if main.dtype.startswith("F8") else "int8"
    return Decoded(View((rows, columns), read, parts.nbytes), scheme, main.shape)


def _grid(scale: Tensor, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Tell how many scales lie along rows and columns; None where they do not fit.

    A vector belongs to the rows, which is the usual, or else to the columns.
    """
    if scale.elements == 1:
        return 1, 1
    if len(scale.shape) == 2:
        across, down = scale.shape
    elif scale.elements == shape[0] or scale.elements != shape[1]:
        across, down = scale.elements, 1
    else:
        across, down = 1, scale.elements
    fits = 0 < across <= shape[0] and 0 < down <= shape[1] and len(scale.shape) < 3
    return (across, down) if fits else None
