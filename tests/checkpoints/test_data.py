from __future__ import annotations

import io
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints import data as module
from steelyard.checkpoints.data import array, chunks, stored_bytes
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.checkpoints.tensors import DTYPE_BITS, Tensor
from steelyard.checkpoints.zips import directory
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.memory import BytesReader

NAMES = {
    "BOOL": "u1", "U8": "u1", "I8": "i1", "I16": "i2", "U16": "u2", "F16": "f2", "I32": "i4",
    "U32": "u4", "F32": "f4", "I64": "i8", "U64": "u8", "F64": "f8", "C64": "c8", "C128": "c16",
}  # fmt: skip


def tensor(dtype: str, shape: tuple[int, ...], offset: int | None = 0, **more: Any) -> Tensor:
    nbytes = DTYPE_BITS[dtype]
    for size in shape:
        nbytes *= size
    values: dict[str, Any] = {"encoding": "plain", "file": "f", "nbytes": -(-nbytes // 8)}
    return Tensor("t", dtype, shape, offset=offset, **(values | more))


def joined(reader: BytesReader, wanted: Tensor, size: int = 7) -> bytes:
    pieces = list(chunks(reader, wanted, size))
    width = DTYPE_BITS[wanted.dtype] // 8 if wanted.encoding == "plain" else 1
    assert all(0 < piece.nbytes <= max(size, width) for piece in pieces)
    assert all(piece.format == "B" and piece.contiguous for piece in pieces)
    return b"".join(pieces)


@st.composite
def views(draw: st.DrawFn) -> tuple[bytes, Tensor, np.ndarray[Any, Any]]:
    """A file, a tensor of it in any layout, and what its numbers are."""
    dtype = draw(st.sampled_from(sorted(NAMES)))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    order = draw(st.permutations(range(len(shape))))
    big = draw(st.booleans())
    count = int(np.prod(shape))
    values = (np.arange(count) % (2 if dtype == "BOOL" else 100)).astype(NAMES[dtype])
    stored = values.reshape([shape[axis] for axis in order])
    before = draw(st.integers(0, 5))
    wanted = stored.transpose(np.argsort(order)) if shape else stored
    raw = bytes(before) + stored.astype(stored.dtype.newbyteorder(">" if big else "<")).tobytes()
    strides = tuple(step // stored.itemsize for step in wanted.strides)
    described = tensor(dtype, shape, before, strides=strides, byteorder="big" if big else "little")
    return raw + b"x", described, wanted


@given(views(), st.integers(1, 64))
def test_every_layout_comes_out_the_same(
    case: tuple[bytes, Tensor, np.ndarray[Any, Any]], size: int
) -> None:
    data, described, expected = case
    reader = BytesReader("f", data)
    assert joined(reader, described, size) == np.ascontiguousarray(expected).tobytes()
    found = array(reader, described)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def test_plain_bytes_come_in_bounded_pieces() -> None:
    data = bytes(range(40))
    pieces = list(chunks(BytesReader("f", data), tensor("F32", (8,), 4), 13))
    assert [piece.nbytes for piece in pieces] == [12, 12, 8]
    assert b"".join(pieces) == data[4:36]


def test_an_array_outlives_its_reader() -> None:
    found = array(BytesReader("f", bytes(8)), tensor("F32", (2,)))
    assert found.base is None or found.base.flags.owndata
    assert found.flags.writeable


def test_blocks_are_given_as_they_are_stored() -> None:
    data = bytes(range(54))
    blocks = Tensor("t", "F32", (64,), "Q4_0", "f", 10, 36)
    assert joined(BytesReader("f", data), blocks) == data[10:46]
    with pytest.raises(Unsupported, match="are not read"):
        array(BytesReader("f", data), blocks)


SMALL = {
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}


@pytest.mark.parametrize("dtype", SMALL)
def test_every_value_of_the_small_floats(dtype: str) -> None:
    width = DTYPE_BITS[dtype] // 8
    data = np.arange(256**width, dtype=f"<u{width}").tobytes()
    found = array(BytesReader("f", data), tensor(dtype, (256**width,)))
    expected = np.frombuffer(data, SMALL[dtype]).astype(np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[finite]), np.signbit(expected[finite]))


def test_big_endian_bfloat16() -> None:
    data = np.arange(500, dtype=">u2").tobytes()
    found = array(BytesReader("f", data), tensor("BF16", (500,), byteorder="big"))
    np.testing.assert_array_equal(found.view("u4") >> 16, np.arange(500))


def test_any_byte_but_zero_is_true() -> None:
    found = array(BytesReader("f", bytes([0, 1, 2, 255])), tensor("BOOL", (2, 2)))
    assert found.tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("dtype", ["F4", "I4", "U2", "F6_E2M3"])
def test_elements_below_a_byte_come_as_stored_only(dtype: str) -> None:
    packed = tensor(dtype, (8,))
    data = bytes(range(packed.nbytes))
    assert joined(BytesReader("f", data), packed) == data
    with pytest.raises(Unsupported):
        array(BytesReader("f", data), packed)
    with pytest.raises(Unsupported):
        joined(BytesReader("f", data), tensor(dtype, (2, 4), strides=(1, 2)))


def npz(values: dict[str, Any]) -> BytesReader:
    file = io.BytesIO()
    np.savez_compressed(file, **values)
    return BytesReader("f", file.getvalue())


def inflated(name: str, dtype: str, shape: tuple[int, ...], **more: Any) -> Tensor:
    return tensor(dtype, shape, None, member=name, **more)


def test_compressed_members_are_inflated_as_they_are_read() -> None:
    value = np.random.default_rng(3).integers(0, 9, 300_000).astype("<i4")
    reader = npz({"a": value, "b": value[:10]})
    wanted = inflated("a.npy", "I32", (300_000,))
    sizes = [piece.nbytes for piece in chunks(reader, wanted, 500_003)]
    assert sizes == [500_000, 500_000, 200_000]
    assert joined(reader, wanted, 500_003) == value.tobytes()
    members = {member.name: member for member in directory(reader)}
    np.testing.assert_array_equal(array(reader, wanted, members=members), value)


def test_a_compressed_transposed_big_endian_array() -> None:
    value = np.arange(600, dtype=">u2").reshape(20, 30)
    reader = npz({"a": np.asfortranarray(value)})
    wanted = inflated("a.npy", "U16", (20, 30), strides=(1, 20), byteorder="big")
    np.testing.assert_array_equal(array(reader, wanted), value)


def raw_archive() -> BytesReader:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("data/0", bytes(range(200)))
        zipped.writestr("x.npy", b"no array, but compressed all the same")
    return BytesReader("f", file.getvalue())


def test_a_member_without_a_header_is_all_elements() -> None:
    assert joined(raw_archive(), inflated("data/0", "U8", (200,))) == bytes(range(200))


def test_a_stored_member_is_streamed_too() -> None:
    file = io.BytesIO()
    np.savez(file, a=np.arange(200, dtype="u1"))
    reader = BytesReader("f", file.getvalue())
    assert joined(reader, inflated("a.npy", "U8", (200,))) == bytes(range(200))


@pytest.mark.parametrize("start", [b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00\0\0\2\0" + bytes(90)])
def test_a_member_that_is_no_npy_file_is_refused(start: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.npy", start)
    with pytest.raises(CheckpointError):
        joined(BytesReader("f", file.getvalue()), inflated("a.npy", "U8", (8,)))


@pytest.mark.parametrize(
    ("wanted", "kind", "what"),
    [
        (inflated("data/0", "U8", (100,)), Unsupported, "not read"),
        (inflated("data/1", "U8", (200,)), CheckpointError, "cannot be read"),
        (inflated("x.npy", "U8", (3,)), CheckpointError, "cannot be read"),
        (tensor("U8", (200,), None), Unsupported, "not read"),
        (tensor("I64", (2,), None, encoding="varint"), Unsupported, "not read"),
        (tensor("U8", (3,), encoding="varint", nbytes=2), CheckpointError, "cannot be read"),
        (tensor("U8", (3,), encoding="varint", strides=(2,)), Unsupported, "not read"),
        (tensor("U8", (3,), nbytes=2), CheckpointError, "cannot be read"),
        (tensor("U8", (3,), strides=(1, 1)), CheckpointError, "cannot be read"),
        (tensor("U8", (3,), strides=(-1,)), CheckpointError, "cannot be read"),
        (tensor("U8", (3, 2), strides=(5, 1)), CheckpointError, "cannot be read"),
        (tensor("U8", (2, 2), strides=(1, 2), encoding="Q4_0"), Unsupported, "not read"),
        (tensor("U8", (10_000,)), Truncated, "but the file ends"),
        (tensor("U8", (100, 100), strides=(1, 100)), Truncated, "but the file ends"),
    ],
)
def test_what_does_not_fit_is_refused(
    wanted: Tensor, kind: type[CheckpointError], what: str
) -> None:
    with pytest.raises(kind, match=what) as caught:
        joined(raw_archive(), wanted)
    assert caught.value.file == "f"


def test_a_member_that_ends_early_is_truncated() -> None:
    with pytest.raises(Truncated, match="lacks 6 bytes") as caught:
        joined(npz({"a": np.zeros(10, "u1")}), inflated("a.npy", "U8", (16,)))
    assert caught.value.offset is not None


def test_a_damaged_stream_is_refused() -> None:
    reader = raw_archive()
    (member, *_) = directory(reader)
    broken = bytearray(reader.read(0, reader.size))
    broken[member.data_offset : member.data_offset + 4] = b"\xff" * 4
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        joined(BytesReader("f", bytes(broken)), inflated("data/0", "U8", (200,)))
    assert "inflate" in caught.value.why
    assert caught.value.offset == member.data_offset


def test_repeated_elements_are_bounded() -> None:
    reader = BytesReader("f", bytes(8))
    few = tensor("F32", (1000, 2), strides=(0, 1), nbytes=8)
    assert joined(reader, few, 256) == bytes(8000)
    many = tensor("F32", (1 << 40, 2), strides=(0, 1), nbytes=8)
    with pytest.raises(LimitExceeded, match="repeats 2 stored elements"):
        next(chunks(reader, many))


def test_large_compressed_transposed_arrays_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_BYTES", 100)
    reader = npz({"a": np.zeros((20, 30), order="F")})
    with pytest.raises(LimitExceeded, match="not row-major"):
        joined(reader, inflated("a.npy", "F64", (20, 30), strides=(1, 20)))


def test_an_array_is_never_larger_than_its_limit() -> None:
    reader = BytesReader("f", bytes(8))
    assert array(reader, tensor("F8_E4M3", (8,)), 32).nbytes == 32
    with pytest.raises(LimitExceeded, match="32 bytes of memory, more than 31"):
        array(reader, tensor("F8_E4M3", (8,)), 31)


@given(
    st.sampled_from(sorted(DTYPE_BITS)),
    st.lists(st.integers(0, 2**80) | st.integers(0, 9), max_size=9),
)
def test_stored_bytes_are_exact_or_refused(dtype: str, shape: list[int]) -> None:
    bits = DTYPE_BITS[dtype]
    for size in shape:
        bits *= size
    sound = bits % 8 == 0 and all(size < 10 for size in shape)
    if sound:
        found = stored_bytes(dtype, shape, name="t", file="f", offset=3, limits=DEFAULT_LIMITS)
        assert found * 8 == bits
    elif bits % 8 or bits >= 1 << 63:
        with pytest.raises(CheckpointError) as caught:
            stored_bytes(dtype, shape, name="t", file="f", offset=3, limits=DEFAULT_LIMITS)
        assert (caught.value.file, caught.value.offset) == ("f", 3)
