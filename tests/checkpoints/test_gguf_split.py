"""Split models: names taken apart, parts joined, and everything that can be wrong with them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints import gguf
from steelyard.checkpoints.tensors import Checkpoint, ProblemKind
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.checkpoints.gguf_files import Value, Weights, gguf_bytes


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("m-00001-of-00003.gguf", ("m", 1, 3)),
        ("dir/m.Q4_K-00003-of-00003.gguf", ("dir/m.Q4_K", 3, 3)),
        ("a-00001-of-00002-00002-of-00002.gguf", ("a-00001-of-00002", 2, 2)),
        ("-00001-of-00001.gguf", ("", 1, 1)),
        ("m.gguf", None),
        ("m-00000-of-00003.gguf", None),
        ("m-00004-of-00003.gguf", None),
        ("m-1-of-3.gguf", None),
        ("m-00001-of-00003.gguf.part", None),
        ("m-00001-of-00003.safetensors", None),
        ("m-0000١-of-00003.gguf", None),  # noqa: RUF001  a digit of another script is the point
    ],
)
def test_names(path: str, expected: tuple[str, int, int] | None) -> None:
    assert gguf.split_name(path) == expected


@given(st.text(), st.integers(1, 99999), st.integers(1, 99999))
def test_names_round_trip(prefix: str, number: int, count: int) -> None:
    parsed = gguf.split_name(f"{prefix}-{number:05d}-of-{count:05d}.gguf")
    assert parsed == ((prefix, number, count) if number <= count else None)


def part(
    number: int,
    names: str,
    *,
    count: int = 3,
    tensors: int = 5,
    file: str | None = None,
    extra: dict[str, Value] | None = None,
) -> Checkpoint:
    """Read part `number`, from 0, with one small tensor for each letter of `names`."""
    metadata: dict[str, Value] = {
        **(extra or {}),
        "split.no": number,
        "split.count": count,
        "split.tensors.count": tensors,
    }
    weights = [Weights(name, 0, (8,), bytes(32)) for name in names]
    name = file or f"m-{number + 1:05d}-of-{count:05d}.gguf"
    return gguf.read(BytesReader(name, gguf_bytes(metadata, weights)))


def kinds(checkpoint: Checkpoint) -> list[ProblemKind]:
    return [problem.kind for problem in checkpoint.problems]


def test_parts_are_joined_in_any_order() -> None:
    parts = [part(2, "e"), part(0, "cd", extra={"general.name": "whole"}), part(1, "ab")]
    whole = gguf.merge(parts)
    assert whole.problems == ()
    assert whole.format == "gguf"
    assert whole.files == tuple(f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3))
    assert whole.metadata["general.name"] == "whole"
    assert [tensor.name for tensor in whole.tensors] == list("abcde")
    assert whole.tensors[0].file == "m-00002-of-00003.gguf"
    assert whole == gguf.merge(parts[::-1])


def test_a_split_of_the_gguf_package(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    writer = GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    writer.add_string("general.name", "whole")
    for index in range(5):
        writer.add_tensor(f"t{index}", np.full((2, 3), index, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    paths = sorted(tmp_path.glob("*.gguf"))
    parts = [gguf.read(BytesReader(path.name, path.read_bytes())) for path in paths]
    whole = gguf.merge(parts)
    assert len(parts) == 3
    assert whole.problems == ()
    assert whole.metadata["general.name"] == "whole"
    assert [tensor.name for tensor in whole.tensors] == [f"t{index}" for index in range(5)]
    for index, tensor in enumerate(whole.tensors):
        data = (tmp_path / tensor.file).read_bytes()
        values = np.frombuffer(data, np.float32, tensor.elements, tensor.offset or 0)
        assert (values == index).all()


def test_missing_parts_are_named() -> None:
    whole = gguf.merge([part(2, "e", file="dir/m-00003-of-00003.gguf")])
    missing = [
        problem.file for problem in whole.problems if problem.kind is ProblemKind.MISSING_SHARD
    ]
    assert missing == ["dir/m-00001-of-00003.gguf", "dir/m-00002-of-00003.gguf"]
    assert ProblemKind.INDEX_MISMATCH in kinds(whole)


def test_a_claimed_count_of_parts_costs_nothing() -> None:
    whole = gguf.merge([part(0, "a", count=2**32 - 1, tensors=1, file="m.gguf")])
    assert kinds(whole) == [ProblemKind.MISSING_SHARD] * 17
    assert whole.problems[-1].what == f"{2**32 - 2 - 16} more of {2**32 - 1} parts are not there"


def test_duplicate_tensors_are_reported_and_the_first_is_kept() -> None:
    whole = gguf.merge([part(1, "ba"), part(0, "bcd"), part(2, "e")])
    (problem,) = whole.problems
    assert problem.kind is ProblemKind.DUPLICATE_TENSOR
    assert problem.file == "m-00002-of-00003.gguf"
    assert "'b'" in problem.what
    assert "m-00001-of-00003.gguf" in problem.what
    assert whole.tensors[1].file == "m-00001-of-00003.gguf"


def test_a_wrong_count_of_tensors_is_reported() -> None:
    whole = gguf.merge([part(0, "a"), part(1, "b"), part(2, "c")])
    (problem,) = whole.problems
    assert problem.kind is ProblemKind.INDEX_MISMATCH
    assert problem.what == "split.tensors.count is 5, but the parts hold 3 tensors"


def test_parts_at_odds_are_reported() -> None:
    first = part(0, "ab", extra={"general.license": "mit"})
    second = part(1, "cd", extra={"general.license": "other", "general.name": "x"})
    doubled = part(1, "e", file="m-00003-of-00003.gguf")
    strange = part(7, "", count=4, file="z.gguf")
    whole = gguf.merge([first, second, doubled, strange])
    whats = {(problem.file, problem.what) for problem in whole.problems}
    assert whats == {
        ("m-00003-of-00003.gguf", "part 3 of 3 is not there"),
        (
            "m-00002-of-00003.gguf",
            "2 metadata keys differ from the first part's: 'general.license', 'general.name'",
        ),
        ("m-00003-of-00003.gguf", "split.no is 1, but the name says part 3"),
        ("m-00003-of-00003.gguf", "split.no is 1, as in m-00002-of-00003.gguf"),
        ("z.gguf", "split.no is 7, but there are 3 parts"),
        ("z.gguf", "split.count is 4, elsewhere 3"),
    }


def test_names_stand_in_where_metadata_is_silent() -> None:
    def silent(number: int) -> Checkpoint:
        data = gguf_bytes({}, [Weights(f"t{number}", 0, (8,), bytes(32))])
        return gguf.read(BytesReader(f"m-0000{number}-of-00003.gguf", data))

    whole = gguf.merge([silent(3), silent(1)])
    assert [(problem.kind, problem.file) for problem in whole.problems] == [
        (ProblemKind.MISSING_SHARD, "m-00002-of-00003.gguf")
    ]
    assert whole.files[0] == "m-00001-of-00003.gguf"


def test_one_whole_file_merges_to_itself() -> None:
    alone = gguf.read(BytesReader("m.gguf", gguf_bytes({"a": 1}, [Weights("w", 0, (), bytes(4))])))
    assert gguf.merge([alone]) == alone


def test_problems_of_parts_are_kept() -> None:
    weights = [Weights("w", 0, (8,), bytes(32))]
    odd = gguf.read(BytesReader("m.gguf", gguf_bytes({}, weights, trailing=b"x")))
    assert gguf.merge([odd]).problems == odd.problems != ()


def test_no_parts_are_an_error() -> None:
    with pytest.raises(CheckpointError, match="no parts"):
        gguf.merge([])
