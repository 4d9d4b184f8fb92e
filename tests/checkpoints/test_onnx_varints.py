"""Elements kept as varints are those of `raw_data`: in bytes, numbers and identity."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from steelyard.checkpoints.data import array, chunks
from steelyard.checkpoints.onnx import varints
from steelyard.checkpoints.onnx.reader import read
from steelyard.checkpoints.onnx.tensors import ELEMENT_TYPES
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, VARINT, Tensor
from steelyard.errors import CheckpointError, Truncated
from steelyard.sources.memory import BytesReader
from tests.checkpoints.same_weights import weigh

T = TensorProto
PACKED_TYPES = [
    number
    for number, kind in ELEMENT_TYPES.items()
    if kind.dtype and kind.dtype not in {"F32", "F64", "C64", "C128"}
]
NUMBERS: dict[str, type[np.generic]] = {
    "I8": np.int8, "U8": np.uint8, "I16": np.int16, "U16": np.uint16, "I32": np.int32,
    "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16,
}  # fmt: skip


def varint(value: int) -> bytes:
    """Encode a number, a negative one as 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def run(dtype: str, shape: tuple[int, ...], data: bytes, offset: int = 3) -> Tensor:
    nbytes = (int(np.prod(shape)) * DTYPE_BITS[dtype] + 7) // 8
    return Tensor("t", dtype, shape, VARINT, "f", offset, nbytes, stored=len(data))


def content(dtype: str, shape: tuple[int, ...], data: bytes, size: int = 1 << 20) -> bytes:
    pieces = list(chunks(BytesReader("f", b"abc" + data), run(dtype, shape, data), size))
    assert all(0 < len(piece) <= max(size, DTYPE_BITS[dtype] // 8) for piece in pieces)
    assert all(piece.format == "B" for piece in pieces)
    return b"".join(pieces)


def every_value(data_type: int, count: int) -> np.ndarray:
    """Take numbers over the whole range of a type, its ends among them."""
    kind = helper.tensor_dtype_to_np_dtype(data_type)
    random = np.random.default_rng(data_type)
    if data_type == T.BOOL:
        return random.integers(0, 2, count).astype(bool)
    if kind.kind in "iu" and kind.itemsize > 1:
        limits = np.iinfo(kind)
        values = random.integers(limits.min, limits.max, count, kind, endpoint=True)
        values[:2] = limits.min, limits.max
        return values
    bits = DTYPE_BITS[ELEMENT_TYPES[data_type].dtype]
    codes = random.integers(0, 1 << bits, count).astype("u2" if bits == 16 else "u1")
    codes[:2] = 0, (1 << bits) - 1
    return codes.view(kind)


def typed(data_type: int, shape: list[int], values: np.ndarray) -> TensorProto:
    """Keep numbers bit for bit; NaN too, which `make_tensor` would change by a cast."""
    tensor = T(name="w", data_type=data_type, dims=shape)
    dtype = ELEMENT_TYPES[data_type].dtype
    if DTYPE_BITS[dtype] <= 4:
        numbers = list(numpy_helper.from_array(values).raw_data)
    else:
        floating = dtype.startswith(("F", "BF"))
        numbers = values.view(f"u{values.itemsize}").tolist() if floating else values.tolist()
    field = helper.tensor_dtype_to_field(data_type)
    getattr(tensor, field).extend(int(number) for number in numbers)
    return tensor


def model(tensor: TensorProto) -> bytes:
    graph = helper.make_graph([], "g", [], [], [tensor])
    opset = helper.make_opsetid("", 21)
    return bytes(helper.make_model(graph, opset_imports=[opset]).SerializeToString())


@pytest.mark.parametrize("shape", [[], [1], [7], [3, 5], [0, 4]], ids=str)
@pytest.mark.parametrize("data_type", PACKED_TYPES, ids=lambda each: ELEMENT_TYPES[each].name)
def test_one_identity_whether_raw_or_typed(
    data_type: int, shape: list[int], tmp_path: Path
) -> None:
    values = every_value(data_type, max(2, int(np.prod(shape))))[: int(np.prod(shape))]
    raw = numpy_helper.from_array(values.reshape(shape), "w")
    packed = typed(data_type, shape, values)
    assert not packed.raw_data
    expected = weigh(tmp_path / "raw", {"m.onnx": model(raw)}, sha256=False)
    found = weigh(tmp_path / "typed", {"m.onnx": model(packed)}, sha256=False)
    assert found.root is not None
    assert found.root == expected.root
    assert found.notes == ()
    assert found.tensors == expected.tensors
    assert found.tensors[0].encoding == PLAIN


@pytest.mark.parametrize("data_type", PACKED_TYPES, ids=lambda each: ELEMENT_TYPES[each].name)
def test_what_the_onnx_package_makes_has_one_identity(data_type: int, tmp_path: Path) -> None:
    kind = helper.tensor_dtype_to_np_dtype(data_type)
    values = np.array([0, 1, 1, 0, 1], kind)
    roots = {
        weigh(
            tmp_path / str(raw),
            {"m.onnx": model(helper.make_tensor("w", data_type, [5], values, raw=raw))},
            sha256=False,
        ).root
        for raw in (False, True)
    }
    assert len(roots) == 1
    assert None not in roots


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_are_told(dtype: str) -> None:
    data_type = next(number for number, kind in ELEMENT_TYPES.items() if kind.dtype == dtype)
    values = every_value(data_type, 24).reshape(4, 6)
    file = model(typed(data_type, [4, 6], values.reshape(-1)))
    (tensor,) = read(BytesReader("m.onnx", file), {}).tensors
    assert tensor.encoding == VARINT
    found = array(BytesReader("m.onnx", file), tensor)
    assert found.dtype == NUMBERS[dtype]
    np.testing.assert_array_equal(found, values)


def test_small_floats_and_truth_are_told() -> None:
    values = array(BytesReader("f", b"\x01\x80\x7f"), run("BF16", (2,), b"\x01\x80\x7f", 0))
    np.testing.assert_array_equal(values.view("u4") >> 16, [1, 0x3F80])
    truth = array(BytesReader("f", b"\x01\x00"), run("BOOL", (2,), b"\x01\x00", 0))
    assert truth.tolist() == [True, False]


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    st.integers(1, 40),
    st.integers(1, 30),
)
def test_windows_and_pieces_of_any_size(values: list[int], size: int, window: int) -> None:
    data = b"".join(map(varint, values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varints, "_WINDOW", window)
        found = content("I64", (len(values),), data, size)
    assert found == np.array(values, "<i8").tobytes()


@given(st.lists(st.integers(0, 63)), st.integers(1, 9), st.integers(1, 9))
def test_six_bits_in_windows_and_pieces_of_any_size(
    codes: list[int], size: int, window: int
) -> None:
    expected = sum(code << 6 * index for index, code in enumerate(codes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varints, "_WINDOW", window)
        found = content("F6_E2M3", (len(codes),), bytes(codes), size)
    assert found == expected.to_bytes((len(codes) * 6 + 7) // 8, "little")


@pytest.mark.parametrize(
    ("dtype", "number", "element"),
    [
        ("I8", -5, b"\xfb"),
        ("I8", 251, b"\xfb"),
        ("U8", -5, b"\xfb"),
        ("U8", 251, b"\xfb"),
        ("I32", 2**32 - 1, b"\xff" * 4),
        ("I4", -1, b"\xff"),
        ("U64", -1, b"\xff" * 8),
    ],
)
def test_integers_are_taken_with_their_sign_or_without(
    dtype: str, number: int, element: bytes
) -> None:
    assert content(dtype, (8 * len(element) // DTYPE_BITS[dtype],), varint(number)) == element


def test_a_number_may_be_longer_than_it_must() -> None:
    assert content("U8", (2,), b"\x85\x80\x80\x00\x06") == b"\x05\x06"


def test_a_single_number_that_is_not_packed() -> None:
    tensor = T(name="w", data_type=T.UINT8, dims=[]).SerializeToString() + b"\x28\x80\x01"
    file = model(T()).replace(b"\x2a\x00", b"\x2a" + bytes([len(tensor)]) + tensor)
    at = file.index(b"\x3a") + 1
    file = file[:at] + bytes([file[at] + len(tensor)]) + file[at + 1 :]
    (found,) = read(BytesReader("m.onnx", file), {}).tensors
    assert (found.encoding, found.stored, found.nbytes) == (VARINT, 2, 1)
    assert b"".join(chunks(BytesReader("m.onnx", file), found)) == b"\x80"


WRONG = [
    ("U8", (2,), b"\x01", "needs 2 numbers, but holds 1"),
    ("U8", (2,), b"\x01\x02\x03", "more than the 2 numbers"),
    ("U8", (2,), b"\x01\x80", "does not end"),
    ("U8", (2,), b"", "needs 2 numbers, but holds 0"),
    ("U8", (2,), b"\x80" * 12, "more than 64 bits"),
    ("U8", (2,), b"\x80" * 10 + b"\x00\x01", "more than 64 bits"),
    ("I64", (1,), b"\xff" * 9 + b"\x02", "more than 64 bits"),
    ("U8", (1,), varint(256), "the number 256, which is no U8"),
    ("U8", (1,), varint(-129), "the number -129"),
    ("I8", (1,), varint(-129), "the number -129"),
    ("I4", (2,), varint(256), "the number 256"),
    ("U16", (1,), varint(1 << 16), "the number 65536"),
    ("I32", (1,), varint(1 << 32), "the number 4294967296"),
    ("U32", (1,), varint(-1), "the number -1"),
    ("F16", (1,), varint(-1), "the number -1"),
    ("F8_E4M3", (1,), varint(256), "the number 256"),
    ("F6_E3M2", (1,), varint(64), "the number 64"),
    ("BOOL", (1,), varint(2), "the number 2"),
    ("F32", (1,), varint(2), "never stored as varints"),
]


@pytest.mark.parametrize(("dtype", "shape", "data", "why"), WRONG)
@pytest.mark.parametrize("window", [1, 1 << 16])
def test_what_does_not_fit_is_refused(
    dtype: str, shape: tuple[int, ...], data: bytes, why: str, window: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(varints, "_WINDOW", window)
    with pytest.raises(CheckpointError) as caught:
        content(dtype, shape, data)
    assert why in caught.value.why
    assert caught.value.file == "f"
    assert caught.value.offset is not None
    assert 3 <= caught.value.offset <= 3 + len(data)


def test_a_run_behind_the_end_of_the_file() -> None:
    with pytest.raises(Truncated):
        list(chunks(BytesReader("f", b"abc\x01"), run("U8", (2,), b"\x01\x02")))


def test_memory_does_not_grow_with_the_run() -> None:
    data = bytes(8_000_000)
    reader, tensor = BytesReader("f", data), run("I64", (len(data),), data, 0)
    tracemalloc.start()
    try:
        assert sum(len(piece) for piece in chunks(reader, tensor)) == 8 * len(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
