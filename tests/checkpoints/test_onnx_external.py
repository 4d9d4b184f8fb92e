"""ONNX tensors in files beside the model: found where they are, refused where they must not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from steelyard.checkpoints.onnx.reader import read
from steelyard.checkpoints.onnx.tensors import resolve
from steelyard.checkpoints.tensors import Checkpoint, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded, Truncated
from steelyard.sources.memory import BytesReader

FLOAT = TensorProto.FLOAT


def model(*initializers: TensorProto) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph([], "main", [], [], list(initializers)))


def external(name: str, shape: list[int], **entries: str) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=FLOAT, data_location="EXTERNAL")
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def table(*initializers: TensorProto, siblings: dict[str, int], name: str = "m.onnx") -> Checkpoint:
    data = model(*initializers).SerializeToString()
    return read(BytesReader(name, data), siblings | {name: len(data)})


@pytest.mark.parametrize("one_file", [True, False])
def test_models_saved_with_external_data(tmp_path: Path, one_file: bool) -> None:
    rng = np.random.default_rng(1)
    arrays = {f"w{i}": rng.random((40, i + 7), np.float32) for i in range(5)}
    proto = model(*(numpy_helper.from_array(value, name) for name, value in arrays.items()))
    path = tmp_path / "onnx" / "model.onnx"
    path.parent.mkdir()
    onnx.save_model(
        proto,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location="model.onnx_data" if one_file else None,
        size_threshold=0,
    )
    siblings = {
        str(file.relative_to(tmp_path)): file.stat().st_size for file in path.parent.iterdir()
    }
    checkpoint = read(BytesReader("onnx/model.onnx", path.read_bytes()), siblings)
    assert checkpoint.files == tuple(sorted(siblings))
    assert len(checkpoint.files) == (2 if one_file else 6)
    assert checkpoint.problems == ()
    assert [tensor.name for tensor in checkpoint.tensors] == sorted(arrays)
    for tensor in checkpoint.tensors:
        assert tensor.offset is not None
        data = (tmp_path / tensor.file).read_bytes()
        expected = arrays[tensor.name]
        assert tensor.shape == expected.shape
        assert data[tensor.offset : tensor.offset + tensor.nbytes] == expected.tobytes()


def test_offset_and_length_may_be_left_out() -> None:
    (tensor,) = table(external("w", [4], location="w.bin"), siblings={"w.bin": 16}).tensors
    assert (tensor.file, tensor.offset, tensor.nbytes) == ("w.bin", 0, 16)


def test_data_in_another_folder_of_the_source() -> None:
    tensor = external("w", [4], location="../data/./w.bin", offset="8")
    checkpoint = table(tensor, siblings={"data/w.bin": 24}, name="onnx/m.onnx")
    assert checkpoint.files == ("data/w.bin", "onnx/m.onnx")
    assert checkpoint.tensors[0].offset == 8


def test_a_missing_file_is_told_once_and_its_tensors_are_left_out() -> None:
    inline = numpy_helper.from_array(np.ones(2, np.float32), "here")
    gone = [external(f"w{i}", [4], location="gone.bin", offset=str(16 * i)) for i in range(3)]
    memory = external("m", [4], location="*/_ORT_MEM_ADDR_/*", offset="140737353760768")
    checkpoint = table(inline, *gone, memory, siblings={})
    assert [tensor.name for tensor in checkpoint.tensors] == ["here"]
    assert checkpoint.files == ("m.onnx",)
    first, second = checkpoint.problems
    assert first.kind is second.kind is ProblemKind.MISSING_SHARD
    assert "'gone.bin'" in first.what
    assert "3 times" in first.what


def test_many_missing_files_are_cut_to_a_few_lines() -> None:
    gone = [external(f"w{i}", [4], location=f"gone{i}.bin") for i in range(200)]
    problems = table(*gone, siblings={}).problems
    assert len(problems) == 65
    assert problems[-1].what == "136 more of this kind"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/etc/passwd",
        "//host/share/w.bin",
        "C:/w.bin",
        "c:w.bin",
        "..\\w.bin",
        "\\\\host\\share",
        "data\\w.bin",
        "../../w.bin",
        "a/../../../w.bin",
        "..",
        "../..",
        "w.bin\0.txt",
        "\0",
    ],
)
def test_places_outside_the_source_are_refused(location: str) -> None:
    for name in ("onnx/m.onnx", "m.onnx"):
        with pytest.raises(CheckpointError) as caught:
            table(external("w", [4], location=location), siblings={"w.bin": 16}, name=name)
        assert type(caught.value) is CheckpointError
        assert repr(location) in caught.value.what
        assert caught.value.file == name
    with pytest.raises(CheckpointError):
        resolve("m.onnx", "../w.bin")


def test_a_location_that_is_missing_too_long_or_not_text() -> None:
    with pytest.raises(CheckpointError, match="refused"):
        table(external("w", [4], offset="0"), siblings={})
    with pytest.raises(CheckpointError, match="location"):
        table(external("w", [4], location="a" * 5000), siblings={})
    raw = model(external("w", [4], location="w.binXX")).SerializeToString()
    with pytest.raises(CheckpointError, match="refused") as caught:
        read(BytesReader("m.onnx", raw.replace(b"XX", b"\xff\xfe")), {})
    assert caught.value.offset


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"offset": "1"}, "w.bin at byte 1"),
        ({"offset": "9999999999999999999"}, "w.bin at byte 16"),
        ({"offset": "16"}, "w.bin at byte 16"),
    ],
)
def test_a_range_past_the_end_of_the_data(entries: dict[str, str], what: str) -> None:
    with pytest.raises(Truncated) as caught:
        table(external("w", [4], location="w.bin", **entries), siblings={"w.bin": 16})
    assert caught.value.location == what
    assert "m.onnx" in caught.value.what


@pytest.mark.parametrize("key", ["offset", "length"])
@pytest.mark.parametrize("text", ["-16", "", "1e3", "0x10", " 16", "٣", "9" * 40, "1.0", "16\0"])
def test_numbers_that_are_none(key: str, text: str) -> None:
    with pytest.raises(CheckpointError, match=f"external {key}"):
        table(external("w", [4], location="w.bin", **{key: text}), siblings={"w.bin": 64})


def test_a_length_that_does_not_fit_the_shape() -> None:
    with pytest.raises(CheckpointError, match="needs 16 bytes"):
        table(external("w", [4], location="w.bin", length="20"), siblings={"w.bin": 64})


def test_entries_that_are_there_twice() -> None:
    tensor = external("w", [4], location="w.bin")
    tensor.external_data.add(key="location", value="v.bin")
    with pytest.raises(CheckpointError, match="'location'"):
        table(tensor, siblings={"w.bin": 16, "v.bin": 16})


def test_shared_data_is_well_but_a_partial_overlap_is_told() -> None:
    shared = [external(name, [4], location="w.bin", offset="0") for name in ("a", "b")]
    assert table(*shared, siblings={"w.bin": 64}).problems == ()
    touching = external("c", [4], location="w.bin", offset="16")
    assert table(*shared, touching, siblings={"w.bin": 64}).problems == ()
    partial = external("d", [4], location="w.bin", offset="12")
    checkpoint = table(*shared, partial, siblings={"w.bin": 64})
    assert len(checkpoint.tensors) == 3
    (problem,) = checkpoint.problems
    assert (problem.kind, problem.file, problem.offset) == (
        ProblemKind.INDEX_MISMATCH,
        "w.bin",
        12,
    )
    assert "'d'" in problem.what
    within = external("e", [2], location="w.bin", offset="4")
    assert len(table(*shared, within, siblings={"w.bin": 64}).problems) == 1


def test_data_in_the_model_file_itself_is_checked_like_any_other() -> None:
    tensor = external("w", [4], location="m.onnx", offset="2")
    assert table(tensor, siblings={}).tensors[0].file == "m.onnx"
    with pytest.raises(Truncated):
        table(external("w", [400], location="m.onnx"), siblings={})


def test_a_key_that_is_too_long() -> None:
    tensor = external("w", [4], location="w.bin")
    tensor.external_data.add(key="k" * 5000, value="")
    with pytest.raises(LimitExceeded):
        table(tensor, siblings={"w.bin": 16})
