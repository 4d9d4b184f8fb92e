"""The file of a registry: the same bytes for the same entries, and no crash whatever they are."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import (
    CheckpointError,
    LimitExceeded,
    SourceError,
    SteelyardError,
    Truncated,
    Unsupported,
)
from steelyard.lineage.known.archive import (
    MOST_ENTRIES,
    MOST_RECORD,
    Archive,
    Item,
    Selection,
    Shelf,
    Stack,
    save,
    write,
)
from steelyard.lineage.known.search import WORDS


def item(seed: int, record: bytes = b'{"name":"a"}', size: int = 40) -> Item:
    chance = np.random.default_rng(seed)
    words = chance.integers(0, 2**63, WORDS, dtype=np.uint64)
    return Item(record, chance.bytes(size), words)


def written(shelf: Shelf) -> bytes:
    stream = io.BytesIO()
    write(shelf, stream)
    return stream.getvalue()


def opened(data: bytes) -> Archive:
    return Archive(io.BytesIO(data))


def read_all(shelf: Shelf) -> list[tuple[bytes, bytes, bytes, list[int]]]:
    return [
        (shelf.record(i), shelf.sketch(i), shelf.digest(i), shelf.signatures[:, i].tolist())
        for i in range(len(shelf))
    ]


ITEMS = st.lists(
    st.builds(
        item, st.integers(0, 99), record=st.binary(max_size=60), size=st.integers(0, 90)
    ),
    max_size=6,
)  # fmt: skip


@given(ITEMS)
def test_what_is_written_is_read_and_written_again_as_the_same_bytes(items: list[Item]) -> None:
    data = written(Stack(items))
    archive = opened(data)
    assert read_all(archive) == read_all(Stack(items))
    assert written(archive) == data


@given(ITEMS, st.data())
def test_a_selection_gives_what_it_was_chosen_from(items: list[Item], data: st.DataObject) -> None:
    first, second = Stack(items), opened(written(Stack(items[::-1])))
    places = [(shelf, i) for shelf in (first, second) for i in range(len(items))]
    chosen = data.draw(st.lists(st.sampled_from(places), max_size=8)) if places else []
    expected = [read_all(shelf)[i] for shelf, i in chosen]
    assert read_all(Selection(chosen)) == expected
    assert read_all(opened(written(Selection(chosen)))) == expected


@given(st.lists(st.sampled_from([b"ab", b"ba", b"", b"xab", b"abab"]), max_size=6))
def test_records_are_found_by_what_they_contain(records: list[bytes]) -> None:
    stack = Stack([item(0, record) for record in records])
    expected = [i for i, record in enumerate(records) if b"ab" in record]
    assert list(stack.containing(b"ab")) == expected
    assert list(opened(written(stack)).containing(b"ab")) == expected
    assert list(Selection([(stack, i) for i in range(len(stack))]).containing(b"ab")) == expected


SMALL = written(Stack([item(1), item(2, b'{"name":"b"}'), item(3, b'{"name":"c"}')]))


@given(st.data())
def test_a_changed_byte_is_an_error_when_it_is_read(data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(SMALL) - 1))
    value = data.draw(st.integers(1, 255))
    damaged = bytearray(SMALL)
    damaged[where] ^= value
    with pytest.raises(CheckpointError):
        read_all(opened(bytes(damaged)))


@given(st.integers(0, len(SMALL) - 1))
def test_a_file_cut_short_is_an_error(length: int) -> None:
    with pytest.raises(CheckpointError):
        opened(SMALL[:length])


def resealed(data: bytes) -> bytes:
    """Give a changed registry the digest that it should have."""
    entries, records = struct.unpack_from("<QQ", data, 16)
    front = min(entries * (48 + 8 * WORDS) + records, len(data))
    digest = blake3(data[:40] + data[72 : 72 + front]).digest()
    return data[:40] + digest + data[72:]


@given(st.data())
def test_no_forgery_crashes_the_reader(data: st.DataObject) -> None:
    forged = bytearray(SMALL)
    numbers = st.sampled_from([0, 1, 2, 3, 7, 255, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 15)) * 8 + 8
        struct.pack_into("<Q", forged, at, data.draw(numbers))
    try:
        archive = opened(resealed(bytes(forged)))
        for index in range(len(archive)):
            archive.record(index)
            archive.sketch(index)
        list(archive.containing(b"name"))
    except SteelyardError:
        pass


@given(st.binary(max_size=300))
def test_noise_is_not_a_registry(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        opened(data)
    with pytest.raises(CheckpointError):
        opened(SMALL[:8] + data)


def test_memory_is_not_taken_for_what_is_only_claimed() -> None:
    claims = bytearray(SMALL)
    struct.pack_into("<Q", claims, 16, MOST_ENTRIES)
    with pytest.raises(Truncated):
        opened(bytes(claims))
    struct.pack_into("<Q", claims, 16, MOST_ENTRIES + 1)
    with pytest.raises(LimitExceeded):
        opened(bytes(claims))


def test_other_versions_are_named() -> None:
    other = bytearray(SMALL)
    other[8] = 2
    with pytest.raises(Unsupported, match="version 2") as caught:
        opened(bytes(other))
    assert caught.value.fix
    assert caught.value.offset == 8


def test_too_long_a_record_is_neither_written_nor_read() -> None:
    with pytest.raises(LimitExceeded):
        written(Stack([item(0, bytes(MOST_RECORD + 1))]))


def test_what_follows_the_end_is_damage() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        opened(SMALL + b"\0")


def test_an_empty_registry_is_a_registry() -> None:
    archive = opened(written(Stack()))
    assert len(archive) == 0
    assert archive.signatures.shape == (WORDS, 0)
    assert list(archive.containing(b"x")) == []


def test_saving_replaces_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known.lineage"
    digest = save(Stack([item(1)]), path)
    with Archive.open(path) as archive:
        assert archive.digest_text == digest
    path.chmod(0o640)

    class Failing(Stack):
        def sketch(self, index: int) -> bytes:
            raise OSError(28, "No space left on device")

    with pytest.raises(SourceError, match="cannot be written"):
        save(Failing([item(2)]), path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    save(Stack(), path)
    assert path.stat().st_mode & 0o777 == 0o640
    with Archive.open(path) as archive:
        assert len(archive) == 0


def test_sketches_are_read_only_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "known.lineage"
    save(Stack([item(1, size=100_000), item(2, size=100_000)]), path)
    with Archive.open(path) as archive:
        with path.open("r+b") as stream:
            stream.truncate(path.stat().st_size - 1)
        assert len(archive.sketch(0)) == 100_000
        with pytest.raises(Truncated):
            archive.sketch(1)


def test_no_such_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        Archive.open(tmp_path / "none")
    assert caught.value.file == str(tmp_path / "none")
    with pytest.raises(SourceError):
        Archive.open(tmp_path)
