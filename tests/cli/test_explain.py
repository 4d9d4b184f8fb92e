"""`steelyard explain` and `steelyard facts`."""

from __future__ import annotations

import json

import pytest

from steelyard.facts import vocabulary
from steelyard.rules import Rule, load_pack, load_packs
from tests.cli.running import Run
from tests.reports.samples import PACK

PACKS = load_packs()
RULES = [rule for pack in PACKS for rule in pack.rules]


@pytest.fixture(autouse=True)
def _load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steelyard.rules.load_packs", lambda: PACKS)


def words(text: str) -> str:
    """Join what was wrapped."""
    return " ".join(text.split())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_explained(rule: Rule, run: Run) -> None:
    outcome = run("explain", rule.id)
    assert (outcome.code, outcome.err) == (0, "")
    said = words(outcome.out)
    for part in (rule.title, rule.citation.text, rule.citation.link, str(rule.reviewed)):
        assert words(part) in said
    for duty in rule.duties:
        assert words(duty.text) in said
        assert words(duty.fix) in said


def test_a_rule_in_lower_case(run: Run) -> None:
    assert run("explain", "lic002") == run("explain", "LIC002")


def test_an_alias(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    pack = load_pack(PACK.replace("id: LIC900", "id: LIC900\n    aliases: [OLD17]"), "sample.yaml")
    monkeypatch.setattr("steelyard.rules.load_packs", lambda: (pack,))
    assert run("explain", "OLD17").out == run("explain", "LIC900").out
    assert run("explain", "old17").out.startswith("LIC900  ")


@pytest.mark.parametrize("name", vocabulary())
def test_every_fact_is_explained(name: str, run: Run) -> None:
    outcome = run("explain", name)
    assert outcome.code == 0
    assert words(vocabulary()[name].meaning) in words(outcome.out)
    assert words(vocabulary()[name].question) in words(outcome.out)


def test_a_fact_names_the_rules_that_use_it(run: Run) -> None:
    assert "LIC002" in run("explain", "license.effective").out
    assert "no rule yet" in run("explain", "files.count").out


@pytest.mark.parametrize("code", [0, 1, 2, 3, 70, 130])
def test_exit_codes(code: int, run: Run) -> None:
    assert f"\n  {code:<3}  " in run("explain", "exit-codes").out


def test_basis(run: Run) -> None:
    said = run("explain", "basis").out
    places = [said.index(word) for word in ("measured", "derived", "declared", "assumed")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("LIC02", "LIC002"),
        ("lic02", "LIC002"),
        ("model.parameter.total", "model.parameters.total"),
        ("exit-code", "exit-codes"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(typo: str, meant: str, run: Run) -> None:
    outcome = run("explain", typo)
    assert (outcome.code, outcome.out) == (2, "")
    assert meant in outcome.err


def test_lines_fit(run: Run) -> None:
    for rule in RULES:
        for line in run("explain", rule.id).out.splitlines():
            assert len(line) <= 80 or "http" in line or line.startswith(rule.id)


def test_facts_lists_the_whole_vocabulary(run: Run) -> None:
    outcome = run("facts")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == list(vocabulary())


def test_facts_below_a_prefix(run: Run) -> None:
    listed = [line.split()[0] for line in run("facts", "training").out.splitlines()]
    assert listed == [name for name in vocabulary() if name.startswith("training")]


def test_facts_as_json(run: Run) -> None:
    entries = json.loads(run("facts", "-f", "json").out)
    assert [entry["name"] for entry in entries] == list(vocabulary())
    assert entries[0]["kind"] == "text"
