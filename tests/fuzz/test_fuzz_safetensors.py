from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from steelyard.checkpoints.safetensors import read
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations

COUNT = fuzz_count(400)


def example() -> bytes:
    tensors = {f"layer.{number}.weight": np.ones((2, 3), np.float32) for number in range(6)}
    tensors |= {"scalar": np.array(1.0), "empty": np.zeros((0, 4), np.int8)}
    # A single key: the reference writes several in an order that changes from run to run.
    return safetensors.numpy.save(tensors, {"é": "\n\\"})


def attempt(data: bytes) -> None:
    """Read what may be anything; the tensors of what is read lie inside the file."""
    with contextlib.suppress(CheckpointError):
        for tensor in read(BytesReader("fuzz.safetensors", data)).tensors:
            assert tensor.offset is not None
            assert 0 <= tensor.offset <= tensor.offset + tensor.nbytes <= len(data)


@pytest.mark.parametrize("seed", [1, 2])
def test_damage_is_refused_or_read_within_the_file(seed: int) -> None:
    for data in mutations(example(), seed, COUNT // 2):
        attempt(data)


def test_damage_within_the_header_alone() -> None:
    whole = example()
    length = int.from_bytes(whole[:8], "little")
    for header in mutations(whole[8 : 8 + length], 3, COUNT):
        attempt(len(header).to_bytes(8, "little") + header + whole[8 + length :])


REFERENCE: Any = safetensors.deserialize


def test_what_the_reference_refuses_is_never_read_without_a_problem() -> None:
    for data in mutations(example(), 4, COUNT):
        with contextlib.suppress(CheckpointError):
            if not read(BytesReader("fuzz.safetensors", data)).problems:
                REFERENCE(data)
