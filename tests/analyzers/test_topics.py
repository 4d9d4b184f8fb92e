"""Topics: which analyzers they ask, which rules belong to them, what is said of a wrong name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from steelyard.analyzers.topics import ANALYZERS, TOPICS, Scope, scope_of
from steelyard.errors import ConfigError
from steelyard.facts import vocabulary
from steelyard.rules import load_packs

PRACTICE = load_packs(under="practice")


def rules(*topics: str) -> set[str]:
    scope = scope_of(topics)
    return {
        rule.id for pack in PRACTICE for rule in pack.rules if scope.asks(rule.names, law=False)
    }


def test_every_analyzer_is_there_and_asked_by_some_topic() -> None:
    assert [name for name, _ in Scope().analyzers] == list(ANALYZERS)
    assert {name for topic in TOPICS.values() for name in topic.analyzers} == set(ANALYZERS)


def test_an_analyzer_is_asked_in_the_usual_order() -> None:
    names = [name for name, _ in scope_of(["code", "card"]).analyzers]
    assert names == [name for name in ANALYZERS if name in names]


@pytest.mark.parametrize("topic", TOPICS)
def test_the_facts_of_a_topic_exist(topic: str) -> None:
    for pattern in (*TOPICS[topic].about, *TOPICS[topic].beside, *TOPICS[topic].without):
        assert any(
            name.startswith(pattern) if pattern.endswith(".") else name == pattern
            for name in vocabulary()
        ), pattern


def test_every_rule_of_practice_belongs_to_some_topic() -> None:
    assert rules(*TOPICS) == {rule.id for pack in PRACTICE for rule in pack.rules}


def test_what_hides_from_the_question_about_code_belongs_to_it() -> None:
    assert {"INT001", "INT002", "INT008", "INT009", "INT010", "INT019"} <= rules("code")
    assert "INT003" not in rules("code")
    assert "DOC001" not in rules("code")


def test_law_is_asked_for_the_topic_law_alone() -> None:
    assert scope_of(["law"]).asks(["training.compute"], law=True)
    assert not scope_of(["compute"]).asks(["training.compute"], law=True)
    assert Scope().asks(["training.compute"], law=True)


def test_the_order_of_topics_is_one() -> None:
    assert scope_of(["card", "code", "card"]) == scope_of(["code", "card"])
    assert scope_of(["code"]).left_out == tuple(name for name in TOPICS if name != "code")
    assert Scope().left_out == ()


@pytest.mark.parametrize(("wrong", "hint"), [("cod", "code"), ("licence", "license"), ("x", "")])
def test_an_unknown_topic_is_refused(wrong: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="there is no topic") as refused:
        scope_of(["code", wrong])
    assert (f"did you mean {hint!r}?" in refused.value.fix) == bool(hint)
    assert "integrity" in refused.value.fix


def test_names_alone_need_no_reader() -> None:
    script = (
        "import sys\n"
        "import steelyard.analyzers.topics\n"
        "assert not {'numpy', 'pydantic', 'yaml'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
