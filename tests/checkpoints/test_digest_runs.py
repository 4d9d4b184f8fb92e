"""Whatever pieces the bytes come in, and whatever befalls the file meanwhile."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints import digest_jobs, digest_runs
from steelyard.checkpoints.digests import digest
from steelyard.checkpoints.tensors import Tensor
from steelyard.errors import SourceError
from tests.checkpoints.same_weights import (
    Watcher,
    gguf,
    llama,
    one_safetensors,
    table,
    three_shards,
    weigh,
)


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=64), st.data())
def test_widening_loses_nothing_and_pieces_do_not_matter(
    halves: list[int], data: st.DataObject
) -> None:
    raw = np.array(halves, "<u2").tobytes()
    for dtype in ("F16", "BF16"):
        wide = digest_runs.widened(memoryview(raw), dtype)
        assert len(set(wide.tolist())) == len(set(halves))
        whole, cut = digest_runs.hasher(dtype), digest_runs.hasher(dtype)
        whole.update(raw)
        place = data.draw(st.integers(0, len(raw)))
        cut.update(memoryview(raw)[:place])
        cut.update(memoryview(raw)[place:])
        assert whole.digest() == cut.digest() == blake3(wide.tobytes()).digest()
    values = np.array(halves, "<u2").view("<f2")
    normal = ~np.isnan(values)
    wide = digest_runs.widened(memoryview(raw), "F16")
    with np.errstate(invalid="ignore"):
        assert (wide.view("<f4")[normal] == values.astype("<f4")[normal]).all()


@given(
    cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=8),
    sha256=st.booleans(),
    workers=st.integers(1, 3),
)
def test_overlaps_gaps_and_buffers_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[tuple[int, int]],
    sha256: bool,
    workers: int,
) -> None:
    size = (2 << 20) + 50
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    edge = (1 << 20) - 20
    tensors = [
        Tensor(f"t{i}", "U8", (length,), "plain", "f", edge + start, length)
        for i, (start, length) in enumerate(cuts)
    ]
    source, checkpoint = table(tmp_path_factory.mktemp("d"), data, tensors)
    found = digest(source, checkpoint, sha256=sha256, workers=workers)
    digests = {tensor.name: tensor.digest for tensor in found.tensors}
    for tensor in tensors:
        start = tensor.offset or 0
        assert digests[tensor.name] == blake3(data[start : start + tensor.nbytes]).digest()
    if sha256:
        assert found.files["f"].sha256 == hashlib.sha256(data).hexdigest()


def test_rows_larger_than_a_buffer_are_put_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = weigh(tmp_path / "a", one_safetensors(llama())).root
    for size in (7, 96, 200, 1000):
        monkeypatch.setattr(digest_jobs, "BUFFER", size)
        assert weigh(tmp_path / str(size), gguf(llama())).root == expected


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    watcher = Watcher()
    files = three_shards(llama())
    weigh(tmp_path, files, progress=watcher)
    total = sum(map(len, files.values()))
    assert watcher.events[0] == ("digests", total)
    assert watcher.events[-1] == ("stop", 0)
    assert sum(amount for name, amount in watcher.events if not name) == total


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    source, checkpoint = table(
        tmp_path, bytes(100), [Tensor("a", "U8", (100,), "plain", "f", 0, 100)]
    )
    os.truncate(tmp_path / "f", 50)
    with pytest.raises(SourceError, match="changed"):
        digest(source, checkpoint)


@pytest.mark.parametrize("sha256", [False, True])
def test_a_file_that_is_written_while_it_is_read_is_an_error(tmp_path: Path, sha256: bool) -> None:
    size = 4 << 20
    source, checkpoint = table(
        tmp_path, bytes(size), [Tensor("a", "U8", (size,), "plain", "f", 0, size)]
    )

    class Writer(Watcher):
        def start(self, task: str, total: int) -> None:
            os.truncate(tmp_path / "f", 1 << 20)

    with pytest.raises(SourceError, match="changed"):
        digest(source, checkpoint, sha256=sha256, progress=Writer())


def test_an_interrupt_stops_the_work(tmp_path: Path) -> None:
    class Interrupter(Watcher):
        def advance(self, amount: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weigh(tmp_path, one_safetensors(llama()), progress=Interrupter())
