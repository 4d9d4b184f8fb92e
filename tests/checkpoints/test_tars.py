"""Tars are walked as Python's own library walks them."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints.tars import members
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.memory import BytesReader
from tests.checkpoints.tar_files import END, header, padded, pax

MOST = 1000
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)
WITHOUT_DATA = frozenset(KINDS[1:])
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=90)
Walked = list[tuple[str, str, int, int]]


def walked(data: bytes) -> Walked:
    return [
        (each.name.rstrip("/"), each.target, each.start, each.size if each.is_file else 0)
        for each in members(BytesReader("f", data), MOST)
    ]


def by_python(data: bytes) -> Walked:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            (
                each.name,
                each.linkname,
                each.offset_data,
                0 if each.type in WITHOUT_DATA else each.size,
            )
            for each in archive
        ]


def written(form: int, names: list[tuple[str, bytes, bytes]], folder: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, kind, data in names:
            info = tarfile.TarInfo(folder + name)
            info.type = kind
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            info.linkname = name if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


@settings(deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(NAMES, st.sampled_from(KINDS), st.binary(max_size=1200)), max_size=6),
)
def test_what_python_writes_is_walked_as_python_does(
    form: int, names: list[tuple[str, bytes, bytes]]
) -> None:
    data = written(form, names)
    assert walked(data) == by_python(data)
    assert all(each.is_certain for each in members(BytesReader("f", data), MOST))


@pytest.mark.parametrize("form", FORMATS[1:])
def test_long_names(form: int) -> None:
    data = written(form, [("a", tarfile.REGTYPE, b"x"), ("b", tarfile.SYMTYPE, b"")], "d/" * 200)
    assert walked(data) == by_python(data)


ODD = {
    "a size by pax": pax({"size": "512"}) + header("z", 0) + bytes(512),
    "a size in base 256": header("z", 600, binary=True) + padded(b"y" * 600),
    "a folder with a size": header("d/", 512, b"5"),
    "a folder of Unix 7": header("d/", 512, b"\0", mark=False),
    "a link with a size": header("l", 512, b"2"),
    "a kind that nobody knows": header("z", 3, b"Z") + padded(b"abc"),
    "a header of Unix 7": header("z", 3, b"\0", mark=False) + padded(b"abc"),
    "a name by pax for all": pax({"path": "all"}, b"g") + header("z", 3) + padded(b"abc"),
}
BEHIND = header("w.bin", 3) + padded(b"end") + END


@pytest.mark.parametrize("before", ODD)
def test_what_is_odd_hides_nothing_behind_it(before: str) -> None:
    found = walked(ODD[before] + BEHIND)
    assert [(start, size) for _, _, start, size in found] == [
        (start, size) for _, _, start, size in by_python(ODD[before] + BEHIND)
    ]
    assert (ODD[before] + BEHIND)[found[-1][2] :].startswith(b"end")


def test_what_makes_no_sense_is_told() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        walked(header("a", 9000) + padded(b"x"))
    with pytest.raises(CheckpointError, match="damaged"):
        walked(BEHIND[:1024] + b"x" * 512)
    with pytest.raises(LimitExceeded, match="names of 2000000 bytes"):
        walked(header("a", 2_000_000, b"L") + bytes(2_000_000))
    with pytest.raises(LimitExceeded, match="first 3 members"):
        list(members(BytesReader("f", header("a", 0) * 9), 3))
    (sparse, _) = members(BytesReader("f", header("a", 3, b"S") + padded(b"x") + BEHIND), MOST)
    assert sparse.is_sparse
    (named, _) = members(
        BytesReader("f", pax({"GNU.sparse.major": "1"}) + header("a", 3) + padded(b"x") + BEHIND),
        MOST,
    )
    assert named.is_sparse


@settings(max_examples=200)
@given(st.binary(max_size=1500), st.sampled_from([*ODD.values()]), st.integers(0, 1023))
def test_any_bytes_are_walked_or_refused(data: bytes, before: bytes, at: int) -> None:
    with contextlib.suppress(CheckpointError):
        walked(before[:at] + data + before[at:])
