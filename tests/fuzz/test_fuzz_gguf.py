"""Damaged GGUF files: a table or a `CheckpointError` comes out, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest

from steelyard.checkpoints import gguf
from steelyard.checkpoints.tensors import Checkpoint
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.checkpoints import gguf_files as files
from tests.checkpoints.gguf_files import Array, Typed, Value, Weights, gguf_bytes
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations


def sample(byteorder: str) -> bytes:
    """Write a small file that uses every part of the format."""
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "general.alignment": 64,
        "llama.rope.freq_base": Typed(files.FLOAT32, 10000.0),
        "flag": True,
        "nested": Array(files.ARRAY, [Array(files.STRING, ["a", "b"]), Array(files.ARRAY, [])]),
        "tokenizer.ggml.tokens": Array(files.STRING, [f"t{index}" for index in range(80)]),
        "tokenizer.ggml.scores": Array(files.FLOAT32, [0.5] * 80),
        "split.no": Typed(files.UINT16, 0),
        "split.count": Typed(files.UINT16, 2),
    }
    weights = [
        Weights("token_embd.weight", 12, (4, 256), bytes(4 * 144)),
        Weights("blk.0.attn_q.weight", 2, (2, 2, 32), bytes(72)),
        Weights("output_norm.weight", 0, (16,), bytes(64)),
        Weights("scalar", 28, (), bytes(8)),
    ]
    return gguf_bytes(metadata, weights, byteorder=byteorder, alignment=64)


def check_laws(checkpoint: Checkpoint, size: int) -> None:
    """Check what a table promises, however odd the file that it was read from."""
    names = [tensor.name for tensor in checkpoint.tensors]
    assert names == sorted(set(names))
    spans = []
    for tensor in checkpoint.tensors:
        assert tensor.offset is not None
        assert 0 <= tensor.offset <= tensor.offset + tensor.nbytes <= size
        if tensor.nbytes:
            spans.append((tensor.offset, tensor.offset + tensor.nbytes))
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def check_error(error: CheckpointError, reader: BytesReader) -> None:
    """Check that an error names a place in the file and says what to do."""
    assert error.file == reader.name
    assert error.offset is not None
    assert 0 <= error.offset <= reader.size
    assert error.fix


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_damaged_files_are_read_or_refused(byteorder: str) -> None:
    valid, count = sample(byteorder), fuzz_count(400)
    refused = 0
    for number, damaged in enumerate(mutations(valid, seed=20261123, count=count)):
        reader = BytesReader(f"{byteorder}-{number}.gguf", damaged)
        try:
            checkpoint = gguf.read(reader)
        except CheckpointError as error:
            refused += 1
            check_error(error, reader)
        else:
            check_laws(checkpoint, reader.size)
            gguf.merge([checkpoint])
    # Both ways must be walked, or the damage is not worth its name.
    assert count / 4 < refused < count
