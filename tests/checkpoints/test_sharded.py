from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.sharded import merge, shard_name
from steelyard.checkpoints.tensors import Checkpoint, PickleImport, Problem, ProblemKind, Tensor
from steelyard.errors import CheckpointError

INDEX = "sub/model.safetensors.index.json"
FIRST = "sub/model-00001-of-00002.safetensors"
SECOND = "sub/model-00002-of-00002.safetensors"


def tensor(name: str, file: str, offset: int = 0, nbytes: int = 8, **more: Any) -> Tensor:
    return Tensor(name, "F32", (nbytes // 4,), "plain", file, offset, nbytes, **more)


def part(file: str, *tensors: Tensor, **more: Any) -> Checkpoint:
    return Checkpoint("safetensors", (file,), tensors, **more)


def two() -> dict[str, Checkpoint]:
    return {
        SECOND: part(SECOND, tensor("a", SECOND), tensor("d", SECOND, 8)),
        FIRST: part(FIRST, tensor("b", FIRST), tensor("c", FIRST, 8)),
    }


def index(total: Any = 32, **changes: str | None) -> Any:
    one, other = FIRST.split("/")[1], SECOND.split("/")[1]
    weight_map = {"a": other, "b": one, "c": one, "d": other} | changes
    return {
        "metadata": {"total_size": total},
        "weight_map": {key: value for key, value in weight_map.items() if value is not None},
    }


def kinds(checkpoint: Checkpoint) -> Sequence[ProblemKind]:
    return [problem.kind for problem in checkpoint.problems]


def test_a_sound_set_is_joined_without_a_word() -> None:
    found = merge("safetensors", two(), index(), INDEX)
    assert [tensor.name for tensor in found.tensors] == ["a", "b", "c", "d"]
    assert found.files == (FIRST, SECOND)
    assert found.format == "safetensors"
    assert found.metadata == {"index.total_size": 32}
    assert found.problems == ()


@given(st.permutations([FIRST, SECOND]))
def test_the_order_of_the_parts_does_not_matter(order: list[str]) -> None:
    parts = two()
    expected = merge("safetensors", parts, index(), INDEX)
    assert merge("safetensors", {path: parts[path] for path in order}, index(), INDEX) == expected


def test_what_the_parts_say_is_kept() -> None:
    parts = two()
    problem = Problem(ProblemKind.UNUSED_BYTES, "x", FIRST, 3)
    imports = (PickleImport("os.system", SECOND, 7),)
    parts[FIRST] = part(FIRST, metadata={"format": "pt", "x": "1"}, problems=(problem,))
    parts[SECOND] = part(SECOND, metadata={"format": "pt", "x": "2"}, imports=imports)
    found = merge("safetensors", parts)
    assert found.metadata == {"format": "pt", "x": "1"}
    assert found.imports == imports
    assert found.problems[0] == problem
    assert found.problems[1].kind is ProblemKind.ODD_METADATA
    assert '"x"' in found.problems[1].what


def test_a_missing_shard_is_named_and_nothing_else_is_said() -> None:
    parts = two()
    del parts[SECOND]
    (problem,) = merge("safetensors", parts, index(), INDEX).problems
    assert (problem.kind, problem.file) == (ProblemKind.MISSING_SHARD, INDEX)
    assert "1 of 2" in problem.what
    assert f'"{SECOND}"' in problem.what
    assert "2 tensors" in problem.what


def test_a_shard_that_was_refused_is_not_missing() -> None:
    parts = two()
    del parts[SECOND]
    assert merge("safetensors", parts, index(), INDEX, {SECOND}).problems == ()
    assert merge("safetensors", parts, None, None, {SECOND}).problems == ()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"e": FIRST.split("/")[1]}, 'no shard holds what the index says it does: "e"'),
        ({"a": FIRST.split("/")[1]}, 'another shard than the index says holds: "a"'),
        ({"a": None}, 'tensors that the index does not name: "a"'),
    ],
)
def test_a_tensor_in_the_wrong_place_is_named(changes: Any, what: str) -> None:
    (problem,) = merge("safetensors", two(), index(**changes), INDEX).problems
    assert (problem.kind, problem.file) == (ProblemKind.INDEX_MISMATCH, INDEX)
    assert what in problem.what


def test_many_mismatches_are_one_problem() -> None:
    parts = {FIRST: part(FIRST, *(tensor(f"t{n}", FIRST, 8 * n) for n in range(1000)))}
    (problem,) = merge("safetensors", parts, {"weight_map": {}}, INDEX).problems
    assert problem.what.endswith('"t0", "t1", "t2" and 997 more')


def test_a_tensor_in_two_shards_is_taken_from_the_one_that_the_index_names() -> None:
    parts = two()
    parts[FIRST] = part(FIRST, *parts[FIRST].tensors, tensor("a", FIRST, 16))
    found = merge("safetensors", parts, index(), INDEX)
    assert kinds(found) == [ProblemKind.DUPLICATE_TENSOR]
    assert '"a"' in found.problems[0].what
    assert found.tensors[0].file == SECOND
    assert merge("safetensors", parts).tensors[0].file == FIRST


@pytest.mark.parametrize("total", [31, 33, 0, -1, 10**300])
def test_a_wrong_total_is_told(total: int) -> None:
    (problem,) = merge("safetensors", two(), index(total), INDEX).problems
    assert problem.kind is ProblemKind.INDEX_MISMATCH
    assert "the shards hold 32" in problem.what


@pytest.mark.parametrize("total", ["32", True, [], 32.5, float("inf"), float("nan"), None])
def test_a_total_that_is_no_number_is_told(total: Any) -> None:
    assert kinds(merge("safetensors", two(), index(total), INDEX)) == [ProblemKind.ODD_METADATA]


def test_a_whole_float_is_a_total() -> None:
    assert merge("safetensors", two(), index(32.0), INDEX).problems == ()


@pytest.mark.parametrize(("total", "sound"), [(8, True), (16, True), (7, False), (17, False)])
def test_tied_tensors_may_be_counted_once_or_twice(total: int, sound: bool) -> None:
    parts = {FIRST: part(FIRST, tensor("a", FIRST, 64), tensor("b", FIRST, 64))}
    weight_map = dict.fromkeys("ab", FIRST.split("/")[1])
    stated: Any = {"metadata": {"total_size": total}, "weight_map": weight_map}
    assert (merge("pytorch", parts, stated, INDEX).problems == ()) is sound


def test_a_strided_tensor_counts_its_elements() -> None:
    view = Tensor("a", "F32", (2, 2), "plain", FIRST, 0, 28, strides=(5, 1))
    weight_map = {"a": FIRST.split("/")[1]}
    stated: Any = {"metadata": {"total_size": 16}, "weight_map": weight_map}
    assert merge("pytorch", {FIRST: part(FIRST, view)}, stated, INDEX).problems == ()


@pytest.mark.parametrize(
    "file", ["../x.bin", "/etc/passwd", "a/b.bin", "..", ".", "", "a\\b", "C:x", "a\0b", 3, None]
)
def test_a_file_outside_the_folder_is_refused(file: Any) -> None:
    with pytest.raises(CheckpointError) as caught:
        merge("safetensors", two(), {"weight_map": {"a": file}}, INDEX)
    assert caught.value.file == INDEX


@pytest.mark.parametrize("document", [[], "x", 3, {}, {"weight_map": []}, {"weight_map": None}])
def test_what_is_no_index_is_refused(document: Any) -> None:
    with pytest.raises(CheckpointError, match="weight_map"):
        merge("safetensors", two(), document, INDEX)


def test_without_an_index_the_numbers_are_checked() -> None:
    assert merge("safetensors", two()).problems == ()
    paths = [f"m-0000{number}-of-00007.bin" for number in (2, 5)]
    (problem,) = merge("pytorch", {path: part(path) for path in paths}).problems
    assert problem.kind is ProblemKind.MISSING_SHARD
    assert problem.what == "of 7 shards, number 1, 3, 4 and 2 more is not there"
    assert problem.file == paths[0]


def test_numbers_may_begin_with_zero() -> None:
    paths = [f"m-0000{number}-of-00003.bin" for number in (0, 1, 2)]
    assert merge("pytorch", {path: part(path) for path in paths}).problems == ()


def test_a_set_of_nothing_is_empty() -> None:
    assert merge("safetensors", {}) == Checkpoint("safetensors", (), ())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (FIRST, ("sub/model.safetensors", 1, 2)),
        ("pytorch_model-00003-of-00010.bin", ("pytorch_model.bin", 3, 10)),
        ("model-00001-of-00002.fp16.safetensors", ("model.fp16.safetensors", 1, 2)),
        ("a-1-of-2-00001-of-00002.bin", ("a-1-of-2.bin", 1, 2)),
        ("m-00001-of-00001", ("m", 1, 1)),
        ("m-00000-of-00002.bin", ("m.bin", 0, 2)),
        ("model.safetensors", None),
        ("m-00003-of-00002.bin", None),
        ("m-00000-of-00000.bin", None),
        ("m-0000001-of-0000002.bin", None),
        ("m-x-of-2.bin", None),
        ("-00001-of-00002.bin", None),
        ("sub/-00001-of-00002.bin", None),
        ("m-00001-of-00002/x.bin", None),
        ("m-\u0661-of-\u0662.bin", None),
    ],
)
def test_shard_names(path: str, name: tuple[str, int, int] | None) -> None:
    assert shard_name(path) == name


@given(
    st.text("ab/.-", min_size=1).filter(lambda stem: not stem.endswith("/")),
    st.integers(1, 99999),
    st.integers(0, 9),
    st.sampled_from(["", ".bin", ".fp16.safetensors"]),
)
def test_shard_names_round_trip(stem: str, number: int, more: int, suffix: str) -> None:
    count = min(number + more, 99999)
    path = f"{stem}-{number:05d}-of-{count:05d}{suffix}"
    assert shard_name(path) == (stem + suffix, number, count)
