from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from steelyard.checkpoints.documents import (
    JsonValue,
    decode_text,
    open_text,
    parse_json,
    parse_yaml,
    read_json,
    read_text,
    shown,
    starts_with_mark,
)
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.errors import CheckpointError, LimitExceeded, Unsupported
from steelyard.sources.memory import BytesReader

MARK = b"\xef\xbb\xbf"
TIGHT = replace(DEFAULT_LIMITS, json_nodes=10, depth=4, string_bytes=10, document_bytes=100)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


# --- JSON ---------------------------------------------------------------------------------


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_json_is_read_as_it_was_written(value: Any, ascii_only: bool, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert parse_json(data, "f") == value
    assert parse_json(MARK + data, "f") == value


@given(st.binary(max_size=40) | st.text('[]{}",:\\u1e-0 ntf', max_size=40).map(str.encode))
def test_json_is_what_the_standard_library_says_it_is(data: bytes) -> None:
    try:
        expected = json.loads(data.decode().removeprefix("\ufeff"))
        json.dumps(expected, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        with pytest.raises(CheckpointError):
            parse_json(data, "f")
    else:
        assert parse_json(data, "f", duplicates="keep_last") == expected


@given(VALUES)
def test_the_count_before_parsing_is_never_too_small(value: Any) -> None:
    def nodes(value: Any) -> int:
        if isinstance(value, list):
            return 1 + sum(nodes(item) for item in value)
        if isinstance(value, dict):
            return 1 + sum(1 + nodes(item) for item in value.values())
        return 1

    count = nodes(value)
    with pytest.raises(LimitExceeded):
        parse_json(json.dumps(value).encode(), "f", replace(DEFAULT_LIMITS, json_nodes=count - 1))
    # Brackets are counted besides what they hold, so at most once too often each.
    parse_json(json.dumps(value).encode(), "f", replace(DEFAULT_LIMITS, json_nodes=2 * count))


@pytest.mark.parametrize(
    ("data", "line", "offset", "what"),
    [
        (b"", 1, 0, "not JSON"),
        (b"{", 1, 1, "not JSON"),
        (b'{"a": 1,\n "b" 2}', 2, 14, "delimiter"),
        (b'\n\n{"a": 1, "a": 2}', 3, 11, 'the key "a" stands twice'),
        (b'{"b": {"a": 1}, "a": [{"x": "a"}], "c": {},\n"a": 2}', 2, 44, '"a" stands twice'),
        (b'{"\\n": 1, "x": "\\n",\n"\\u000a": 2}', 2, 21, r'"\n" stands twice'),
        (b'["NaN",\nNaN]', 2, 8, "`NaN` is not a JSON number"),
        (b'["-Infinity",\n-Infinity]', 2, 14, "`-Infinity` is not"),
        (b"[\n1e999]", 2, 2, "beyond the range of a double"),
        (b'["1",\n-' + b"1" * 5000 + b"]", 2, 6, "beyond the range of a double"),
        (b"[\n1" + b"0" * 309 + b"]", 2, 2, "beyond the range of a double"),
        (b'["\\ud83d\\ude00",\n"\\ud83d"]', 1, 2, "half of a surrogate pair"),
        (b'{"\\udc00": 1}', 1, 2, "half of a surrogate pair"),
        ('["é",\n"é" 1]'.encode(), 2, 12, "delimiter"),
        (b'["\t"]', 1, 2, "Invalid control character"),
    ],
)
def test_broken_json_is_refused_with_its_place(
    data: bytes, line: int, offset: int, what: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_json(data, "config.json")
    error = caught.value
    assert (error.file, error.line, error.offset) == ("config.json", line, offset)
    assert what in error.what
    with pytest.raises(CheckpointError) as caught:
        parse_json(MARK + data, "config.json", base=100)
    assert (caught.value.line, caught.value.offset) == (None, 103 + offset)


@pytest.mark.parametrize("data", [b"\xff{}", '{"a": "é"}'.encode("latin-1"), "{}".encode("utf-16")])
def test_json_that_is_not_utf8_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="not UTF-8") as caught:
        parse_json(data, "f")
    assert caught.value.offset is not None


def test_constants_and_huge_floats_are_taken_when_asked() -> None:
    found = parse_json(b"[NaN, Infinity, -Infinity, 1e999]", "f", allow_nan=True)
    assert isinstance(found, list)
    assert math.isnan(float(str(found[0])))
    assert found[1:] == [math.inf, -math.inf, math.inf]


def test_the_last_of_two_keys_is_kept_when_asked() -> None:
    assert parse_json(b'{"a": 1, "a": 2}', "f", duplicates="keep_last") == {"a": 2}


@pytest.mark.parametrize(
    ("data", "limit", "offset"),
    [
        (b"[1,2,3,4,5,6,7,8,9,10]", "json_nodes", 0),
        (b'{"a":1,"b":2,"c":3,"d":4,"e":5}', "json_nodes", 0),
        (b'["[[[[[", [[[[1]]]]]', "depth", 13),
        (b'["\\"[[", [[[[1]]]]]', "depth", 12),
        (b'["", "12345678901"]', "string_bytes", 5),
    ],
)
def test_limits_hold_before_anything_is_built(data: bytes, limit: str, offset: int) -> None:
    with pytest.raises(LimitExceeded, match=f"`{limit}`") as caught:
        parse_json(data, "f", TIGHT)
    assert caught.value.offset == offset
    assert parse_json(data, "f") == json.loads(data)


def test_signs_within_strings_are_not_counted() -> None:
    value = ["[[[[[{{{", ",,,,,,:::", '"\\"[[', "\\", "[[[[\\"]
    assert parse_json(json.dumps(value).encode(), "f", TIGHT) == value


@pytest.mark.parametrize("before", range((1 << 20) - 12, (1 << 20) + 3))
def test_what_straddles_two_blocks_is_seen_whole(before: int) -> None:
    rest = json.dumps(['[[[\\"[[', ",,,", [[1]]]).encode()
    assert parse_json(b" " * before + rest, "f", TIGHT) == json.loads(rest)
    with pytest.raises(LimitExceeded, match="`depth`"):
        parse_json(b" " * before + b'["", [[[[]]]]]', "f", TIGHT)
    with pytest.raises(LimitExceeded, match="`string_bytes`"):
        parse_json(b" " * before + b'["", "12345678901"]', "f", TIGHT)


def test_a_nesting_beyond_the_parser_is_refused_even_if_allowed() -> None:
    deep = replace(DEFAULT_LIMITS, depth=10**9, json_nodes=10**9)
    with pytest.raises(LimitExceeded):
        parse_json(b"[" * 200_000, "f", deep)


def test_read_json_refuses_long_files_unread() -> None:
    assert read_json(BytesReader("f", b"[1]")) == [1]
    with pytest.raises(LimitExceeded, match="`document_bytes`"):
        read_json(BytesReader("f", b" " * 101), TIGHT)


# --- YAML ---------------------------------------------------------------------------------


@given(VALUES)
def test_json_is_yaml(value: Any) -> None:
    """Each JSON document, its texts quoted, means the same as YAML."""
    text = json.dumps(value)
    # Except that YAML has no surrogate pairs among its escapes, and no unescaped DEL.
    assume("\\ud" not in text and "\x7f" not in text)
    assert parse_yaml(text, "f") == value


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=5), st.text("ab: -'\"#\n", max_size=12)),
    st.sampled_from(["|", ">", "'", '"', None]),
)
def test_texts_are_read_as_pyyaml_writes_them(value: dict[str, str], style: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value, default_style=style), "f") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("12", 12),
        ("-007", -7),
        ("0o17", 15),
        ("0xFf", 255),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".nan", ".nan"),
        ("-.inf", "-.inf"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("! 12", "12"),
        ("{1: a, true: b, ~: c}", {"1": "a", "true": "b", "~": "c"}),
        ("language: [en, no]", {"language": ["en", "no"]}),
        ("---\na: 1\n...", {"a": 1}),
        ("a:\n- b: 1\n  c:\n- d", {"a": [{"b": 1, "c": None}, "d"]}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("&anchor x", "x"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: JsonValue) -> None:
    found = parse_yaml(text, "f")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "kind"),
    [
        ("a: [1", 11, CheckpointError),
        ("a: 1\n b: 2", 12, CheckpointError),
        ("a: 1\nb: 2\na: 3", 13, CheckpointError),
        ("a: 1\n'a': 3", 12, CheckpointError),
        ("\ta: 1", 11, CheckpointError),
        ("a: &x [1]\nb: *x", 12, Unsupported),
        ("a: *x", 11, Unsupported),
        ("&a [*a]", 11, Unsupported),
        ("a: !!python/object/apply:os.system [ls]", 11, Unsupported),
        ("a: !!python/name:os.system", 11, Unsupported),
        ("a: !mine x", 11, Unsupported),
        ("!mine {a: 1}", 11, Unsupported),
        ("a: !!binary aGk=", 11, Unsupported),
        ("a: !!timestamp 2024-01-01", 11, Unsupported),
        ("\n[1, 2]: x", 12, Unsupported),
        ("{a: 1}: x", 11, Unsupported),
        ("a: 1\n---\nb: 2", 12, CheckpointError),
        ("\na: 1e999", 12, LimitExceeded),
        ("a: " + "1" * 5000, 11, LimitExceeded),
        ("a: 0x" + "f" * 300, 11, LimitExceeded),
        ('a: "\\ud800"', 11, CheckpointError),
        ("%YAML 9.9\n---\na", 11, CheckpointError),
    ],
)
def test_broken_yaml_is_refused_with_its_line(
    text: str, line: int, kind: type[CheckpointError]
) -> None:
    with pytest.raises(kind) as caught:
        parse_yaml(text, "README.md", 10)
    assert caught.value.file == "README.md"
    assert caught.value.line in (line, line + 1)  # libyaml marks some errors at the text's end


@pytest.mark.parametrize("text", ["a: \0", "a: \x07", "a: \ud800"])
def test_characters_that_no_text_may_hold_are_refused(text: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_yaml(text, "f")
    assert caught.value.file == "f"


def test_the_last_of_two_yaml_keys_is_kept_when_asked() -> None:
    assert parse_yaml("{a: 1, b: 3, a: 2}", "f", duplicates="keep_last") == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("[1,2,3,4,5,6,7,8,9,10]", "json_nodes"),
        ("[[[[[1]]]]]", "depth"),
        ("a: 12345678901", "string_bytes"),
        ("#" * 101, "document_bytes"),
    ],
)
def test_the_limits_hold_for_yaml(text: str, limit: str) -> None:
    with pytest.raises(LimitExceeded, match=f"`{limit}`"):
        parse_yaml(text, "f", limits=TIGHT)


def refusal(text: str) -> CheckpointError | None:
    """Parse what may be anything; what can be parsed can be written again."""
    try:
        json.dumps(parse_yaml(text, "f"), ensure_ascii=False, allow_nan=False).encode()
    except CheckpointError as error:
        return error
    return None


@given(st.text("ab:-[]{},&*!'\"|>#?% \n1", max_size=60) | st.text(max_size=30))
def test_whatever_the_text_only_our_errors_come_out(text: str) -> None:
    error = refusal(text)
    assert error is None or error.file == "f"


YAML_BOMBS = {
    "lists": "[" * 1_000_000,
    "dashes": "- " * 1_000_000,
    "questions": "? " * 300_000,
    "mappings": "{a: " * 300_000,
    "items": "- 1\n" * 30_000,
    "word": "a" * 3_000_000,
    "comments": "#\n" * 300_000,
    "anchors": "&a " * 300_000,
    "tags": "!!" * 500_000,
    "escapes": '"' + "\\n" * 500_000,
}


@pytest.mark.parametrize("text", YAML_BOMBS.values(), ids=YAML_BOMBS.keys())
def test_yaml_bombs_are_over_soon(text: str) -> None:
    began = time.perf_counter()
    refusal(text)
    assert time.perf_counter() - began < 10


# --- Text ---------------------------------------------------------------------------------


def test_text_says_what_was_replaced() -> None:
    assert decode_text(MARK + b"a") == decode_text(MARK + b"a")
    clean = open_text(BytesReader("f", "é".encode()))
    assert (clean.value, clean.replaced, clean.mark) == ("é", False, False)
    marked = open_text(BytesReader("f", MARK + "é".encode()))
    assert (marked.value, marked.replaced, marked.mark) == ("é", False, True)
    broken = open_text(BytesReader("f", b"caf\xe9"))
    assert (broken.value, broken.replaced) == ("caf\ufffd", True)
    assert read_text(BytesReader("f", b"caf\xe9")) == "caf\ufffd"
    assert starts_with_mark(MARK)
    assert not starts_with_mark(b"")


def test_long_text_is_refused_unread() -> None:
    with pytest.raises(LimitExceeded):
        read_text(BytesReader("f", b"x" * 101), TIGHT)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("é", '"é"'), ("\n\x1b[31m", '"\\n\\u001b[31m"'), ("\ud800", '"\\ud800"'), ('"', '"\\""')],
)
def test_shown_is_one_safe_line(text: str, quoted: str) -> None:
    assert shown(text) == quoted
    assert shown("x" * 100, 5) == '"xxxx…"'
