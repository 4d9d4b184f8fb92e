from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.gguf.cursor import FIRST_CHUNK, LARGEST_CHUNK, Cursor
from steelyard.errors import LimitExceeded, Truncated
from steelyard.sources.memory import BytesReader


class CountingReader(BytesReader):
    def __init__(self, data: bytes) -> None:
        super().__init__("counted", data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return super().read(offset, length)


def cursor_on(data: bytes, limit: int = 10**9) -> tuple[Cursor, CountingReader]:
    reader = CountingReader(data)
    return Cursor(reader, limit=limit), reader


def counted(texts: list[bytes]) -> bytes:
    return b"".join(struct.pack("<Q", len(text)) + text for text in texts)


def test_small_fields_cost_one_read() -> None:
    cursor, reader = cursor_on(bytes(range(256)) * 1000)
    assert [cursor.unsigned(1) for _ in range(200)] == list(range(200))
    assert reader.reads == [(0, FIRST_CHUNK)]


def test_chunks_grow_to_a_bound_and_end_with_the_file() -> None:
    size = 4 * LARGEST_CHUNK
    cursor, reader = cursor_on(bytes(size))
    for _ in range(size // 1024):
        cursor.take(1024)
    lengths = [length for _, length in reader.reads]
    assert lengths[:3] == [FIRST_CHUNK, 2 * FIRST_CHUNK, 4 * FIRST_CHUNK]
    assert max(lengths) == LARGEST_CHUNK
    assert sum(lengths) == size
    assert cursor.remaining == 0


def test_what_is_skipped_is_not_fetched() -> None:
    data = bytes(10**7) + b"end"
    cursor, reader = cursor_on(data)
    cursor.take(1)
    cursor.skip(10**7 - 1)
    assert cursor.take(3) == b"end"
    assert sum(length for _, length in reader.reads) == FIRST_CHUNK + 3


def test_a_long_string_is_fetched_whole() -> None:
    text = b"x" * (3 * LARGEST_CHUNK)
    cursor, _ = cursor_on(counted([text]))
    assert cursor.counted(len(text), "a text") == text


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_numbers_follow_the_byte_order(byteorder: str) -> None:
    mark = "<" if byteorder == "little" else ">"
    cursor, _ = cursor_on(struct.pack(mark + "IQ2h", 7, 2**40, -1, 5))
    cursor.byteorder = "little" if byteorder == "little" else "big"
    assert (cursor.unsigned(4), cursor.unsigned(8)) == (7, 2**40)
    assert cursor.numbers("h", 2) == (-1, 5)


@given(st.lists(st.binary(max_size=300), max_size=60), st.data())
def test_skipping_strings_is_reading_them(texts: list[bytes], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(texts)))
    skipping, _ = cursor_on(counted(texts))
    reading, _ = cursor_on(counted(texts))
    skipping.skip_counted(count, 300, "a text")
    for text in texts[:count]:
        assert reading.counted(300, "a text") == text
    assert skipping.position == reading.position
    assert [skipping.counted(300, "a text") for _ in texts[count:]] == texts[count:]


def test_skipping_strings_crosses_chunks() -> None:
    texts = [bytes([index % 251]) * (index % 5000) for index in range(2000)]
    cursor, reader = cursor_on(counted(texts) + b"end")
    cursor.skip_counted(2000, 5000, "a text")
    assert cursor.take(3) == b"end"
    assert len(reader.reads) < 12


def test_a_skipped_string_beyond_its_limit_is_refused() -> None:
    cursor, _ = cursor_on(counted([b"short", b"much too long"]))
    with pytest.raises(LimitExceeded, match="a text is 13 bytes long") as caught:
        cursor.skip_counted(2, 5, "a text")
    assert (caught.value.file, caught.value.offset) == ("counted", 13)


@pytest.mark.parametrize("length", [2**31, 2**63, 2**64 - 1])
def test_a_claimed_length_is_not_believed(length: int) -> None:
    data = struct.pack("<Q", length) + b"abc"
    reading, reader = cursor_on(data)
    with pytest.raises(Truncated, match="the file ends after 3 more") as caught:
        reading.counted(2**64, "a text")
    skipping, _ = cursor_on(data)
    with pytest.raises(Truncated, match="the file ends after 3 more"):
        skipping.skip_counted(1, 2**64, "a text")
    assert caught.value.offset == 8
    assert reader.reads == [(0, 11)]


def test_the_header_limit_holds_though_the_file_goes_on() -> None:
    cursor, reader = cursor_on(bytes(100_000), limit=1000)
    cursor.take(990)
    with pytest.raises(LimitExceeded, match="longest header allowed, 1000 bytes"):
        cursor.skip(11)
    assert reader.reads == [(0, 1000)]
