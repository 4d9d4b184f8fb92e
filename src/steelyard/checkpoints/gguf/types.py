"""The element types of ggml: how GGUF packs weights into blocks.

A ggml tensor is a sequence of rows, and a row is a sequence of blocks. A plain type is a block
of one element; a quantized type packs 32, 64, 128 or 256 elements with their shared scales into
one block of fixed size. So the bytes of a tensor follow from its shape alone, which is what
lets a reader check a file without reading a weight.

Ids and sizes are those of ggml's own `ggml_blck_size` and `ggml_type_size`
(ggml/include/ggml.h and ggml/src/ggml-common.h as of October 2026, 43 ids). They differ from the
`gguf` Python package 0.19 in two places: it lacks `Q2_0`, and it gives `Q8_1`, a type for
activations that is not meant for files, 40 bytes a block where ggml has 36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from steelyard.checkpoints.tensors import PLAIN


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One element type."""

    id: int
    """The number that stands in a GGUF file."""
    name: str
    """ggml's name, as its header spells it: `F32`, `Q4_K`, `IQ2_XXS`."""
    block_elements: int
    """Elements of one block; a row holds a whole number of blocks."""
    block_bytes: int
    """Bytes of one block."""
    dtype: str
    """Element type by safetensors' name; `F32`, what ggml decodes to, for quantized types."""
    encoding: str
    """`plain`, or `name` for quantized types."""

    def nbytes(self, elements: int) -> int:
        """Count the bytes of `elements` elements, a multiple of `block_elements`."""
        return elements // self.block_elements * self.block_bytes


def _plain(type_id: int, name: str, size: int) -> GgmlType:
    return GgmlType(type_id, name, 1, size, name, PLAIN)


def _packed(type_id: int, name: str, elements: int, size: int) -> GgmlType:
    return GgmlType(type_id, name, elements, size, "F32", name)


TYPES: Mapping[int, GgmlType] = MappingProxyType(
    {
        ggml_type.id: ggml_type
        for ggml_type in (
            _plain(0, "F32", 4),
            _plain(1, "F16", 2),
            _packed(2, "Q4_0", 32, 18),
            _packed(3, "Q4_1", 32, 20),
            _packed(6, "Q5_0", 32, 22),
            _packed(7, "Q5_1", 32, 24),
            _packed(8, "Q8_0", 32, 34),
            _packed(9, "Q8_1", 32, 36),
            _packed(10, "Q2_K", 256, 84),
            _packed(11, "Q3_K", 256, 110),
            _packed(12, "Q4_K", 256, 144),
            _packed(13, "Q5_K", 256, 176),
            _packed(14, "Q6_K", 256, 210),
            _packed(15, "Q8_K", 256, 292),
            _packed(16, "IQ2_XXS", 256, 66),
            _packed(17, "IQ2_XS", 256, 74),
            _packed(18, "IQ3_XXS", 256, 98),
            _packed(19, "IQ1_S", 256, 50),
            _packed(20, "IQ4_NL", 32, 18),
            _packed(21, "IQ3_S", 256, 110),
            _packed(22, "IQ2_S", 256, 82),
            _packed(23, "IQ4_XS", 256, 136),
            _plain(24, "I8", 1),
            _plain(25, "I16", 2),
            _plain(26, "I32", 4),
            _plain(27, "I64", 8),
            _plain(28, "F64", 8),
            _packed(29, "IQ1_M", 256, 56),
            _plain(30, "BF16", 2),
            _packed(34, "TQ1_0", 256, 54),
            _packed(35, "TQ2_0", 256, 66),
            _packed(39, "MXFP4", 32, 17),
            _packed(40, "NVFP4", 64, 36),
            _packed(41, "Q1_0", 128, 18),
            _packed(42, "Q2_0", 64, 18),
        )
    }
)
"""Every type that ggml reads today, by id."""

REMOVED: Mapping[int, str] = MappingProxyType(
    {
        4: "Q4_2",
        5: "Q4_3",
        31: "Q4_0_4_4",
        32: "Q4_0_4_8",
        33: "Q4_0_8_8",
        36: "IQ4_NL_4_4",
        37: "IQ4_NL_4_8",
        38: "IQ4_NL_8_8",
    }
)
"""Types that ggml once had and took out; their ids are never given again."""
