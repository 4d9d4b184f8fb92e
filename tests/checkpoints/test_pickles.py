"""The symbolic pickle machine, against Python's own pickler and against hostile programs."""

from __future__ import annotations

import collections
import pickle
import pickletools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.pickles import interpret, looks_like_pickle
from steelyard.checkpoints.pickles.opcodes import OPCODES, Opaque
from steelyard.checkpoints.pickles.values import (
    Call,
    Global,
    Items,
    Pairs,
    Persistent,
    PickleStream,
    Value,
)
from steelyard.checkpoints.tensors import PickleImport, ProblemKind
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.checkpoints.torch_files import OS_SYSTEM


def run(code: bytes, limits: Limits = DEFAULT_LIMITS) -> PickleStream:
    return interpret(code, "p.pkl", 0, limits)


def names(stream: PickleStream) -> list[str]:
    return [item.name for item in stream.imports]


def back(value: Value, data: bytes) -> object:
    """Turn symbols of plain data back into Python; content that was not read is looked up."""
    match value:
        case Items(kind="list"):
            return [back(item, data) for item in value.items]
        case Items(kind="tuple"):
            return tuple(back(item, data) for item in value.items)
        case Items(kind="set"):
            return {back(item, data) for item in value.items}
        case Items():
            return frozenset(back(item, data) for item in value.items)
        case Pairs():
            return {
                back(key, data): back(item, data)
                for key, item in zip(value.keys, value.values, strict=True)
            }
        case Opaque(kind="bytes"):
            return data[value.offset : value.offset + value.length]
        case Opaque(kind="int"):
            raw = data[value.offset : value.offset + value.length]
            return int.from_bytes(raw, "little", signed=True)
        case _:
            return value


def test_every_opcode_of_every_protocol_is_known() -> None:
    assert {code: item.name for code, item in OPCODES.items()} == {
        ord(item.code): item.name for item in pickletools.opcodes
    }


hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
plain = st.recursive(
    hashable | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=plain, protocol=st.sampled_from([4, 5]))
def test_what_python_pickles_is_understood(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    stream = run(data)
    assert stream.complete
    assert stream.end_offset == len(data)
    assert stream.protocol == protocol
    assert back(stream.value, data) == value
    assert not stream.imports


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        None,
        [True, False, 0, 1, 255, 256, 65536, -1, 2**31, -(2**31), 2**63, -(2**100), 2**800],
        [1.5, -0.0, 1e300, float("inf")],
        ["", "plain", "a\nb\\u0041'\"", "é日本", "\0", "x" * 300],
        {"a": [1, (2, (3,)), (), (1, 2), {}], 5: None},
    ],
)
def test_old_protocols_too(protocol: int, value: object) -> None:
    data = pickle.dumps(value, protocol)
    stream = run(data)
    assert stream.complete
    assert back(stream.value, data) == value


@pytest.mark.parametrize("protocol", range(6))
def test_imports_and_calls_of_real_pickles(protocol: int) -> None:
    value = {"a": collections.OrderedDict(x=1), "b": complex(1, 2), "c": len}
    data = pickle.dumps(value, protocol)
    stream = run(data)
    old = protocol < 3
    builtins = "__builtin__" if old else "builtins"
    found = {item.name: item.called for item in stream.imports}
    assert found["collections.OrderedDict"]
    assert found[f"{builtins}.complex"]
    assert not found[f"{builtins}.len"]
    for item in stream.imports:
        assert data[item.offset : item.offset + 1] in (b"c", b"\x93")
    if protocol >= 2:
        assert isinstance(stream.value, Pairs)
        ordered = stream.value.values[0]
        assert isinstance(ordered, Call)
        assert ordered.mapped is not None
        assert ordered.mapped.keys == ["x"]
        assert isinstance(ordered.function, Global)
        assert ordered.function.dotted == "collections.OrderedDict"


@pytest.mark.parametrize(
    ("code", "name", "called"),
    [
        (b"cos\nsystem\n.", "os.system", False),
        (b"cos\nsystem\n(U\x04truetR.", "os.system", True),
        (b"(S'true'\nios\nsystem\n.", "os.system", True),
        (b"(cos\nsystem\nU\x04trueo.", "os.system", True),
        (b"cos\nsystem\nU\x04true\x85\x81.", "os.system", True),
        (b"cos\nsystem\nU\x04true\x85}\x92.", "os.system", True),
        (b"cbuiltins\nlen\n}b.", "builtins.len", True),
        (b"U\x02osU\x06system\x93.", "os.system", False),
        (b"S'\\x6f\\163'\nV\\u0073ystem\n\x93.", "os.system", False),
        (b"U\x02osq\x00(h\x00U\x06systemq\x01h\x001h\x00h\x01\x93.", "os.system", False),
        (b"cos\npath.join\n.", "os.path.join", False),
        (b"\x82\x05.", "copyreg.extension_5", False),
        (b"\x83\x05\x01.", "copyreg.extension_261", False),
        (b"\x84\x05\x00\x00\x00)R.", "copyreg.extension_5", True),
        (b"U\x02os)\x93.", "os.?", False),
        (b"Ncos\nsystem\nU\x04true\x85R0.", "os.system", True),
        (b"cos\nsystem\nq\x070N0h\x07U\x04true\x85R.", "os.system", True),
        (b"((Vmodule\ncos\nsystem\nNNtQU\x04true\x85R.", "os.system", True),
    ],
)
def test_every_way_to_import(code: bytes, name: str, called: bool) -> None:
    stream = run(code)
    assert stream.complete
    assert [(item.name, item.called) for item in stream.imports] == [(name, called)]
    assert bool(stream.problems) == ("?" in name or "extension" in name)


@pytest.mark.parametrize(
    "code",
    [b"(ios\nsystem\n", b"cos\nsystem\n)R", b"\x80\x05" + OS_SYSTEM],
    ids=["INST", "REDUCE", "protocol"],
)
@pytest.mark.parametrize(
    "rest", [b"", b"\xff", b"0000", b"h\x63", b"\x80\x09", b"B\xff\xff\xff\x7f", b"\x93", b"u"]
)
def test_what_was_found_survives_garbage(code: bytes, rest: bytes) -> None:
    stream = run(code + rest)
    assert not stream.complete
    assert stream.value is None
    assert names(stream) == ["os.system"]
    problem = stream.problems[-1]
    assert problem.kind is ProblemKind.NOT_FULLY_READ
    assert problem.offset == stream.end_offset
    assert problem.offset is not None
    assert len(code) <= problem.offset <= len(code) + len(rest)


@pytest.mark.parametrize(
    "code",
    [b"", b"\x80", b"\x80\x05", b"\xff\xff", b"\x80\x07N.", b"hello", b".", b"R", b"\x80\x05\x95"],
)
def test_what_cannot_start_as_a_pickle_is_refused(code: bytes) -> None:
    with pytest.raises(CheckpointError):
        run(code)


def test_offsets_are_those_of_the_file() -> None:
    code = b"\x80\x02" + OS_SYSTEM + b"."
    reader = BytesReader("f", b"12345" + code + b"after")
    for stream in (
        interpret(reader, "f", 5),
        interpret(code, "f", 5),
        interpret(reader, "f", 5, end=5 + len(code)),
    ):
        assert stream.imports == (PickleImport("os.system", "f", 7, called=True),)
        assert stream.end_offset == 5 + len(code)
    assert not interpret(reader, "f", 5, end=4 + len(code)).complete


def test_objects_keep_their_state() -> None:
    code = b"c__main__\nThing\n)\x81}U\x01aK\x01sbN}U\x01bK\x02s\x86b(K\x03K\x04eU\x01kK\x05s."
    stream = run(code)
    thing = stream.value
    assert isinstance(thing, Call)
    assert thing.states is not None
    assert [back(state, code) for state in thing.states] == [{"a": 1}, (None, {"b": 2})]
    assert back(thing.listed, code) == [3, 4]
    assert back(thing.mapped, code) == {"k": 5}
    assert stream.calls == (thing,)


def test_sharing_and_circles_are_kept() -> None:
    stream = run(b"]q\x00(h\x00]q\x01h\x01e.")
    value = stream.value
    assert isinstance(value, Items)
    assert value.items[0] is value
    assert value.items[1] is value.items[2]


def test_persistent_references() -> None:
    stream = run(b"Pname\n(K\x01K\x02tQ\x86.")
    first, second = stream.persistents
    assert first.id == "name"
    assert isinstance(second, Persistent)
    assert back(second.id, b"") == (1, 2)
    assert second.offset == 12


def test_long_content_is_stepped_over() -> None:
    class Counting(BytesReader):
        total = 0

        def read(self, offset: int, length: int) -> bytes:
            self.total += length
            return super().read(offset, length)

    data = pickle.dumps([b"x" * 5_000_000, bytearray(5_000_000), "y" * 5_000_000, 1 << 999_999], 5)
    reader = Counting("f", data)
    stream = interpret(reader, "f")
    assert stream.complete
    assert isinstance(stream.value, Items)
    kinds = [(item.kind, item.length) for item in stream.value.items if isinstance(item, Opaque)]
    sizes = [("bytes", 5_000_000), ("bytes", 5_000_000), ("str", 5_000_000), ("int", 125_001)]
    assert kinds == sizes
    assert reader.total < 100_000


def test_text_is_always_clean() -> None:
    for code in (b"X\x03\x00\x00\x00\xed\xa0\x80.", b"V\\ud800\n.", b"U\x01\xff.", b"S'\\xff'\n."):
        value = run(code).value
        assert isinstance(value, str)
        assert value.isascii()
        value.encode()


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (b"I010\n.", 8),
        (b"I0x10\n.", 16),
        (b"L12L\n.", 12),
        (b"F1e3\n.", 1000.0),
        (b"S'a\\'\\\\\\n\\q'\n.", "a'\\\n\\q"),
        (b"p0\n", None),
        (b"Np 1\n0g1\n.", None),
        (b"I" + b"9" * 5000 + b"\n.", Opaque),
    ],
)
def test_lines_as_python_reads_them(code: bytes, value: object) -> None:
    if code == b"p0\n":
        with pytest.raises(CheckpointError):
            run(code)
    elif value is Opaque:
        assert isinstance(run(code).value, Opaque)
    else:
        assert run(code).value == value


@pytest.mark.parametrize("line", [b"Ix\n", b"Fx\n", b"Sx\n", b"S'\n", b"N0g-1\n", b"N0gx\n"])
def test_lines_that_make_no_sense(line: bytes) -> None:
    assert not run(b"N" + line + b".").complete


def test_garbage_is_not_taken_for_a_name() -> None:
    for name in (b"\xff\xfe\nx\n", b"a\tb\nx\n", b"a" * 5000 + b"\nx\n", b"a\n\0\n"):
        stream = run(b"Nc" + name + b".")
        assert not stream.complete
        assert not stream.imports


# --- recognition --------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], "text", complex(1, 2), list(range(5000))])
def test_pickles_are_recognized(protocol: int, value: object) -> None:
    assert looks_like_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"PK\3\4" + bytes(26),
        b"GGUF\3\0\0\0" + bytes(50),
        b"\x93NUMPY\1\0",
        b'{"a": 1}',
        b"(c) 2026 Somebody. All rights reserved.\n" * 9,
        b"I am not a pickle.\nNor is this.\n",
        b"import os\nprint(os)\n",
        b"# Readme\n",
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        b"\x80\x09abc",
        bytes(512),
    ],
)
def test_other_files_are_not(head: bytes) -> None:
    assert not looks_like_pickle(head)
