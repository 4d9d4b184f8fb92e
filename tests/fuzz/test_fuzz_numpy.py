from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from steelyard.checkpoints.data import chunks
from steelyard.checkpoints.numpy_files import read_npy, read_npz
from steelyard.checkpoints.tensors import Checkpoint
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations

COUNT = fuzz_count(300)


def plain_file(order: str = "C") -> bytes:
    file = io.BytesIO()
    value = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    np.save(file, np.asfortranarray(value) if order == "F" else value)
    return file.getvalue()


def archive(compressed: bool) -> bytes:
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, a=np.arange(40), b=np.asfortranarray(np.ones((3, 5), ">f2")), c=np.array(1.0))
    return file.getvalue()


def check(reader: BytesReader, checkpoint: Checkpoint) -> None:
    """Read the tensors' bytes too: they are all there, or the file is refused."""
    for tensor in checkpoint.tensors:
        if tensor.offset is not None:
            assert 0 <= tensor.offset <= tensor.offset + tensor.nbytes <= reader.size
        with contextlib.suppress(CheckpointError):
            assert sum(piece.nbytes for piece in chunks(reader, tensor, 16)) == tensor.nbytes


def attempt_npy(data: bytes) -> None:
    reader = BytesReader("fuzz.npy", data)
    with contextlib.suppress(CheckpointError):
        check(reader, read_npy(reader))


def attempt_npz(data: bytes) -> None:
    reader = BytesReader("fuzz.npz", data)
    with contextlib.suppress(CheckpointError):
        check(reader, read_npz(reader))


@pytest.mark.parametrize("order", ["C", "F"])
def test_damaged_npy_files(order: str) -> None:
    for data in mutations(plain_file(order), 1, COUNT):
        attempt_npy(data)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_npz_files(compressed: bool) -> None:
    for data in mutations(archive(compressed), 2, COUNT):
        attempt_npz(data)
