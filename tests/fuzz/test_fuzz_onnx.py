"""Damaged ONNX models: whatever comes in, a table or a `CheckpointError` comes out."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from steelyard.checkpoints.data import chunks
from steelyard.checkpoints.onnx.reader import read
from steelyard.checkpoints.onnx.recognizing import looks_like_onnx
from steelyard.checkpoints.tensors import Tensor
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations

SIBLINGS = {"data/w.bin": 4096, "m.onnx": 1}


def sample() -> bytes:
    """Build a small model that has every kind of tensor and place that the reader knows."""
    floats = np.arange(6, dtype=np.float32).reshape(2, 3)
    body = helper.make_graph([], "body", [], [], [numpy_helper.from_array(floats, "inner")])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("s", TensorProto.FLOAT, [2], [1, 2]),
        helper.make_tensor("", TensorProto.INT64, [2], [0, 3]),
        [4],
    )
    beside = TensorProto(name="e", dims=[4, 4], data_type=1, data_location="EXTERNAL")
    for key, value in (("location", "data/w.bin"), ("offset", "64"), ("length", "64")):
        beside.external_data.add(key=key, value=value)
    constant = helper.make_tensor("", TensorProto.INT8, [3], [1, 2, 3])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=body),
        helper.make_node("Constant", [], ["k"], value=constant),
        helper.make_node("MatMulNBits", ["x"], ["z"], domain="com.microsoft", bits=4),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [3])],
        [
            numpy_helper.from_array(floats, "raw"),
            helper.make_tensor("typed", TensorProto.FLOAT, [2], [1, 2]),
            helper.make_tensor("half", TensorProto.FLOAT16, [2], [1, 2]),
            helper.make_tensor("long", TensorProto.INT64, [4], [-1, 0, 300, 2**63 - 1]),
            helper.make_tensor("sixes", TensorProto.FLOAT6E2M3, [5], [0, 1, 1, 2, 4]),
            beside,
        ],
    )
    graph.sparse_initializer.append(sparse)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model.functions.append(
        helper.make_function("acme", "F", ["x"], ["k"], nodes[1:2], [helper.make_opsetid("", 21)])
    )
    model.training_info.add().algorithm.initializer.append(numpy_helper.from_array(floats, "t"))
    helper.set_model_props(model, {"author": "someone"})
    return bytes(model.SerializeToString())


def survive(data: bytes) -> bool:
    """Read; tell whether a table came out, which must then keep its laws."""
    looks_like_onnx(data[:256])
    try:
        checkpoint = read(BytesReader("m.onnx", data), SIBLINGS | {"m.onnx": len(data)})
    except CheckpointError as error:
        if not (error.file and error.why and error.fix):
            pytest.fail(f"an error that does not say enough: {error!r}")
        return False
    names = [tensor.name for tensor in checkpoint.tensors]
    assert names == sorted(set(names))
    for tensor in checkpoint.tensors:
        size = len(data) if tensor.file == "m.onnx" else SIBLINGS[tensor.file]
        assert tensor.offset is None or 0 <= tensor.offset <= size - tensor.extent
        if tensor.offset is not None and tensor.file == "m.onnx":
            given_or_refused(BytesReader("m.onnx", data), tensor)
    return True


def given_or_refused(reader: BytesReader, tensor: Tensor) -> None:
    """Read a tensor's bytes: they are as many as it has, unless it is refused."""
    given = 0
    with suppress(CheckpointError):
        for piece in chunks(reader, tensor, 32):
            assert 0 < len(piece) <= 32
            given += len(piece)
        assert given == tensor.nbytes
    assert given <= tensor.nbytes


@pytest.mark.parametrize("seed", range(4))
def test_damaged_models(seed: int) -> None:
    assert survive(sample())
    outcomes = [survive(data) for data in mutations(sample(), seed, fuzz_count(150))]
    assert {True, False} == set(outcomes)
