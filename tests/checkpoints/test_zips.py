"""The zip reader: honest archives, and those that say two things at once."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.zips import DEFLATED, STORED, ZipMember, directory, read_member
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.memory import BytesReader
from tests.checkpoints.torch_files import Member, zip_end, zip_file


def members(data: bytes, limits: Limits | None = None) -> tuple[ZipMember, ...]:
    return directory(BytesReader("a.zip", data), limits or Limits())


def content(data: bytes, name: str, limit: int = 1 << 20) -> bytes:
    member = next(item for item in members(data) if item.name == name)
    return read_member(BytesReader("a.zip", data), member, limit)


def python_zip(files: dict[str, bytes], method: int, *, zip64: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            with archive.open(name, "w", force_zip64=zip64) as member:
                member.write(data)
    return out.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(
        st.text("abcé/._-", min_size=1, max_size=12).filter(
            lambda name: not name.startswith("/") and ".." not in name.split("/")
        ),
        st.binary(max_size=300),
        max_size=6,
    ),
    method=st.sampled_from([STORED, DEFLATED]),
    zip64=st.booleans(),
)
def test_what_python_writes_is_read_back(files: dict[str, bytes], method: int, zip64: bool) -> None:
    data = python_zip(files, method, zip64=zip64)
    assert {item.name: content(data, item.name) for item in members(data)} == files


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("flags", [0, 8, 0x800 | 8])
@pytest.mark.parametrize("padding", [0, 1000])
def test_offsets_come_from_the_local_header(zip64: bool, flags: int, padding: int) -> None:
    data = zip_file(
        [
            Member("a/one", b"11", padding=padding, flags=flags),
            Member("a/two", b"2" * 50, deflate=True, padding=padding, flags=flags),
            Member("a/empty", b"", flags=flags),
        ],
        zip64=zip64,
    )
    one, two, empty = members(data)
    assert data[one.data_offset : one.data_offset + 2] == b"11"
    assert one.data_offset == 30 + 5 + 4 + padding
    assert (two.method, two.size) == (DEFLATED, 50)
    assert content(data, "a/two") == b"2" * 50
    assert empty.size == 0


def test_reads_little() -> None:
    class Counting(BytesReader):
        count = 0
        total = 0

        def read(self, offset: int, length: int) -> bytes:
            self.count += 1
            self.total += length
            return super().read(offset, length)

    data = zip_file(Member(f"a/data/{n}", bytes(10_000)) for n in range(100))
    reader = Counting("a.zip", data)
    assert len(directory(reader, Limits())) == 100
    assert reader.count == 102
    assert reader.total < 100_000 < len(data)


def test_a_comment_is_allowed() -> None:
    data = zip_file([Member("a", b"1")], comment=b"c" * 65535)
    assert content(data, "a") == b"1"


A, B = Member("a", b"1" * 20), Member("b", b"2" * 20)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(zip_file([A, A]), "two members named a", id="duplicate"),
        pytest.param(zip_file([A, Member("b", b"2", offset=0)]), "disagree", id="same header"),
        pytest.param(
            zip_file([Member("a", b"1" * 9, size=8, local_size=8)]), "states 8", id="stored size"
        ),
        pytest.param(zip_file([Member("a", b"1", local_name="b")]), "disagree", id="name"),
        pytest.param(zip_file([Member("a", b"1", local_method=8)]), "disagree", id="method"),
        pytest.param(zip_file([Member("a", b"1", local_size=7)]), "disagree", id="size"),
        pytest.param(zip_file([Member("/a", b"1")]), "leads out", id="absolute"),
        pytest.param(zip_file([Member("a/../../b", b"1")]), "leads out", id="dots"),
        pytest.param(zip_file([Member("a\\..\\b", b"1")]), "leads out", id="backslash"),
        pytest.param(zip_file([Member("c:/a", b"1")]), "leads out", id="drive"),
        pytest.param(zip_file([Member("a\0.pkl", b"1")]), "leads out", id="zero"),
        pytest.param(zip_file([Member("", b"1")]), "leads out", id="no name"),
        pytest.param(zip_file([Member("a", b"", offset=10**6)]), "outside", id="offset"),
        pytest.param(zip_file([A]) + b"more", "bytes follow", id="after the end"),
        pytest.param(b"x" + zip_file([A]), "not where it should", id="before the start"),
        pytest.param(zip_file([A], zip64=True)[1:], "not where it should", id="first byte cut"),
        pytest.param(b"PK\3\4" + zip_end(4, 0, 3, False), "do not fit", id="count"),
        pytest.param(zip_end(0, 0, 0, False)[:-1] + b"\1", "bytes follow", id="comment"),
    ],
)
def test_what_contradicts_itself_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        members(data)
    assert caught.value.file == "a.zip"


def test_members_that_overlap_are_refused() -> None:
    # The second member lies in the bytes of the first: the kernel of a zip bomb.
    inner = zip_file([B])[: 30 + 1 + 4 + 20]
    data = zip_file([Member("a", inner), Member("b", b"2" * 20, offset=30 + 1 + 4)])
    with pytest.raises(CheckpointError, match="overlaps"):
        members(data)


@pytest.mark.parametrize(
    "data",
    [
        zip_file([Member("a", b"1", flags=1)]),
        zip_file([Member("a", b"1", flags=1 << 6)]),
        zip_file([Member("a", b"1", method=12)]),
        zip_file([Member("a", b"1", method=99)]),
        b"PK\5\6" + struct.pack("<4H2LH", 1, 1, 0, 0, 0, 0, 0),
    ],
    ids=["encrypted", "strongly encrypted", "bzip2", "aes", "split"],
)
def test_what_no_checkpoint_uses_is_unsupported(data: bytes) -> None:
    with pytest.raises(Unsupported):
        members(data)


def test_the_two_end_records_must_agree() -> None:
    data = bytearray(zip_file([A], zip64=True))
    data[-22 + 10] += 1
    with pytest.raises(CheckpointError, match="disagree"):
        members(bytes(data))


@pytest.mark.parametrize(
    "limits", [Limits(members=1), Limits(header_bytes=90), Limits(name_bytes=0)]
)
def test_limits_are_kept(limits: Limits) -> None:
    with pytest.raises(LimitExceeded):
        members(zip_file([A, B]), limits)


def test_a_claimed_size_costs_nothing() -> None:
    # 2**60 bytes of directory, 2**40 members: refused before anything of that size is made.
    end = bytearray(zip_end(0, 2**60, 2**40, True))
    end[64:72] = bytes(8)
    with pytest.raises(CheckpointError, match="not where it should"):
        members(bytes(end))


def test_a_bomb_stops_at_the_limit() -> None:
    data = zip_file([Member("a", bytes(10_000_000), deflate=True)])
    assert len(data) < 20_000
    with pytest.raises(LimitExceeded):
        content(data, "a", limit=1_000_000)


@pytest.mark.parametrize("size", [0, 99_999, 100_001])
def test_a_member_inflates_to_what_it_states_or_not_at_all(size: int) -> None:
    data = zip_file([Member("a", bytes(100_000), deflate=True, size=size)])
    with pytest.raises(CheckpointError, match="does not inflate to"):
        content(data, "a")


def test_damaged_deflate_is_refused() -> None:
    data = bytearray(zip_file([Member("a", bytes(range(256)) * 9, deflate=True)]))
    data[40] ^= 0xFF
    with pytest.raises(CheckpointError, match="inflate"):
        content(bytes(data), "a")


def test_every_truncation_is_refused() -> None:
    data = zip_file([A, Member("b", bytes(500), deflate=True)], zip64=True)
    for end in range(len(data)):
        with pytest.raises(CheckpointError):
            members(data[:end])
    with pytest.raises(Truncated):
        members(data[:50])
