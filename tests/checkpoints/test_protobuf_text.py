"""Protobuf as text, beside the reader of Google's own library."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from onnx import GraphProto, NodeProto

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.protobuf_text import events
from steelyard.errors import CheckpointError, LimitExceeded


def walked(text: str | bytes) -> list[tuple[str, str | None]]:
    """Give what is written, with `}` where a message ends."""
    data = text.encode() if isinstance(text, str) else text
    return [("}" if event.ends else event.name, event.value) for event in events(data, "f")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# nothing\n", []),
        ("a: 1", [("a", "1")]),
        ("a: -1.5e+3; b: TRUE,", [("a", "-1.5e+3"), ("b", "TRUE")]),
        ('a: "x" # y\n \'z\'', [("a", "xz")]),
        (r'a: "\n\101\x42\u00e9\U0001f600\"\q"', [("a", '\nAB\u00e9\U0001f600"q')]),
        ("a { b: c }", [("a", None), ("b", "c"), ("}", None)]),
        ("a: < b: c >", [("a", None), ("b", "c"), ("}", None)]),
        ("a: [1, 2]", [("a", "1"), ("a", "2")]),
        ("a [{}, {b: 1}] c: 2", [("a", None), ("}", None), ("a", None), ("b", "1"), ("}", None),
                                 ("c", "2")]),
        ("[x.y/z.w] { b: 1 }", [("[x.y/z.w]", None), ("b", "1"), ("}", None)]),
    ],
)  # fmt: skip
def test_what_is_written(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert walked(text) == expected


@pytest.mark.parametrize(
    "text",
    ["{", "}", "a", "a:", "a: }", "a {", "a { >", 'a: "x', "a: [", "1: 2", "a b", "a: {]", "\0"],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        walked(text)


@pytest.mark.parametrize("text", ["a {" * 65, "a: 1 " * 100, "a" * 9 + ": 1"])
def test_limits(text: str) -> None:
    with pytest.raises(CheckpointError):
        list(events(text.encode(), "f", Limits(opcodes=150, name_bytes=8)))


def test_the_limit_on_words_is_one_of_ours() -> None:
    with pytest.raises(LimitExceeded):
        list(events(b"a: 1 " * 100, "f", Limits(opcodes=150)))


nodes = st.builds(
    NodeProto,
    name=st.text(max_size=9),
    op_type=st.text(min_size=1, max_size=9),
    input=st.lists(st.text(max_size=4), max_size=3),
)


@given(st.builds(GraphProto, name=st.text(max_size=5), node=st.lists(nodes, max_size=5)))
def test_it_says_what_the_library_of_google_wrote(graph: GraphProto) -> None:
    for as_utf8 in (False, True):
        text = text_format.MessageToString(graph, as_utf8=as_utf8)
        named = [value for name, value in walked(text) if name == "op_type"]
        assert named == [node.op_type for node in graph.node]
        inputs = [value for name, value in walked(text) if name == "input"]
        assert inputs == [each for node in graph.node for each in node.input]


_WORDS = [b"a", b":", b"{", b"}", b"[", b"]", b'"x"', b"<", b">", b",", b" "]


@given(st.binary(max_size=60) | st.lists(st.sampled_from(_WORDS), max_size=20).map(b"".join))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(CheckpointError):
        walked(data)
