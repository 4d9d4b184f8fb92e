"""Good GGUF files: ours and the `gguf` package's, read to the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints import gguf
from steelyard.checkpoints.gguf.types import TYPES
from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.tensors import Checkpoint, ProblemKind
from steelyard.sources.memory import BytesReader
from tests.checkpoints import gguf_files as files
from tests.checkpoints.gguf_files import Array, Typed, Value, Weights, gguf_bytes


def read(data: bytes, limits: Limits | None = None) -> Checkpoint:
    reader = BytesReader("m.gguf", data)
    return gguf.read(reader) if limits is None else gguf.read(reader, limits)


def own_keys(checkpoint: Checkpoint) -> dict[str, Any]:
    """The metadata without what Steelyard adds."""
    return {
        key: value
        for key, value in checkpoint.metadata.items()
        if not key.endswith(gguf.LENGTH_SUFFIX)
    }


SCALARS: list[tuple[int, Any]] = [
    (files.UINT8, 255),
    (files.INT8, -128),
    (files.UINT16, 65535),
    (files.INT16, -32768),
    (files.UINT32, 2**32 - 1),
    (files.INT32, -(2**31)),
    (files.FLOAT32, 0.5),
    (files.BOOL, True),
    (files.BOOL, False),
    (files.STRING, "größe\n\0"),
    (files.STRING, ""),
    (files.UINT64, 2**64 - 1),
    (files.INT64, -(2**63)),
    (files.FLOAT64, 1e-300),
]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize(("kind", "value"), SCALARS)
def test_every_value_type(kind: int, value: Any, byteorder: str, version: int) -> None:
    metadata: dict[str, Value] = {
        "one": Typed(kind, value),
        "many": Array(kind, [value] * 3),
        "none": Array(kind, []),
        "after": "end",
    }
    checkpoint = read(gguf_bytes(metadata, byteorder=byteorder, version=version))
    assert checkpoint.metadata == {
        "one": value,
        "many": (value,) * 3,
        "many#length": 3,
        "none": (),
        "none#length": 0,
        "after": "end",
    }
    assert type(checkpoint.metadata["one"]) is type(value)
    assert checkpoint.problems == ()


@pytest.mark.parametrize("kind", TYPES.values(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_element_type(kind: Any, byteorder: str) -> None:
    shape = (3, 2, 2 * kind.block_elements)
    weights = [
        Weights("a", kind.id, shape, b"a" * 12 * kind.block_bytes),
        Weights("b", kind.id, shape, b"b" * 12 * kind.block_bytes),
    ]
    data = gguf_bytes({}, weights, byteorder=byteorder)
    checkpoint = read(data)
    assert checkpoint.problems == ()
    for tensor, expected in zip(checkpoint.tensors, weights, strict=True):
        assert tensor.offset is not None
        assert tensor.offset % 32 == 0
        assert data[tensor.offset : tensor.offset + tensor.nbytes] == expected.data
        assert (tensor.shape, tensor.elements) == (shape, 12 * kind.block_elements)
        assert (tensor.dtype, tensor.encoding) == (kind.dtype, kind.encoding)
        assert (tensor.file, tensor.byteorder) == ("m.gguf", byteorder)


def write_with_package(path: Path, endian: GGUFEndian) -> None:
    writer = GGUFWriter(path, "llama", endianess=endian)
    writer.add_uint8("t.u8", 1)
    writer.add_int8("t.i8", -1)
    writer.add_uint16("t.u16", 2)
    writer.add_int16("t.i16", -2)
    writer.add_uint32("t.u32", 3)
    writer.add_int32("t.i32", -3)
    writer.add_uint64("t.u64", 4)
    writer.add_int64("t.i64", -4)
    writer.add_float32("t.f32", 0.25)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "grüß dich")
    writer.add_array("t.numbers", [1, 2, 3])
    writer.add_array("t.reals", [0.5, 1.5])
    writer.add_token_list([f"token {index}" for index in range(500)])
    writer.add_tensor("scalar", np.array(1.0, np.float32))
    writer.add_tensor("vector", np.arange(7, dtype=np.float16))
    writer.add_tensor("matrix", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("cube", np.arange(24, dtype=np.int32).reshape(2, 3, 4))
    packed = np.arange(2 * 36, dtype=np.uint8).reshape(2, 36)
    writer.add_tensor("packed", packed, raw_dtype=GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("endian", [GGUFEndian.LITTLE, GGUFEndian.BIG])
def test_a_file_of_the_gguf_package(tmp_path: Path, endian: GGUFEndian) -> None:
    path = tmp_path / "m.gguf"
    write_with_package(path, endian)
    checkpoint = read(path.read_bytes())
    assert checkpoint.problems == ()
    assert checkpoint.metadata["t.i64"] == -4
    assert checkpoint.metadata["t.f64"] == 0.1
    assert checkpoint.metadata["t.bool"] is True
    assert checkpoint.metadata["t.string"] == "grüß dich"
    assert checkpoint.metadata["t.numbers"] == (1, 2, 3)
    assert checkpoint.metadata["tokenizer.ggml.tokens#length"] == 500
    assert checkpoint.metadata["tokenizer.ggml.tokens"] == tuple(
        f"token {index}" for index in range(64)
    )
    shapes = {tensor.name: tensor.shape for tensor in checkpoint.tensors}
    assert shapes == {
        "cube": (2, 3, 4),
        "matrix": (2, 3),
        "packed": (2, 64),
        "scalar": (),
        "vector": (7,),
    }
    assert_as_package_reads(path, checkpoint)


def assert_as_package_reads(path: Path, checkpoint: Checkpoint) -> None:
    """Compare everything with what the `gguf` package's reader says."""
    oracle = GGUFReader(path)
    expected = sorted(
        (
            tensor.name,
            tuple(reversed(tensor.shape.tolist())),
            int(tensor.data_offset),
            int(tensor.n_bytes),
            TYPES[tensor.tensor_type].name,
        )
        for tensor in oracle.tensors
    )
    assert expected == [
        (
            tensor.name,
            tensor.shape,
            tensor.offset,
            tensor.nbytes,
            tensor.dtype if tensor.encoding == "plain" else tensor.encoding,
        )
        for tensor in checkpoint.tensors
    ]
    stated = {
        key: field.contents()
        for key, field in oracle.fields.items()
        if not key.startswith("GGUF.")  # its own additions
    }
    mine = own_keys(checkpoint)
    assert mine.keys() == stated.keys()
    for key, value in stated.items():
        if isinstance(value, list):
            assert mine[key] == tuple(value[:64])
            assert checkpoint.metadata[key + "#length"] == len(value)
        else:
            assert mine[key] == value


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_the_gguf_package_reads_our_writer_alike(tmp_path: Path, byteorder: str) -> None:
    metadata: dict[str, Value] = {
        f"scalar.{kind}.{index}": Typed(kind, value) for index, (kind, value) in enumerate(SCALARS)
    }
    metadata["general.alignment"] = 64
    metadata["texts"] = Array(files.STRING, ["a", "b" * 100, "c"])
    metadata["numbers"] = Array(files.INT16, list(range(-50, 50)))
    weights = [
        Weights("z", 12, (2, 256), bytes(288)),
        Weights("a", 1, (5,), bytes(10)),
        Weights("m", 39, (3, 1, 64), bytes(102)),
    ]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(metadata, weights, byteorder=byteorder, alignment=64))
    checkpoint = read(path.read_bytes())
    assert [tensor.name for tensor in checkpoint.tensors] == ["a", "m", "z"]
    assert_as_package_reads(path, checkpoint)


KEYS = st.text(min_size=1, max_size=20).filter(lambda key: not key.endswith("#length"))
NUMBERS = st.one_of(
    st.integers(0, 255).map(lambda number: (files.UINT8, number)),
    st.integers(-(2**15), 2**15 - 1).map(lambda number: (files.INT16, number)),
    st.integers(0, 2**64 - 1).map(lambda number: (files.UINT64, number)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: (files.INT64, number)),
    st.floats(width=32, allow_nan=False).map(lambda number: (files.FLOAT32, number)),
    st.floats(allow_nan=False).map(lambda number: (files.FLOAT64, number)),
    st.booleans().map(lambda truth: (files.BOOL, truth)),
    st.text(max_size=40).map(lambda text: (files.STRING, text)),
)
METADATA = st.dictionaries(KEYS, st.tuples(NUMBERS, st.integers(-1, 100)), max_size=8)
TABLES = st.lists(
    st.tuples(
        st.text(max_size=20),
        st.sampled_from(sorted(TYPES)),
        st.lists(st.integers(0, 4), max_size=4),
    ),
    max_size=6,
    unique_by=lambda row: row[0],
)


@settings(max_examples=150, deadline=None)
@given(METADATA, TABLES, st.sampled_from(["little", "big"]), st.sampled_from([8, 32, 128]))
def test_what_is_written_is_read(
    metadata: dict[str, Any], table: list[Any], byteorder: str, alignment: int
) -> None:
    written: dict[str, Value] = {}
    expected: dict[str, Any] = {}
    for key, ((kind, value), count) in metadata.items():
        written[key] = Typed(kind, value) if count < 0 else Array(kind, [value] * count)
        expected[key] = value if count < 0 else (value,) * min(count, 64)
        if count >= 0:
            expected[key + "#length"] = count
    written["general.alignment"] = expected["general.alignment"] = alignment
    weights = []
    for index, (name, type_id, sizes) in enumerate(table):
        kind = TYPES[type_id]
        shape = (*sizes, 3 * kind.block_elements)
        nbytes = int(np.prod(sizes, dtype=int)) * 3 * kind.block_bytes
        weights.append(Weights(name, type_id, shape, bytes([index]) * nbytes))
    data = gguf_bytes(written, weights, byteorder=byteorder, alignment=alignment)
    checkpoint = read(data)
    assert checkpoint.metadata == expected
    assert checkpoint.problems == ()
    by_name = {weight.name: weight for weight in weights}
    assert [tensor.name for tensor in checkpoint.tensors] == sorted(map(str, by_name))
    for tensor in checkpoint.tensors:
        weight = by_name[tensor.name]
        assert tensor.shape == weight.shape
        assert tensor.offset is not None
        assert data[tensor.offset : tensor.offset + tensor.nbytes] == weight.data


def test_long_arrays_are_cut_but_their_length_is_not_lost() -> None:
    metadata: dict[str, Value] = {
        "texts": Array(files.STRING, [str(index) for index in range(1000)]),
        "numbers": Array(files.INT32, list(range(5000))),
        "after": 7,
    }
    checkpoint = read(gguf_bytes(metadata), Limits(kept_items=2))
    assert checkpoint.metadata == {
        "texts": ("0", "1"),
        "texts#length": 1000,
        "numbers": (0, 1),
        "numbers#length": 5000,
        "after": 7,
    }


def test_an_array_of_arrays_is_walked_and_reported() -> None:
    rows = [
        Array(files.STRING, ["x", "yy"]),
        Array(files.INT8, [1]),
        Array(files.ARRAY, [Array(files.UINT64, [])]),
    ]
    metadata: dict[str, Value] = {"rows": Array(files.ARRAY, rows), "after": 7}
    checkpoint = read(gguf_bytes(metadata))
    assert checkpoint.metadata == {"rows": None, "rows#length": 3, "after": 7}
    assert [problem.kind for problem in checkpoint.problems] == [ProblemKind.NOT_FULLY_READ]


@pytest.mark.parametrize("value", [5, Array(files.INT8, [1])])
def test_a_file_cannot_forge_a_length(value: Value) -> None:
    entries: list[tuple[str | bytes, Value]] = [
        ("t#length", value),
        ("t", Array(files.INT8, [1, 2])),
    ]
    checkpoint = read(gguf_bytes(entries))
    assert checkpoint.metadata == {"t": (1, 2), "t#length": 2}
    (problem,) = checkpoint.problems
    assert (problem.kind, problem.file) == (ProblemKind.ODD_METADATA, "m.gguf")
    assert "'t#length'" in problem.what


def test_odd_strings_and_booleans_are_kept_and_reported() -> None:
    metadata: dict[str, Value] = {
        "text": Typed(files.STRING, b"caf\xe9"),
        "texts": Array(files.STRING, ["good", b"\xff"]),
        "truth": Typed(files.BOOL, 2),
    }
    data = gguf_bytes(metadata)
    checkpoint = read(data)
    assert own_keys(checkpoint) == {"text": "caf�", "texts": ("good", "�"), "truth": True}
    assert [problem.kind for problem in checkpoint.problems] == [ProblemKind.ODD_METADATA] * 3
    offsets = [problem.offset for problem in checkpoint.problems]
    assert offsets == [data.index(b"caf") - 8, data.index(b"\xff") - 8, data.index(b"truth") + 9]


def test_gaps_and_trailing_bytes_are_reported() -> None:
    weights = [
        Weights("a", 0, (8,), bytes(96), offset=32),
        Weights("b", 0, (8,), bytes(32), offset=96),
    ]
    data = gguf_bytes({}, weights, trailing=b"hidden")
    checkpoint = read(data)
    first, last = checkpoint.problems
    assert first.kind is last.kind is ProblemKind.UNUSED_BYTES
    assert "64 bytes in 2 gaps" in first.what
    assert "'a'" in first.what
    assert first.offset == len(data) - 6 - 128
    assert "6 bytes after the last tensor" in last.what
    assert last.offset == len(data) - 6


def test_a_file_without_tensors_or_final_padding_is_good() -> None:
    data = gguf_bytes({"a": "text"})
    assert read(data).tensors == ()
    assert read(data.rstrip(b"\0")).problems == ()
    unpadded = gguf_bytes({}, [Weights("a", 0, (3,), bytes([1] * 12))]).rstrip(b"\0")
    assert read(unpadded).problems == ()
