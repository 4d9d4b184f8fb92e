"""Damaged PyTorch files: a table or a `CheckpointError` comes out, and nothing else."""

from __future__ import annotations

from collections import OrderedDict

import pytest

from steelyard.checkpoints import pytorch
from steelyard.checkpoints.tensors import Checkpoint
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.checkpoints.torch_files import (
    OS_SYSTEM,
    Encoder,
    Made,
    Raw,
    Storage,
    Weight,
    legacy_file,
    torch_zip,
    weight,
)
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations


def sample(layout: str, protocol: int) -> bytes:
    """Write a small file that uses every part of a layout."""
    base = Storage("0", "FloatStorage", bytes(range(96)))
    nested = weight("1", 4, kind="BFloat16Storage")
    root = {
        "model": OrderedDict(
            whole=Weight(base, (4, 6)),
            transposed=Weight(base, (6, 4), (1, 6), parameter=True),
            untyped=Made(
                "torch._utils._rebuild_tensor_v3",
                (
                    Storage("2", "UntypedStorage", bytes(12)),
                    *(0, (2, 3), (3, 1), False, None),
                    Raw(b"ctorch\nuint16\n"),
                ),
            ),
        ),
        "optimizer": {"state": {0: {"exp_avg": nested, "step": 3}}, "lr": [0.1, -5, 2**70]},
        "module": Made("my.Net", (), {"_parameters": {"w": nested}, "flag": True}),
        "box": Made("torch.storage._load_from_bytes", (legacy_file(base),)),
        "payload": Raw(OS_SYSTEM),
    }
    if layout == "legacy":
        return legacy_file(root, protocol)
    if layout == "pickle":
        return Encoder(protocol).pickle({"a": [1, "b", 2.5], "x": Raw(OS_SYSTEM)})
    extra = {"code/net.py": b"pass", "constants.pkl": Encoder().pickle((weight("0", 2),))}
    extra["constants/0"] = bytes(8)
    return torch_zip(root, protocol, compress=["data/1"], extra=extra)


def check_laws(checkpoint: Checkpoint, size: int) -> None:
    """Check what a table promises, however odd the file that it was read from."""
    assert [tensor.name for tensor in checkpoint.tensors] == sorted(
        tensor.name for tensor in checkpoint.tensors
    )
    for tensor in checkpoint.tensors:
        assert all(count >= 0 for count in tensor.shape)
        assert tensor.nbytes >= 0
        assert (tensor.offset is None) == (tensor.member is not None or tensor.encoding == "meta")
        if tensor.offset is not None:
            assert 0 <= tensor.offset <= tensor.offset + tensor.nbytes <= size
    order = [(item.name, item.file, item.offset) for item in checkpoint.imports]
    assert order == sorted(set(order))


def run(layout: str, protocol: int, seed: int, count: int) -> int:
    """Read damaged copies of a sample; return how many were readable."""
    readable = 0
    for damaged in mutations(sample(layout, protocol), seed, count):
        try:
            checkpoint = pytorch.read(BytesReader("fuzz", damaged))
        except CheckpointError:
            continue
        readable += 1
        check_laws(checkpoint, len(damaged))
    return readable


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_the_sample_is_readable(layout: str, protocol: int) -> None:
    data = sample(layout, protocol)
    checkpoint = pytorch.read(BytesReader("fuzz", data))
    assert "os.system" in {item.name for item in checkpoint.imports}
    assert len(checkpoint.tensors) == {"zip": 6, "legacy": 5, "pickle": 0}[layout]
    check_laws(checkpoint, len(data))


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_damaged_files_are_read_or_refused(layout: str, protocol: int) -> None:
    count = fuzz_count(120)
    readable = run(layout, protocol, seed=protocol, count=count)
    assert 0 < readable < count
