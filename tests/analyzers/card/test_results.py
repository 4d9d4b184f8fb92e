"""Evaluation results that a card states."""

from __future__ import annotations

import pytest

from tests.analyzers.card.asking import ask, evidence
from tests.analyzers.documents import front


class TestResults:
    COMPLETE = (
        "model-index:\n- name: tiny\n  results:\n  - task: {type: t}\n"
        "    dataset: {type: d, name: SQuAD, revision: abc}\n"
        "    metrics: [{type: f1, value: 0.5}, {type: em, value: 0.4}]\n"
        "    source: {url: 'https://x.org'}"
    )

    def test_complete(self) -> None:
        book = ask(front(self.COMPLETE))
        assert book.value("card.results") == 2
        assert book.value("card.results.incomplete") == frozenset()
        assert book.value("card.results.unbound") == 0
        assert evidence(book, "card.results").line == 2

    def test_what_is_lacking(self) -> None:
        matter = (
            "model-index: [{name: x, results: [{dataset: {name: D}, metrics: [{type: f1}]},"
            " {metrics: [{value: 1, date: '2026-01-01'}]}, {}]}]"
        )
        book = ask(front(matter))
        assert book.value("card.results") == 3
        assert book.value("card.results.unbound") == 3
        assert book.value("card.results.incomplete") == {
            "D, f1: no value, no date or source",
            "unnamed dataset, unnamed metric: no dataset, no metric",
            "unnamed dataset, unnamed metric: no dataset, no metric, no value, no date or source",
        }

    @pytest.mark.parametrize("value", ["3", "[3, [4]]", "{results: 3}", "[{results: [[{}]]}]"])
    def test_nonsense(self, value: str) -> None:
        assert ask(front(f"model-index: {value}")).value("card.results") == 0
