"""Blocks of ggml, encoded by the `gguf` package: what llama.cpp's simple types keep of numbers."""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from steelyard.lineage.relation import EncodingKind
from tests.lineage.derivations.truth import Arrays, Derived, Truth
from tests.lineage.memory import MemoryWeights

_BLOCK = 32


def quantized(arrays: Arrays, kind: str) -> Derived:
    """Pack every matrix into blocks of a type (`Q8_0`, `Q4_0`, ...); the arrays are decoded."""
    scheme = GGMLQuantizationType[kind]
    made = {
        name: np.asarray(dequantize(quantize(array, scheme), scheme), np.float32)
        if is_packed(array.shape)
        else array
        for name, array in arrays.items()
    }
    return Derived(made, Truth(encoding=EncodingKind.QUANTIZED, stored=kind))


def is_packed(shape: tuple[int, ...]) -> bool:
    """Tell whether a weight of this shape is packed."""
    return len(shape) == 2 and shape[1] % _BLOCK == 0


def in_memory(done: Derived, name: str = "child") -> MemoryWeights:
    """Hold a derived model as its container would say it is stored."""
    weights = MemoryWeights(done.arrays, name=name)
    for matrix in weights.found.values():
        if done.truth.encoding is EncodingKind.QUANTIZED and is_packed(matrix.shape):
            matrix.scheme = done.truth.stored
        elif done.truth.encoding is EncodingKind.CAST:
            matrix.dtype = done.truth.stored
    return weights
