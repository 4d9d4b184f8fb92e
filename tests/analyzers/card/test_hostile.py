"""Cards that a stranger wrote, to harm or by accident."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.facts import Fact
from tests.analyzers.card.asking import ask
from tests.analyzers.documents import carded, front

HOSTILE: dict[str, Callable[[], str]] = {
    "one long line": lambda: "x" * 10_000_000,
    "sizes without end": lambda: "7B parameters " * 70_000,
    "sizes in lists": lambda: "7B, 8B and 9B parameters " * 40_000,
    "aliases": lambda: "---\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\n",
    "deep flow": lambda: "---\na: " + "[" * 100_000 + "\n---\n",
    "deep blocks": lambda: "---\n" + "".join(" " * i + "a:\n" for i in range(1000)) + "---\n",
    "headings": lambda: "# h\n" * 100_000,
    "different headings": lambda: "".join(f"## h{i}\nx\n" for i in range(40_000)),
    "schemes": lambda: "http://" * 60_000,
    "at signs": lambda: "a@" * 400_000,
    "no address": lambda: "a" * 900_000 + "@",
    "brackets": lambda: "[" * 900_000,
    "links": lambda: "[a](" * 225_000,
    "comments": lambda: "<!--" * 225_000,
    "fences": lambda: ("`" * 1000 + "\n") * 900,
    "dots": lambda: "1.2.3.4 " * 100_000,
    "tags": lambda: "<h1>" * 200_000,
    "pipes": lambda: ("a" * 399 + "|") * 2000,
    "underlines": lambda: "a\n---\n" * 16_000,
    "stars": lambda: "*" * 900_000,
    "spaces": lambda: "#" + " " * 900_000,
    "braces": lambda: "{{" + "a" * 900_000,
    "control characters": lambda: "# \x00\x1b[2J\x9b\u202e\n\x0b\x0c\x85\u2028",
    "half a pair": lambda: "# \ud800 a@\udfff.org",
    "languages": lambda: "---\nlanguage: [" + ",".join(["xx"] * 20_000) + "]\n---\n",
    "results": lambda: "---\nmodel-index:\n- name: x\n  results:\n" + "  - {}\n" * 20_000 + "---\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_cards(name: str) -> None:
    text = HOSTILE[name]()
    start = time.process_time()
    book = ask(carded(text))
    assert time.process_time() - start < 6  # linear: a tenth of it on an idle machine
    assert book.value("card.present") is True


def test_a_card_that_is_too_long_says_so() -> None:
    fact = ask(carded("x\n" * 1_000_000)).resolve("card.present")
    assert isinstance(fact, Fact)
    assert "too long" in fact.note


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_text(text: str) -> None:
    ask(carded(text))
    ask(front(text, text))


_LINES = st.sampled_from(
    ["---", "license: mit", "base_model: [a", "# H", "## Uses", "```", "<!--", "-->", "**Uses**",
     "===", "| a | b |", "7B parameters", "[More Information Needed]", "x@y.zz", "- ", "", "\r",
     "model-index:", "- name: 1", "  results: [{metrics: 3}]", "language: [no]", "\ufeff"]
)  # fmt: skip


@given(st.lists(_LINES, max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_order_of_lines(lines: list[str]) -> None:
    ask(carded("\n".join(lines)))


_YAML = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9**20) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    ["language", "license", "license_name", "base_model", "base_model_relation", "datasets",
     "model-index", "co2_eq_emissions", "extra_gated_fields", "tags", "pipeline_tag"]
)  # fmt: skip


@given(st.dictionaries(_FIELDS, _YAML, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_front_matter(fields: dict[str, object]) -> None:
    import json

    ask(front(json.dumps(fields)))
