"""Pickles wherever they hide: where each is found, in which words, and where looking stops."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.examining import Budget, Examination, examine_file
from steelyard.checkpoints.examining.packed import Packed, packing_of
from steelyard.checkpoints.limits import Limits
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.corpus.opcodes import call, named, program, text
from tests.corpus.wrappers import (
    SOUND,
    in_base64,
    in_bytes,
    joblib_array,
    legacy,
    nested,
    objects,
    torch_zip,
    zipped,
)

BAD = program(call("os.system"))


def look(data: bytes, name: str = "a.pkl", limits: Limits | None = None) -> Examination:
    return examine_file(BytesReader(name, data), Budget(limits) if limits else None)


def only(found: Examination) -> tuple[str, str, int, str]:
    (item,) = [item for item in found.imports if item.name == "os.system"]
    return item.name, item.file, item.offset, item.chain


@pytest.mark.parametrize(
    ("data", "name", "place", "offset"),
    [
        (BAD, "a.pkl", "a.pkl", 2),
        (torch_zip(BAD), "m.zip", "m.zip!m/data.pkl", 2),
        (zipped({"x/y": BAD}, zipfile.ZIP_DEFLATED), "m.zip", "m.zip!x/y", 2),
        (torch_zip(torch_zip(BAD)), "m.pt", "m.pt!m/data.pkl!m/data.pkl", 2),
        (gzip.compress(BAD), "a.pkl.gz", "a.pkl.gz!gzip", 2),
        (gzip.compress(torch_zip(BAD)), "a", "a!gzip!m/data.pkl", 2),
        (objects(BAD), "x.npy", "x.npy", 130),
        (in_bytes(BAD), "a.pkl", "a.pkl!bytes at byte 17", 2),
        (in_base64(BAD), "a.pkl", "a.pkl!base64 at byte 8", 2),
        (SOUND + bytes(100) + BAD, "a.pkl", "a.pkl", 106),
        (gzip.compress(SOUND) + BAD, "a.gz", "a.gz!appended at byte 24", 2),
        (legacy(BAD), "m.bin", "m.bin", len(legacy(b"")) - 4 + 2),
    ],
)
def test_the_place_says_each_step_and_the_offset_counts_in_the_last(
    data: bytes, name: str, place: str, offset: int
) -> None:
    found = only(look(data, name))
    assert (found[0], found[1], found[3]) == ("os.system", place, 'os.system("true")')
    if name != "m.bin":
        assert found[2] == offset


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (call("builtins.eval", "x" * 500), 'builtins.eval("' + "x" * 79 + '…")'),
        (call("builtins.eval", 'a"\n\x1b'), 'builtins.eval("a\\"\\n\\x1b")'),
        (named("os.f") + b"(K\1G" + struct.pack(">d", 2.5) + b"N\x88]}C\3abctR",
         "os.f(1, 2.5, None, True, …)"),
        (named("os.f") + b"(])C\3abc)\x85tR", "os.f([], (), 3 bytes of bytes, (…))"),
        (named("os.f") + named("os.g") + text("true") + b"\x85R\x85R",
         'os.f(os.g("true"))'),
        (named("os.f") + text("a") + b"\x85R" + text("b") + b"\x85R" + text("c") + b"\x85R",
         'os.f("a")("b")("c")'),
    ],
)  # fmt: skip
def test_calls_are_said_in_words(body: bytes, words: str) -> None:
    (item, *_) = look(program(body, 4)).imports
    assert item.chain == words


def test_what_is_handed_to_a_call_says_so() -> None:
    body = named("collections.defaultdict") + named("os.system") + b"\x85R"
    assert only(look(program(body)))[3] == "handed to collections.defaultdict(os.system)"


@pytest.mark.parametrize(
    "data", [b"", b"hello", bytes(1000), b"PK", b"\x1f\x8b\x08", b"x\x9c", b"\x80\x04cos\n",
             np.arange(500.0).tobytes()]
)  # fmt: skip
def test_what_holds_no_pickle_is_silent(data: bytes) -> None:
    assert look(data, "notes.dat") == Examination()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstandard": lambda data: zstandard.compress(data),
    "lz4": lambda data: bytes(lz4.frame.compress(data)),
    "zlib": zlib.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_bombs_stop_at_the_limit(packer: str) -> None:
    bomb = PACKERS[packer](SOUND + bytes(8_000_000))
    budget = Budget(Limits(unpacked_bytes=2_000_000))
    found = examine_file(BytesReader("a.pkl", bomb), budget)
    # No more came out than the limit and one step of the slowest to stop.
    assert 0 < -budget.unpacked <= 4 << 20
    assert any("come out of compressed data" in problem.what for problem in found.problems)


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_longer_than_memory_is_unpacked_again(packer: str) -> None:
    long = program(b"B" + struct.pack("<I", 12_000_000) + bytes(12_000_000) + call("os.system"), 3)
    data = PACKERS[packer](long)
    assert only(look(data))[2] == len(long) - len(call("os.system")) - 1


class _Changing(BytesReader):
    """A file that can become another."""

    def become(self, data: bytes) -> None:
        self._data = data + bytes(self.size - len(data))


def test_a_file_that_unpacks_to_less_the_second_time_is_damaged() -> None:
    reader = _Changing("a.gz", gzip.compress(np.random.default_rng(1).bytes(9_000_000), mtime=0))
    packing = packing_of(reader.read(0, 8))
    assert packing is not None
    inner, failed = Packed("a", reader, 0, reader.size, packing, Budget()).unpacked()
    assert (inner.size, failed) == (9_000_000, None)
    reader.become(gzip.compress(SOUND, mtime=0))
    with pytest.raises(CheckpointError, match="as much as before"):
        inner.read(inner.size - 1, 1)


def test_bombs_of_archives_and_nesting_stop() -> None:
    limits = Limits(unpacked_bytes=1_000_000)
    members = {f"{n}.pkl": bytes(400_000) for n in range(9)}
    found = look(zipped(members, zipfile.ZIP_DEFLATED), "a.zip", limits)
    assert any("come out of compressed data" in problem.what for problem in found.problems)
    found = look(nested(BAD, 40, gzip.compress), "a.gz")
    assert any("lie in one another" in problem.what for problem in found.problems)
    found = look(b"\x80\x02N." * 2000, "a.pkl", Limits(inner_files=100))
    assert [p.what for p in found.problems] == ["more than 100 pickles and files lie in this one"]


def test_opcodes_are_bounded_for_all_files_together() -> None:
    budget = Budget(Limits(examined_opcodes=1000))
    data = program(b"](" + b"N" * 700 + b"e")
    assert not examine_file(BytesReader("a.pkl", data), budget).problems
    assert examine_file(BytesReader("b.pkl", data), budget).problems
    assert examine_file(BytesReader("c.pkl", data), budget).problems


@pytest.mark.parametrize(("packer", "library"), [("zstandard", "zstandard"), ("lz4", "lz4.frame")])
def test_a_library_that_is_missing_is_named(
    packer: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PACKERS[packer](BAD)
    monkeypatch.setitem(sys.modules, library, None)
    (problem,) = look(data, "a.pkl").problems
    assert "steelyard[compressed]" in problem.what


def test_arrays_of_joblib_are_stepped_over() -> None:
    floats = np.random.default_rng(5).standard_normal(3000).tobytes()
    body = joblib_array("f8", (30, 100), floats) + joblib_array("f8", (0,), b"") + b"\x86"
    found = look(program(body, 4), "a.joblib")
    assert not found.problems
    assert {item.name for item in found.imports} == {
        "joblib.numpy_pickle.NumpyArrayWrapper", "numpy.dtype", "numpy.ndarray"
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(-1,), (2**15, 2**15, 2**15)])
def test_arrays_that_cannot_be_are_not_stepped_over(shape: tuple[int, ...]) -> None:
    sizes = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in shape) + b"t"
    body = joblib_array("f8", (2,), bytes(16)).replace(b"(M\2\0t", sizes)
    assert look(program(body, 4), "a.joblib").problems


@pytest.mark.parametrize("protocol", range(6))
def test_a_stream_is_the_same_kept_or_not(protocol: int) -> None:
    from steelyard.checkpoints.pickles import interpret

    values: Any = [{"a": n, "b": [n / 3] * 20, "c": ("x" * n, None, True)} for n in range(400)]
    data = pickle.dumps(values, protocol)
    kept, passed = interpret(data, "a"), interpret(data, "a", keep=False)
    assert (kept.complete, kept.opcodes, kept.end_offset) == (
        passed.complete, passed.opcodes, passed.end_offset
    )  # fmt: skip


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\x80\x02", b"PK\3\4", b"\x1f\x8b\x08", b"x"])
)
def test_any_bytes_are_examined_to_an_end(data: bytes, start: bytes) -> None:
    look(start + data)
