"""A watched source reads what the other reads, and tells how much."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard.errors import SourceNotFound
from steelyard.sources import Network, open_source
from steelyard.sources.watched import Watched


class Told:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.amount = 0

    def start(self, task: str, total: int) -> None:
        raise AssertionError(task)

    def advance(self, amount: int) -> None:
        self.amount += amount

    def stop(self) -> None:
        raise AssertionError


def test_what_is_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(100)))
    plain = open_source(str(tmp_path), network=Network(offline=True))
    told = Told()
    source = Watched(plain, told)
    with source.open("a.bin") as reader:
        assert reader.read(10, 5) == bytes(range(10, 15))
        assert bytes(reader.view(90, 10)) == bytes(range(90, 100))
        assert (reader.name, reader.size) == ("a.bin", 100)
    assert told.amount == 15
    assert (source.files, source.skipped) == (plain.files, plain.skipped)
    assert (source.spec, source.kind, source.revision) == (plain.spec, plain.kind, plain.revision)
    assert source.local_path("a.bin") == plain.local_path("a.bin")
    assert source.bytes_read == plain.bytes_read
    with pytest.raises(SourceNotFound):
        source.open("b.bin")
    source.close()
