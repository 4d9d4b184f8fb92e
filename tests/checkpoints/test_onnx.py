"""Reading ONNX models that the `onnx` package wrote, and agreeing with it on every tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from steelyard.checkpoints.data import chunks
from steelyard.checkpoints.onnx.reader import read
from steelyard.checkpoints.onnx.recognizing import HEAD_BYTES, looks_like_onnx
from steelyard.checkpoints.onnx.tensors import ELEMENT_TYPES
from steelyard.checkpoints.tensors import PLAIN, SCATTERED, VARINT, Checkpoint, ProblemKind, Tensor
from steelyard.sources.memory import BytesReader

NUMERIC = sorted(set(ELEMENT_TYPES) - {TensorProto.STRING})
FIXED_WIDTH = {
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.COMPLEX64,
    TensorProto.COMPLEX128,
}


def model(*initializers: TensorProto, nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(nodes or [], "main", [], [], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def table(proto: onnx.ModelProto) -> tuple[Checkpoint, bytes]:
    data = proto.SerializeToString()
    return read(BytesReader("m.onnx", data), {"m.onnx": len(data)}), data


def check(tensor: Tensor, data: bytes, expected: TensorProto) -> None:
    """The bytes that the table points at mean what the onnx package says they mean."""
    assert tensor.encoding in {PLAIN, VARINT}
    assert tensor.offset is not None
    assert 0 < tensor.offset <= len(data) - tensor.extent
    assert (tensor.stored is None) == (tensor.encoding == PLAIN)
    content = b"".join(chunks(BytesReader("m.onnx", data), tensor))
    if tensor.encoding == PLAIN:
        assert content == data[tensor.offset : tensor.offset + tensor.nbytes]
    rebuilt = TensorProto(dims=tensor.shape, data_type=expected.data_type, raw_data=content)
    found, wanted = numpy_helper.to_array(rebuilt), numpy_helper.to_array(expected)
    assert found.shape == wanted.shape
    assert found.tobytes() == wanted.tobytes()


def array(data_type: int, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    values = np.random.default_rng(data_type).integers(0, 2, count).reshape(shape)
    return values.astype(helper.tensor_dtype_to_np_dtype(data_type))


def test_every_element_type_of_onnx_is_known() -> None:
    theirs = {value: name for name, value in TensorProto.DataType.items() if value}
    assert {number: kind.name for number, kind in ELEMENT_TYPES.items()} == theirs


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (2, 3, 5)])
@pytest.mark.parametrize("data_type", NUMERIC)
def test_raw_tensors_of_every_type(data_type: int, shape: tuple[int, ...]) -> None:
    initializer = numpy_helper.from_array(array(data_type, shape), "w")
    checkpoint, data = table(model(initializer))
    (tensor,) = checkpoint.tensors
    assert (tensor.name, tensor.shape, tensor.file) == ("w", shape, "m.onnx")
    assert tensor.nbytes == len(initializer.raw_data)
    check(tensor, data, initializer)
    assert checkpoint.problems == ()


@pytest.mark.parametrize("data_type", NUMERIC)
def test_typed_tensors_of_every_type(data_type: int) -> None:
    values = array(data_type, (3, 3))
    raw = numpy_helper.from_array(values, "w")
    typed = helper.make_tensor("w", data_type, (3, 3), values.flatten())
    assert not typed.raw_data
    checkpoint, data = table(model(typed))
    (tensor,) = checkpoint.tensors
    assert (tensor.shape, tensor.nbytes) == ((3, 3), len(raw.raw_data))
    assert tensor.dtype == ELEMENT_TYPES[data_type].dtype
    assert tensor.encoding == (PLAIN if data_type in FIXED_WIDTH else VARINT)
    check(tensor, data, raw)


def test_elements_that_do_not_lie_in_one_run_have_no_offset() -> None:
    whole = helper.make_tensor("w", TensorProto.FLOAT, (4,), [1, 2, 3, 4]).SerializeToString()
    loose = TensorProto(dims=[2], data_type=TensorProto.FLOAT, name="loose").SerializeToString()
    loose += b"\x25\x00\x00\x80\x3f" * 2
    run = TensorProto(float_data=[1, 2]).SerializeToString()
    split = TensorProto(dims=[4], data_type=TensorProto.FLOAT, name="split").SerializeToString()
    data = model().SerializeToString()
    mixed = TensorProto(dims=[3], data_type=TensorProto.INT64, name="mixed").SerializeToString()
    mixed += b"\x3a\x02\x01\x02" + b"\x38\x03"
    parts = (whole, loose, split + run + run, mixed)
    tensors = b"".join(b"\x2a" + bytes([len(t)]) + t for t in parts)
    data += b"\x3a" + bytes([len(tensors)]) + tensors
    onnx.load_from_string(data)
    found = read(BytesReader("m.onnx", data), {}).tensors
    assert [(t.name, t.encoding, t.offset is None, t.nbytes) for t in found] == [
        ("loose", SCATTERED, True, 8),
        ("mixed", SCATTERED, True, 24),
        ("split", SCATTERED, True, 16),
        ("w", PLAIN, False, 16),
    ]


SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
SPECS = st.lists(st.tuples(st.sampled_from(NUMERIC), SHAPES, st.booleans()), max_size=8)


@given(SPECS)
def test_any_model_reads_as_the_onnx_package_reads_it(
    specs: list[tuple[int, tuple[int, ...], bool]],
) -> None:
    initializers = []
    for index, (data_type, shape, raw) in enumerate(specs):
        values = array(data_type, shape)
        initializers.append(
            numpy_helper.from_array(values, f"w{index}")
            if raw
            else helper.make_tensor(f"w{index}", data_type, shape, values.flatten())
        )
    checkpoint, data = table(model(*initializers))
    found = {tensor.name: tensor for tensor in checkpoint.tensors}
    assert list(found) == sorted(initializer.name for initializer in initializers)
    for initializer in initializers:
        tensor = found[initializer.name]
        assert tensor.shape == tuple(initializer.dims)
        check(tensor, data, initializer)


def branch(name: str, value: float) -> onnx.GraphProto:
    tensor = helper.make_tensor("bias", TensorProto.FLOAT, [2], [value, value])
    constant = helper.make_node(
        "Constant", [], [f"{name}_out"], value=helper.make_tensor("", TensorProto.FLOAT, [1], [9])
    )
    return helper.make_graph([constant], name, [], [], [tensor])


def test_tensors_in_subgraphs_and_constants() -> None:
    inner = helper.make_node("If", ["c"], ["d"], then_branch=branch("a", 1))
    outer = helper.make_graph([inner], "body", [], [], [])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("", TensorProto.FLOAT, [2], [1, 2]),
        helper.make_tensor("", TensorProto.INT64, [2], [0, 3]),
        [4],
    )
    nodes = [
        helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch("t", 1)),
        helper.make_node("Loop", ["n"], ["z"], body=outer),
        helper.make_node("Constant", [], ["k"], sparse_value=sparse),
        helper.make_node("Constant", [], [], value=helper.make_tensor("named", 1, [1], [0])),
        helper.make_node("Custom", [], [], "list", domain="com.acme"),
    ]
    for index in range(2):
        nodes[-1].attribute.add(name="many", type=onnx.AttributeProto.TENSORS)
        nodes[-1].attribute[0].tensors.add(
            dims=[index + 1], data_type=2, raw_data=b"\x01\x02"[: index + 1]
        )
    del nodes[-1].attribute[1]
    raw = numpy_helper.from_array(np.ones(3, np.float32), "bias")
    checkpoint, data = table(model(raw, nodes=nodes))
    assert [(tensor.name, tensor.shape) for tensor in checkpoint.tensors] == [
        ("bias", (3,)),
        ("choose/then_branch/bias", (2,)),
        ("choose/then_branch/t_out/value", (1,)),
        ("k/sparse_value", (2,)),
        ("k/sparse_value/indices", (2,)),
        ("list/many[0]", (1,)),
        ("list/many[1]", (2,)),
        ("named", (1,)),
        ("z/body/d/then_branch/a_out/value", (1,)),
        ("z/body/d/then_branch/bias", (2,)),
    ]
    check(checkpoint.tensors[0], data, raw)
    assert checkpoint.metadata["graph.nodes"] == 5
    assert checkpoint.metadata["graph.operators"] == ("Constant", "If", "Loop", "com.acme.Custom")


def test_tensors_in_functions_and_training_information() -> None:
    constant = helper.make_node(
        "Constant", [], ["c"], value=helper.make_tensor("", TensorProto.FLOAT, [1], [3])
    )
    function = helper.make_function(
        "acme",
        "Scale",
        ["x"],
        ["c"],
        [constant],
        [helper.make_opsetid("", 21)],
        attribute_protos=[helper.make_attribute("by", helper.make_tensor("", 1, [1], [2]))],
    )
    proto = model(nodes=[helper.make_node("Scale", ["x"], ["y"], domain="acme")])
    proto.functions.append(function)
    info = proto.training_info.add()
    info.algorithm.initializer.append(numpy_helper.from_array(np.ones(2, np.float16), "rate"))
    info.initialization.initializer.append(helper.make_tensor("rate", TensorProto.FLOAT, [], [1]))
    checkpoint, _ = table(proto)
    assert [(tensor.name, tensor.dtype) for tensor in checkpoint.tensors] == [
        ("Scale/by", "F32"),
        ("Scale/c/value", "F32"),
        ("rate", "F32"),
        ("training_info[0]/algorithm/rate", "F16"),
    ]
    assert checkpoint.metadata["graph.operators"] == ("Constant", "acme.Scale")


def test_sparse_initializers() -> None:
    values = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "s")
    indices = numpy_helper.from_array(np.array([[0, 1], [1, 0], [1, 1]], np.int64))
    proto = model()
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 2]))
    checkpoint, data = table(proto)
    stored, where = checkpoint.tensors
    assert [(t.name, t.dtype, t.shape) for t in checkpoint.tensors] == [
        ("s", "F32", (3,)),
        ("s/indices", "I64", (3, 2)),
    ]
    check(stored, data, values)
    check(where, data, indices)


def test_duplicate_and_unnamed_initializers() -> None:
    first = numpy_helper.from_array(np.ones(2, np.float32), "w")
    second = numpy_helper.from_array(np.ones(3, np.float32), "w")
    unnamed = numpy_helper.from_array(np.ones(4, np.float32))
    checkpoint, _ = table(model(first, second, unnamed, unnamed))
    assert [(tensor.name, tensor.shape) for tensor in checkpoint.tensors] == [
        ("initializer", (4,)),
        ("initializer#2", (4,)),
        ("w", (2,)),
    ]
    (problem,) = checkpoint.problems
    assert problem.kind is ProblemKind.DUPLICATE_TENSOR
    assert "'w'" in problem.what


def test_what_cannot_be_told_is_left_out_and_said() -> None:
    text = TensorProto(name="labels", dims=[2], data_type=8, string_data=[b"cat", b"dog"])
    odd = TensorProto(name="odd", dims=[2], data_type=99, raw_data=b"12")
    chunk = TensorProto(name="part", dims=[2], data_type=TensorProto.UINT8, raw_data=b"12")
    chunk.segment.end = 2
    good = numpy_helper.from_array(np.ones(2, np.float32), "w")
    checkpoint, _ = table(model(text, text, odd, chunk, good))
    assert [tensor.name for tensor in checkpoint.tensors] == ["w"]
    assert {problem.kind for problem in checkpoint.problems} == {ProblemKind.NOT_FULLY_READ}
    words = " | ".join(problem.what for problem in checkpoint.problems)
    assert "STRING" in words
    assert "(2 times" in words
    assert "unknown type 99" in words
    assert "segment" in words


def test_metadata() -> None:
    value = helper.make_tensor_value_info
    inputs = [
        value("ids", TensorProto.INT64, ["batch", 128]),
        value("w", TensorProto.FLOAT, [2]),
        value("free", TensorProto.FLOAT16, None),
        value("half", TensorProto.FLOAT, [None, -1]),
        value("scalar", TensorProto.BOOL, []),
        helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [3]),
        helper.make_value_info("o", helper.make_optional_type_proto(inputs_type())),
        helper.make_value_info("m", helper.make_map_type_proto(TensorProto.INT64, inputs_type())),
    ]
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    graph = helper.make_graph([], "net", inputs, [value("y", TensorProto.FLOAT, ["b"])], [weight])
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)],
        producer_name="steel",
        producer_version="1.2",
        ir_version=10,
    )
    proto.domain, proto.model_version = "org.example", -3
    helper.set_model_props(proto, {"author": "me", "größe": "ja"})
    checkpoint, data = table(proto)
    assert checkpoint.format == "onnx"
    assert dict(checkpoint.metadata) == {
        "ir_version": 10,
        "producer_name": "steel",
        "producer_version": "1.2",
        "domain": "org.example",
        "model_version": -3,
        "opset_import.ai.onnx": 21,
        "opset_import.com.microsoft": 1,
        "metadata_props.author": "me",
        "metadata_props.größe": "ja",
        "graph.name": "net",
        "graph.nodes": 0,
        "graph.inputs": (
            "ids: INT64[batch, 128]",
            "free: FLOAT16",
            "half: FLOAT[?, -1]",
            "scalar: BOOL[]",
            "s: sequence(FLOAT[3])",
            "o: optional(FLOAT[3])",
            "m: map(FLOAT[3])",
        ),
        "graph.outputs": ("y: FLOAT[b]",),
        "graph.operators": (),
    }
    assert looks_like_onnx(data[:HEAD_BYTES])


def inputs_type() -> onnx.TypeProto:
    return helper.make_tensor_type_proto(TensorProto.FLOAT, [3])


def test_large_tensors_are_not_read(tmp_path: Path) -> None:
    class Noting(BytesReader):
        total = 0

        def read(self, offset: int, length: int) -> bytes:
            self.total += length
            return super().read(offset, length)

    arrays = [np.zeros(500_000, np.float32) for _ in range(8)]
    proto = model(*(numpy_helper.from_array(a, f"w{i}") for i, a in enumerate(arrays)))
    reader = Noting("m.onnx", proto.SerializeToString())
    assert len(read(reader, {}).tensors) == 8
    assert reader.size > 16_000_000
    assert reader.total < 100_000
