"""Files that make readers work far more than their size lets expect."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from steelyard.checkpoints import gguf
from steelyard.checkpoints.data import chunks
from steelyard.checkpoints.digest_jobs import reordered
from steelyard.checkpoints.digests import digest
from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.numpy_files import read_npy
from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.tensors import PLAIN, ProblemKind, Tensor
from steelyard.errors import LimitExceeded, SourceError
from steelyard.sources import Network, open_source
from steelyard.sources.memory import BytesReader
from tests.checkpoints.gguf_files import Raw, Weights, gguf_bytes


def test_arrays_within_arrays_are_counted() -> None:
    items = 2000
    data = struct.pack("<IIQ", 9, 9, items) + struct.pack("<IQ", 0, 0) * items
    file = gguf_bytes([("a", Raw(data))])
    metadata = gguf.read(BytesReader("m.gguf", file), Limits(opcodes=items)).metadata
    assert metadata["a" + gguf.LENGTH_SUFFIX] == items
    with pytest.raises(LimitExceeded, match="arrays lie in arrays"):
        gguf.read(BytesReader("m.gguf", file), Limits(opcodes=items - 1))


@pytest.mark.parametrize("heads", [1, 2, 3, 500, 50_000])
def test_small_heads_are_read_many_at_a_time(heads: int) -> None:
    pairs = max(100_000 // heads, 1)
    values = np.arange(heads * pairs * 2, dtype=np.uint32)
    tensor = Tensor("q", "F32", (values.size, 1), PLAIN, "m.gguf", 0, values.nbytes)
    wanted = values.reshape(heads, pairs, 2).swapaxes(1, 2).tobytes()
    found = b"".join(reordered(BytesReader("m.gguf", values.tobytes()), tensor, 0, heads))
    assert found == wanted


def test_a_head_for_every_two_rows(tmp_path: Path) -> None:
    rows = 1_000_000
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gguf_bytes(
            [("general.architecture", "llama"), ("llama.attention.head_count", rows // 2)],
            [Weights("blk.0.attn_q.weight", 0, (rows, 1), bytes(4 * rows))],
        )
    )
    source = open_source(str(path), network=Network(offline=True))
    model = read_model(source)
    assert model.main is not None
    start = time.monotonic()
    assert digest(source, model.main).root is not None
    assert time.monotonic() - start < 5


def test_all_files_of_a_model_share_the_bound_on_tensors(tmp_path: Path) -> None:
    for number in range(3):
        tensors = [Weights(f"t{n}", 0, (1,), bytes(4)) for n in range(5)]
        (tmp_path / f"{number}.gguf").write_bytes(gguf_bytes({"a": 1}, tensors))
    source = open_source(str(tmp_path), network=Network(offline=True))
    model = read_model(source, Limits(tensors=10))
    assert [(p.kind, p.file) for p in model.problems] == [(ProblemKind.NOT_FULLY_READ, "2.gguf")]
    assert sum(len(part.tensors) for part in model.weights) == 10


def test_a_file_that_is_shortened_is_an_error_and_no_signal(tmp_path: Path) -> None:
    path = tmp_path / "w.npy"
    np.save(path, np.ones(1 << 20, np.float32))
    source = open_source(str(path), network=Network(offline=True))
    with source.open("w.npy") as reader:
        (tensor,) = read_npy(reader).tensors
        pieces = chunks(reader, tensor, 1 << 16)
        next(pieces)
        os.truncate(path, 1000)
        with pytest.raises(SourceError, match="shorter"):
            list(pieces)
