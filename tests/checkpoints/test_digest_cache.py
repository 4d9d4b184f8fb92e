"""What is kept is right or absent, and trouble with the cache is never trouble for the caller."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from steelyard.checkpoints.digest_cache import SETTLE_NS, DigestCache, Stamp

STAMP = Stamp("/models/a.safetensors", 10, 1_000, 2_000, 2**63 + 5, 7)


@pytest.fixture
def cache(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "deep" / "digests.sqlite", clock=lambda: 10**19)


def test_keeps_and_gives_back(cache: DigestCache) -> None:
    assert cache.get(STAMP, "sha256") is None
    assert not cache.path.exists()
    cache.put(STAMP, "sha256", b"one")
    cache.put(STAMP, "tensors/1", b"two")
    assert cache.get(STAMP, "sha256") == b"one"
    assert cache.get(STAMP, "tensors/1") == b"two"
    assert cache.get(STAMP, "tensors/2") is None
    cache.put(STAMP, "sha256", b"three")
    assert cache.get(STAMP, "sha256") == b"three"
    assert cache.info().entries == 2


@pytest.mark.parametrize("field", [field.name for field in fields(Stamp)])
def test_any_difference_voids_an_entry(cache: DigestCache, field: str) -> None:
    cache.put(STAMP, "sha256", b"one")
    other: Any = "/else" if field == "path" else getattr(STAMP, field) + 1
    assert cache.get(replace(STAMP, **{field: other}), "sha256") is None
    assert cache.get(STAMP, "sha256") == b"one"


def test_an_older_state_of_a_file_gives_way(cache: DigestCache) -> None:
    cache.put(STAMP, "sha256", b"one")
    cache.put(replace(STAMP, size=11), "sha256", b"two")
    assert cache.get(STAMP, "sha256") is None
    assert cache.info().entries == 1


def test_a_file_that_just_changed_is_not_settled(tmp_path: Path) -> None:
    now = 10**19
    cache = DigestCache(tmp_path / "c", clock=lambda: now)
    old = now - SETTLE_NS
    assert cache.settled(replace(STAMP, mtime_ns=old, ctime_ns=old))
    assert not cache.settled(replace(STAMP, mtime_ns=old + 1, ctime_ns=old))
    assert not cache.settled(replace(STAMP, mtime_ns=old, ctime_ns=old + 1))
    assert not cache.settled(replace(STAMP, mtime_ns=now + 10**12, ctime_ns=old))


def test_stamps_follow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    first = Stamp.of(path, path.stat())
    assert first == Stamp.of(path, path.stat())
    os.utime(path, ns=(0, 0))
    assert first != Stamp.of(path, path.stat())


@pytest.mark.parametrize("garbage", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_cache_is_thrown_away(cache: DigestCache, garbage: bytes) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(garbage)
    assert cache.get(STAMP, "sha256") is None
    cache.put(STAMP, "sha256", b"one")
    assert cache.get(STAMP, "sha256") == b"one"


def test_a_cache_damaged_in_the_middle_is_never_fatal(cache: DigestCache) -> None:
    for i in range(40):
        cache.put(replace(STAMP, path=f"/{i}"), "sha256", bytes(900))
    data = bytearray(cache.path.read_bytes())
    for place in range(100, len(data), 97):
        data[place] ^= 0x5A
    cache.path.write_bytes(data)
    for i in range(40):
        cache.get(replace(STAMP, path=f"/{i}"), "sha256")
    cache.put(STAMP, "sha256", b"one")
    cache.info()


def test_the_database_of_another_program_is_left_alone(cache: DigestCache) -> None:
    cache.path.parent.mkdir()
    with sqlite3.connect(cache.path) as other:
        other.execute("CREATE TABLE digests (precious TEXT)")
    other.close()
    before = cache.path.read_bytes()
    cache.put(STAMP, "sha256", b"one")
    assert cache.get(STAMP, "sha256") is None
    assert cache.path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = DigestCache(tmp_path / "file" / "digests.sqlite")
    cache.put(STAMP, "sha256", b"one")
    assert cache.get(STAMP, "sha256") is None
    assert cache.info().entries == 0
    folder = DigestCache(tmp_path)
    folder.put(STAMP, "sha256", b"one")
    assert folder.get(STAMP, "sha256") is None


def test_a_locked_cache_is_done_without(
    cache: DigestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steelyard.checkpoints.digest_cache._BUSY_SECONDS", 0.0)
    cache.put(STAMP, "sha256", b"one")
    holder = sqlite3.connect(cache.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert cache.get(STAMP, "sha256") is None
    cache.put(STAMP, "sha256", b"two")
    holder.execute("ROLLBACK")
    holder.close()
    assert cache.get(STAMP, "sha256") == b"one"


def test_many_threads_share_it(cache: DigestCache) -> None:
    def work(i: int) -> bytes | None:
        stamp = replace(STAMP, path=f"/{i % 7}")
        cache.put(stamp, "sha256", bytes([i % 7]))
        return cache.get(stamp, "sha256")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(56)))
    assert found == [bytes([i % 7]) for i in range(56)]


def test_it_stays_bounded(cache: DigestCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steelyard.checkpoints.digest_cache._MOST_ENTRIES", 3)
    for i in range(6):
        cache.put(replace(STAMP, path=f"/{i}"), "sha256", b"x")
    kept = [i for i in range(6) if cache.get(replace(STAMP, path=f"/{i}"), "sha256")]
    assert kept == [3, 4, 5]


def test_clear_and_info(cache: DigestCache) -> None:
    assert cache.info().entries == 0
    with cache as same:
        same.put(replace(STAMP, path="/odd\udcff"), "sha256", b"one")
    assert cache.info().entries == 1
    assert cache.info().size == cache.path.stat().st_size
    assert str(cache.info()) == f"1 digests in {cache.info().size} bytes"
    cache.clear()
    cache.clear()
    assert not cache.path.exists()
    assert cache.info().entries == 0
