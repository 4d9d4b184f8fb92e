"""ONNX files that lie, overflow, nest, repeat themselves or are something else."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.onnx.graph import LONGEST_SCOPE, MOST_OPERATORS
from steelyard.checkpoints.onnx.reader import read
from steelyard.checkpoints.onnx.recognizing import HEAD_BYTES, looks_like_onnx
from steelyard.checkpoints.tensors import Checkpoint, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.memory import BytesReader

FLOAT, INT32, INT64, INT4 = (
    TensorProto.FLOAT,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.INT4,
)


def model(*initializers: TensorProto, nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(nodes or [], "main", [], [], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def load(data: bytes, limits: Limits | None = None) -> Checkpoint:
    return read(BytesReader("m.onnx", data), {"m.onnx": len(data)}, limits or Limits())


def table(
    *initializers: TensorProto,
    nodes: list[onnx.NodeProto] | None = None,
    limits: Limits | None = None,
) -> Checkpoint:
    return load(model(*initializers, nodes=nodes).SerializeToString(), limits)


def raw(shape: list[int], data: bytes, data_type: int = FLOAT) -> TensorProto:
    tensor = TensorProto(name="w", dims=shape, raw_data=data)
    tensor.data_type = data_type
    return tensor


def chunk(number: int, payload: bytes) -> bytes:
    """Encode a field of bytes, whatever its length."""
    length, out = len(payload), bytearray([number << 3 | 2])
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + payload


def both(value: bytes, **typed: list[int] | list[float]) -> TensorProto:
    tensor = TensorProto(name="w", dims=[1], data_type=FLOAT, raw_data=value)
    tensor.MergeFrom(TensorProto(**typed))  # type: ignore[arg-type]  # the fields vary
    return tensor


WRONG = [
    (raw([2, 3], bytes(20)), "needs 24 bytes"),
    (raw([2, 3], bytes(28)), "needs 24 bytes"),
    (raw([2, 3], b""), "needs 24 bytes"),
    (raw([], b""), "needs 4 bytes"),
    (raw([5], bytes(2), INT4), "needs 3 bytes"),
    (raw([-1], b""), "negative"),
    (raw([-2, -3], bytes(24)), "negative"),
    (raw([2**31, 2**32], b""), "overflows"),
    (raw([2**62, 2], b""), "overflows"),
    (raw([2**63 - 1], b""), "needs"),
    (both(bytes(4), float_data=[1.0]), "raw_data and typed"),
    (both(b"", int32_data=[1]), "keeps FLOAT elements in field 5"),
    (both(b"", int32_data=[1], float_data=[1.0]), "field 4, 5"),
    (TensorProto(name="w", dims=[2], data_type=FLOAT, float_data=[1]), "needs 8 bytes"),
    (TensorProto(name="w", dims=[3], data_type=INT32, int32_data=[1, 2]), "needs 3 numbers"),
    (TensorProto(name="w", dims=[2], data_type=INT64, int64_data=[1] * 21), "needs 2 numbers"),
    (TensorProto(name="w", dims=[9], data_type=INT4, int32_data=[1] * 4), "needs 5 numbers"),
    (TensorProto(name="w", dims=[1 << 40], data_type=INT32, int32_data=[1]), "needs 1099511627776"),
]


@pytest.mark.parametrize(("tensor", "what"), WRONG)
def test_tensors_that_contradict_themselves(tensor: TensorProto, what: str) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        table(tensor)
    assert caught.value.file == "m.onnx"
    assert caught.value.offset
    assert "'w'" in str(caught.value)


def test_raw_data_twice() -> None:
    tensor = raw([1], bytes(4)).SerializeToString() + chunk(9, bytes(4))
    with pytest.raises(CheckpointError, match="twice"):
        load(model().SerializeToString() + chunk(7, chunk(5, tensor)))


def test_a_shape_with_zero_may_have_large_dimensions() -> None:
    assert table(raw([2**62, 0, 2**62], b"")).tensors[0].elements == 0


def test_sparse_tensors_that_do_not_fit_together() -> None:
    def sparse(shape: list[int], indices: list[int]) -> onnx.SparseTensorProto:
        places = numpy_helper.from_array(np.zeros(indices, np.int64))
        values = numpy_helper.from_array(np.zeros(shape, np.float32), "s")
        return onnx.SparseTensorProto(values=values, indices=places, dims=[4, 4])

    half = onnx.SparseTensorProto(values=raw([1], bytes(4)))
    twice = sparse([2], [2]).SerializeToString() * 2
    for payload in (
        *(item.SerializeToString() for item in (sparse([2], [3]), sparse([2], [2, 3]), half)),
        sparse([2, 2], [2, 2]).SerializeToString(),
        twice,
    ):
        with pytest.raises(CheckpointError, match="sparse tensor"):
            load(model().SerializeToString() + chunk(7, chunk(15, payload)))


def test_every_cut_of_a_small_model_is_refused_or_read() -> None:
    branch = helper.make_graph([], "b", [], [], [numpy_helper.from_array(np.ones(3), "x")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch)
    proto = model(raw([4, 4], bytes(64)), nodes=[node])
    helper.set_model_props(proto, {"a": "b"})
    data = proto.SerializeToString()
    assert len(load(data).tensors) == 2
    for cut in range(0, len(data), 7):
        checkpoint = None
        with suppress(Truncated, Unsupported):
            checkpoint = load(data[:cut])
        for tensor in checkpoint.tensors if checkpoint else ():
            assert (tensor.offset or 0) + tensor.nbytes <= cut


def nested(levels: int, seed: bytes, *numbers: int) -> bytes:
    data = seed
    for _ in range(levels):
        for number in numbers:
            data = chunk(number, data)
    return data


@pytest.mark.parametrize(
    "path",
    [
        (6, 5, 1),  # graph in attribute in node in graph
        (11, 5, 1),
    ],
)
def test_graphs_in_graphs_ten_thousand_deep(path: tuple[int, ...]) -> None:
    data = model().SerializeToString() + chunk(7, nested(10_000, b"", *path))
    with pytest.raises(LimitExceeded, match="deeper than 64"):
        load(data)
    shallow = model().SerializeToString() + chunk(7, nested(18, b"", *path))
    assert load(shallow).metadata["graph.nodes"] == 1


@pytest.mark.parametrize("number", [4, 9])
def test_types_in_types_ten_thousand_deep(number: int) -> None:
    value = chunk(2, nested(10_000, b"", 1, number))
    with pytest.raises(LimitExceeded, match="deeper than 64"):
        load(model().SerializeToString() + chunk(7, chunk(11, value)))


def test_limits_on_rank_names_tensors_and_metadata() -> None:
    with pytest.raises(LimitExceeded, match="32 dimensions"):
        table(raw([1] * 33, bytes(4)))
    packed = chunk(1, b"\x01" * 400) + raw([], bytes(4)).SerializeToString()
    with pytest.raises(LimitExceeded, match="the shape of a tensor"):
        load(model().SerializeToString() + chunk(7, chunk(5, packed)))
    with pytest.raises(LimitExceeded, match="the name of a tensor"):
        table(numpy_helper.from_array(np.ones(1), "n" * 5000))
    with pytest.raises(LimitExceeded, match="more than 2 tensors"):
        table(*[numpy_helper.from_array(np.ones(1))] * 3, limits=Limits(tensors=2))
    proto = model()
    helper.set_model_props(proto, {f"k{index}": "v" for index in range(20)})
    with pytest.raises(LimitExceeded, match="more than 10 metadata"):
        load(proto.SerializeToString(), Limits(metadata_keys=10))
    node = helper.make_node("Op", [], ["y"], a=1, b=2, c=3, d=4)
    with pytest.raises(LimitExceeded, match="more than 3 attributes"):
        table(nodes=[node], limits=Limits(metadata_keys=3))


def test_long_and_repeated_metadata_is_told_and_left() -> None:
    proto = model()
    for key, value in (("long", "x" * 50), ("twice", "1"), ("twice", "2")):
        proto.metadata_props.add(key=key, value=value)
    checkpoint = load(proto.SerializeToString(), Limits(string_bytes=49))
    assert checkpoint.metadata["metadata_props.long"] is None
    assert checkpoint.metadata["metadata_props.twice"] == "1"
    assert [problem.kind for problem in checkpoint.problems] == [
        ProblemKind.NOT_FULLY_READ,
        ProblemKind.ODD_METADATA,
    ]


def test_operators_and_values_are_cut_to_their_limits() -> None:
    nodes = [helper.make_node(f"Op{index}", [], []) for index in range(MOST_OPERATORS + 5)]
    proto = model(nodes=nodes)
    for index in range(100):
        proto.graph.input.append(helper.make_tensor_value_info(f"i{index}", FLOAT, [1] * 40))
    checkpoint = load(proto.SerializeToString())
    operators, inputs = (checkpoint.metadata[f"graph.{key}"] for key in ("operators", "inputs"))
    assert isinstance(operators, tuple)
    assert isinstance(inputs, tuple)
    assert len(operators) == MOST_OPERATORS
    assert len(inputs) == 64
    assert str(inputs[0]).endswith("1, ...]")
    assert checkpoint.problems[0].kind is ProblemKind.NOT_FULLY_READ


def test_paths_of_nested_tensors_stay_short() -> None:
    inner = [numpy_helper.from_array(np.ones(1)) for _ in range(50)]
    node = helper.make_node(
        "If", [], [], "n" * 4000, then_branch=helper.make_graph([], "b", [], [], inner)
    )
    tensors = table(nodes=[node]).tensors
    assert len({tensor.name for tensor in tensors}) == 50
    assert max(len(tensor.name) for tensor in tensors) < LONGEST_SCOPE


def test_names_that_are_not_utf8_stay_apart() -> None:
    tensors = b"".join(
        chunk(5, b"\x08\x01\x10\x02" + chunk(8, name) + chunk(9, b"1"))
        for name in (b"\xff", b"\xfe", b"a\nb\0")
    )
    names = [t.name for t in load(model().SerializeToString() + chunk(7, tensors)).tensors]
    assert names == ["\\xfe", "\\xff", "a\nb\0"]


def test_a_model_of_two_graphs_is_merged_as_protobuf_does() -> None:
    data = model(raw([1], bytes(4))).SerializeToString()
    other = numpy_helper.from_array(np.ones(2, np.float32), "v")
    data += chunk(7, chunk(5, other.SerializeToString()) + chunk(1, b""))
    assert [item.name for item in onnx.load_from_string(data).graph.initializer] == ["w", "v"]
    checkpoint = load(data)
    assert [tensor.name for tensor in checkpoint.tensors] == ["v", "w"]
    assert checkpoint.metadata["graph.nodes"] == 1


OTHERS = [
    b"",
    b"\x00" * 64,
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    b"<!DOCTYPE html><html></html>",
    b"GGUF\x03\x00\x00\x00" + bytes(40),
    b"PK\x03\x04" + bytes(40),
    b"\x80\x04\x95" + bytes(40),
    b"\x08\x01\x12\x20\x0a\x1e\x0a\x04\x00\x01\x02\x03" + bytes(24),  # a TensorFlow SavedModel
    b"\x08\x0a",
    b"\x08\x0a\x12\x04test\x3a",
    b"\x3a\x00",
]


@pytest.mark.parametrize("data", OTHERS)
def test_what_is_not_onnx_is_unsupported_or_cut_short(data: bytes) -> None:
    with pytest.raises((Unsupported, Truncated)) as caught:
        load(data)
    assert caught.value.file == "m.onnx"
    assert isinstance(caught.value, Truncated) == (data[-1:] == b"\x3a")


@pytest.mark.parametrize("data", OTHERS[:9])
def test_what_does_not_look_like_onnx(data: bytes) -> None:
    assert not looks_like_onnx(data)


def test_models_look_like_onnx_from_any_head_of_sixteen_bytes_on() -> None:
    proto = model(raw([64], bytes(256)))
    for name in ("", "pytorch", "größe", "x" * 300):
        proto.producer_name = name
        data = proto.SerializeToString()
        assert all(looks_like_onnx(data[:size]) for size in range(16, HEAD_BYTES))
    proto.doc_string = "Two\nlines"
    assert looks_like_onnx(proto.SerializeToString()[:HEAD_BYTES])


@given(st.binary(max_size=64))
def test_any_bytes_are_looked_at_and_refused_in_peace(data: bytes) -> None:
    assert isinstance(looks_like_onnx(data), bool)
    with suppress(CheckpointError):
        assert load(b"\x08\x0a" + data).format == "onnx"
