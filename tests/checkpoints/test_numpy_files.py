from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.data import array
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.checkpoints.numpy_files import read_npy, read_npz
from steelyard.checkpoints.tensors import Checkpoint, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.memory import BytesReader

FILE = "sub/weights.npy"
DTYPES = ["?", "i1", "u1", "<i2", ">u2", "<f2", ">f4", "<f4", ">i8", "<u8", "<f8", ">c8", "<c16"]

ARRAYS = st.builds(
    lambda shape, dtype, order: np.asarray(
        (np.arange(int(np.prod(shape))) % (2 if dtype == "?" else 99)).reshape(shape),
        dtype=dtype,
        order=order,
    ),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from(DTYPES),
    st.sampled_from(["C", "F"]),
)


def saved(value: Any, version: tuple[int, int] | None = None, pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, value, version, allow_pickle=pickle)
    return file.getvalue()


def npy(header: str | bytes, data: bytes = bytes(64), version: int = 1) -> bytes:
    body = header.encode("latin-1") if isinstance(header, str) else header
    width = 2 if version == 1 else 4
    prefix = b"\x93NUMPY" + bytes([version, 0]) + len(body).to_bytes(width, "little")
    return prefix + body + data


def load(data: bytes) -> Checkpoint:
    return read_npy(BytesReader(FILE, data))


@given(ARRAYS, st.sampled_from([None, (1, 0), (2, 0), (3, 0)]))
def test_npy_is_read_as_numpy_wrote_it(value: Any, version: tuple[int, int] | None) -> None:
    data = saved(value, version)
    reader = BytesReader(FILE, data)
    checkpoint = read_npy(reader)
    (tensor,) = checkpoint.tensors
    assert checkpoint.problems == ()
    assert (tensor.name, tensor.file) == ("weights", FILE)
    assert tensor.offset is not None
    assert tensor.offset + tensor.nbytes == len(data)
    np.testing.assert_array_equal(array(reader, tensor), value)
    assert array(reader, tensor).dtype == value.dtype.newbyteorder("<")


@given(st.dictionaries(st.text("abc/.", min_size=1, max_size=4), ARRAYS, max_size=4), st.booleans())
def test_npz_is_read_as_numpy_wrote_it(values: dict[str, Any], packed: bool) -> None:
    values = {f"w{name}": value for name, value in values.items() if ".." not in name}
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, allow_pickle=False, **values)
    reader = BytesReader("weights.npz", file.getvalue())
    checkpoint = read_npz(reader)
    assert checkpoint.problems == ()
    assert [tensor.name for tensor in checkpoint.tensors] == sorted(values)
    for tensor in checkpoint.tensors:
        assert (tensor.offset is None) is packed
        assert tensor.member == (f"{tensor.name}.npy" if packed else None)
        np.testing.assert_array_equal(array(reader, tensor), values[tensor.name])


def test_objects_are_reported_and_never_loaded() -> None:
    data = saved(np.array([print, {}], object), pickle=True)
    checkpoint = load(data)
    assert checkpoint.tensors == ()
    (problem,) = checkpoint.problems
    assert problem.kind is ProblemKind.OTHER_CONTENT
    assert "Python objects" in problem.what
    assert problem.offset is not None
    assert data[problem.offset] == 0x80  # the pickle begins here


@pytest.mark.parametrize(
    ("dtype", "what"),
    [
        ([("a", "f4"), ("b", "O")], "Python objects"),
        ([("a", "f4"), ("b", [("c", "i8"), ("d", "f8", (2, 3))])], "records"),
        ("S5", '"|S5"'),
        ("U5", '"<U5"'),
        ("M8[s]", '"<M8[s]"'),
        ("V2", '"|V2"'),
        (np.longdouble, "f16"),
    ],
)
def test_elements_that_are_no_numbers_are_reported(dtype: Any, what: str) -> None:
    (problem,) = load(saved(np.zeros(2, dtype), pickle=True)).problems
    objects = what == "Python objects"
    assert problem.kind is (ProblemKind.OTHER_CONTENT if objects else ProblemKind.NOT_FULLY_READ)
    assert what in problem.what


def test_bytes_behind_the_elements_are_reported() -> None:
    data = saved(np.zeros(2))
    (problem,) = load(data + b"xyz").problems
    assert (problem.kind, problem.offset) == (ProblemKind.UNUSED_BYTES, len(data))
    assert problem.what.startswith("3 bytes")


def test_headers_of_python_2_are_read() -> None:
    data = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 4L), }", bytes(32))
    assert load(data).tensors[0].shape == (2, 4)


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }"


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        "{'shape':(4,4),'fortran_order':False,'descr':'<f4'}",
        " { 'shape' : ( 16 , ) , 'fortran_order' : True , 'descr' : '<f4' , } \n",
    ],
)
def test_entries_come_in_any_order_and_spacing(header: str) -> None:
    assert load(npy(header)).tensors[0].elements == 16
    assert np.load(io.BytesIO(npy(header))).size == 16


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "{",
        "[" * 60_000,
        "{'descr': " + "[" * 60_000,
        "{'descr': [('a', '<f4'), 'fortran_order': False, 'shape': ()}",
        "()",
        "__import__('os').system('true')",
        GOOD + "}",
        GOOD + "1",
        GOOD.replace("False", "0"),
        GOOD.replace("False", "None"),
        GOOD.replace("(4, 4)", "4"),
        GOOD.replace("(4, 4)", "(16)"),
        GOOD.replace("(4, 4)", "(4 4)"),
        GOOD.replace("(4, 4)", "(,)"),
        GOOD.replace("(4, 4)", "(4,, 4)"),
        GOOD.replace("(4, 4)", "(-4, 4)"),
        GOOD.replace("(4, 4)", "(4.0, 4)"),
        GOOD.replace("(4, 4)", "(True, 16)"),
        GOOD.replace("(4, 4)", "(" + "9" * 5000 + ",)"),
        GOOD.replace("(4, 4)", "(4, 4"),
        GOOD.replace("'shape'", "shape"),
        GOOD.replace("'shape'", "'shapes'"),
        GOOD.replace("'descr'", "'shape'"),
        GOOD.replace("'<f4'", "3"),
        GOOD.replace("'<f4'", "True"),
        GOOD.replace("'<f4'", "'|f4'"),
        GOOD.replace("'<f4'", "'=f4'"),
        GOOD.replace("'<f4'", "'<f4"),
        GOOD.replace("'<f4'", "'\\x3cf4'"),
        GOOD.replace(", }", ",, }"),
        GOOD.replace("': ", "' "),
        GOOD.replace(", 'f", " 'f"),
    ],
)
def test_headers_that_numpy_never_writes_are_refused(header: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(npy(header))
    assert (caught.value.file, caught.value.offset) == (FILE, 0)
    assert caught.value.fix


def test_a_file_cut_short_is_refused() -> None:
    data = saved(np.zeros((3, 3)))
    for end in range(len(data)):
        with pytest.raises(CheckpointError) as caught:
            load(data[:end])
        assert isinstance(caught.value, Truncated) is (end >= 6)
        assert caught.value.file == FILE


def test_versions_and_lengths_beyond_are_refused() -> None:
    with pytest.raises(Unsupported, match="version 4"):
        load(npy(GOOD, version=4))
    with pytest.raises(LimitExceeded):
        load(npy(GOOD + " " * 70_000, version=2))
    long = b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(10)
    with pytest.raises(CheckpointError):
        load(long)


def test_shapes_beyond_the_file_or_any_machine_are_refused() -> None:
    with pytest.raises(Truncated) as caught:
        load(npy(GOOD.replace("(4, 4)", "(4, 5)")))
    assert caught.value.offset == 10 + len(GOOD)
    with pytest.raises(LimitExceeded):
        load(npy(GOOD.replace("(4, 4)", f"({2**40}, {2**40}, 0)")))
    with pytest.raises(LimitExceeded, match="`rank`"):
        load(npy(GOOD.replace("(4, 4)", "(" + "1," * 33 + ")")))


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        for name, data in members.items():
            zipped.writestr(name, data)
    return file.getvalue()


def test_other_members_are_reported() -> None:
    data = archive({"a.npy": saved(np.zeros(2)), "sub/": b"", "x.txt": b"hello", "y": b""})
    checkpoint = read_npz(BytesReader("w.npz", data))
    assert [tensor.name for tensor in checkpoint.tensors] == ["a"]
    (problem,) = checkpoint.problems
    assert problem.kind is ProblemKind.NOT_FULLY_READ
    assert problem.what.startswith('2 of the archive\'s members are no arrays ("x.txt", "y")')
    assert problem.offset == data.index(b"PK\x03\x04", data.index(b"sub/"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_long_header_is_read_whole(method: int) -> None:
    header = GOOD[:-1] + " " * 60_000 + "}"
    data = archive({"a.npy": npy(header)}, method)
    assert read_npz(BytesReader("w.npz", data)).tensors[0].shape == (4, 4)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "inner",
    [b"", b"\x93NUMPY", b"not an array, but long enough", npy(GOOD, b""), npy("{}"),
     npy(GOOD)[:40], npy(GOOD + " " * 70_000, version=2)],
)  # fmt: skip
def test_damaged_arrays_within_an_archive_are_refused(inner: bytes, method: int) -> None:
    data = archive({"a.npy": inner}, method)
    with pytest.raises(CheckpointError) as caught:
        read_npz(BytesReader("w.npz", data))
    assert caught.value.file == "w.npz"
    assert caught.value.offset is not None


def test_a_size_that_no_stream_can_hold_is_refused() -> None:
    data = bytearray(archive({"a.npy": npy(GOOD)}, zipfile.ZIP_DEFLATED))
    size = len(npy(GOOD)).to_bytes(4, "little")
    forged = bytes(data).replace(size, (1 << 30).to_bytes(4, "little"))
    assert forged != data
    with pytest.raises(CheckpointError, match="claims to inflate"):
        read_npz(BytesReader("w.npz", forged))


def test_a_member_that_inflates_to_more_than_it_states_is_refused() -> None:
    size = len(npy(GOOD)).to_bytes(4, "little")
    whole = archive({"a.npy": npy(GOOD)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError):
        read_npz(BytesReader("w.npz", whole.replace(size, (8).to_bytes(4, "little"))))


def test_the_number_of_arrays_is_bounded() -> None:
    data = archive({f"{n}.npy": saved(np.zeros(1)) for n in range(3)})
    with pytest.raises(LimitExceeded, match="`tensors`"):
        read_npz(BytesReader("w.npz", data), replace(DEFAULT_LIMITS, tensors=2))


def test_compressed_arrays_are_not_inflated_beyond_their_header() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.random.default_rng(1).random(500_000))
    reads: list[int] = []

    class Counting(BytesReader):
        def read(self, offset: int, length: int) -> bytes:
            reads.append(length)
            return super().read(offset, length)

    assert read_npz(Counting("w.npz", file.getvalue())).tensors[0].nbytes == 4_000_000
    assert sum(reads) < 100_000
