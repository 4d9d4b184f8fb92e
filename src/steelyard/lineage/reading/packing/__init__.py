"""Weights that are packed into fewer bits, outside of GGUF: what their codes stand for.

GPTQ, AWQ, compressed-tensors, MLX, bitsandbytes, ONNX and the block-scaled floating-point types
keep a matrix in several tensors: codes, and what decodes them. `unpack` gives the matrix.
"""

from steelyard.lineage.reading.packing.choosing import unpack
from steelyard.lineage.reading.packing.parts import Decoded, Open, Parts, Stated, joined

__all__ = ["Decoded", "Open", "Parts", "Stated", "joined", "unpack"]
