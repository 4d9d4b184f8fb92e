"""Which scheme the tensors of a matrix are packed by: told by their types, shapes and parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from steelyard.lineage.matrix import Floats
from steelyard.lineage.reading.packing import floats, integers
from steelyard.lineage.reading.packing.parts import Decoded, Open, Parts
from steelyard.lineage.reading.views import View

_WORDS = ("I32", "U32")
_BYTES = ("I8", "U8")


def unpack(parts: Parts, open_tensor: Open) -> Decoded | None:
    """Give the matrix that some tensors hold; None where no scheme that is known fits them.

    Args:
        parts: The tensors.
        open_tensor: Gives the rows of a stored tensor; only the state of some schemes is read
            before the matrix is.
    """
    found = _unpack(parts, open_tensor)
    return None if found is None else replace(found, view=_quiet(found.view))


def _quiet(view: View) -> View:
    """Read a view without warnings: scales may be anything, and what comes of it is a number."""

    def read(first: int, count: int) -> Floats:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return view.read(first, count)

    return replace(view, read=read)


def _unpack(parts: Parts, open_tensor: Open) -> Decoded | None:
    main, scale = parts.main, parts.beside.get("scale")
    if main.dtype in _WORDS:
        return _words(parts, open_tensor)
    if "state_nf4" in parts.beside or "state_fp4" in parts.beside:
        return floats.bitsandbytes(parts, open_tensor)
    if main.name.endswith("_Q4"):
        return integers.onnx_blocks(parts, open_tensor)
    if main.dtype == "U8" and scale is not None:
        found = floats.fp4(parts, open_tensor)
        if found is not None or parts.part == "packed":
            return found
    if main.dtype in _BYTES or main.dtype.startswith("F8"):
        return floats.scaled(parts, open_tensor)
    return None


def _words(parts: Parts, open_tensor: Open) -> Decoded | None:
    main, scale = parts.main, parts.beside.get("scale")
    if scale is None or len(main.shape) < 2 or len(scale.shape) < 2:
        return None
    if parts.part == "weight":
        return integers.mlx(parts, open_tensor)
    if main.name.endswith("weight_packed"):
        return integers.compressed(parts, open_tensor)
    if scale.shape[1] == main.shape[1]:
        return integers.gptq(parts, open_tensor)
    return integers.awq(parts, open_tensor)
