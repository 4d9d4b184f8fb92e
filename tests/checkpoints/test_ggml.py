"""The type table, against the `gguf` package as oracle."""

from __future__ import annotations

import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from steelyard.checkpoints.gguf.types import REMOVED, TYPES, GgmlType
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN

# ggml's own values, from ggml_blck_size and ggml_type_size of a llama.cpp build of October 2026.
# The package states 40 bytes for Q8_1, and does not know Q2_0.
BEYOND_THE_PACKAGE = {9: ("Q8_1", 32, 36), 42: ("Q2_0", 64, 18)}


def test_the_table_is_that_of_the_gguf_package() -> None:
    expected = {
        int(kind): (kind.name, *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType
    } | BEYOND_THE_PACKAGE
    table = {key: (kind.name, kind.block_elements, kind.block_bytes) for key, kind in TYPES.items()}
    assert table == expected


def test_the_package_differs_where_the_table_says_so() -> None:
    known = {int(kind): GGML_QUANT_SIZES[kind] for kind in GGMLQuantizationType}
    assert known[9] == (32, 40)
    assert 42 not in known


def test_ids_are_their_keys_and_without_holes() -> None:
    assert all(key == kind.id for key, kind in TYPES.items())
    assert sorted([*TYPES, *REMOVED]) == list(range(43))


@pytest.mark.parametrize("kind", TYPES.values(), ids=lambda kind: kind.name)
def test_types_are_named_as_safetensors_names_them(kind: GgmlType) -> None:
    assert kind.dtype in DTYPE_BITS
    if kind.encoding == PLAIN:
        assert kind.dtype == kind.name
        assert kind.block_bytes * 8 == DTYPE_BITS[kind.dtype]
        assert kind.block_elements == 1
    else:
        assert (kind.dtype, kind.encoding) == ("F32", kind.name)
        assert kind.block_elements % 32 == 0
    assert kind.nbytes(6 * kind.block_elements) == 6 * kind.block_bytes
