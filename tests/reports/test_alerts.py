"""What is wrong, with a place and an identity that stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.facts import Basis, Evidence, Fact
from steelyard.reports.alerts import CONTRADICTION, Alert, alerts, from_here, subject
from steelyard.reports.outline import outline
from steelyard.reports.report import Report, SourceInfo
from steelyard.rules import Location
from steelyard.rules.ignores import Ignore
from tests.auditing import weigh
from tests.containers import CARD, CONFIG, model_folder
from tests.reports.samples import FACTS, sample


def by_rule(found: Sequence[Alert]) -> dict[str, Alert]:
    return {alert.rule: alert for alert in found}


def at(report: Report, spec: str, kind: str = "folder") -> Report:
    return replace(report, source=SourceInfo(spec, kind, None, 1))


def torn() -> Report:
    other = Fact("model.layers", 5, Basis.DECLARED, (Evidence("own.json", line=3),))
    return sample(facts=(*FACTS, other))


def test_they_are_what_the_reports_for_people_call_wrong() -> None:
    for report in (sample(), torn()):
        told = [(issue.severity, issue.rule or CONTRADICTION) for issue in outline(report).issues]
        assert [(alert.severity.value, alert.rule) for alert in alerts(report)] == told


def test_a_contradiction_that_no_rule_tells_is_one() -> None:
    found = by_rule(alerts(torn()))[CONTRADICTION]
    assert found.place.file == "own.json"
    assert found.place.line == 3
    assert "layers" in found.message
    assert "measured 4" in found.message
    assert "declared 5" in found.message


def test_what_was_ignored_comes_last_and_only_when_asked_for() -> None:
    report = sample(Ignore("LIC900", "is being settled", date(2027, 3, 31)))
    assert [alert.rule for alert in alerts(report)] == ["DOC900"]
    last = alerts(report, ignored=True)[-1]
    assert last.rule == "LIC900"
    assert last.ignore is not None


class TestPlaces:
    def test_where_the_rule_says(self) -> None:
        place = by_rule(alerts(sample()))["LIC900"].place
        assert (place.file, place.line) == ("README.md", 2)

    def test_else_where_the_facts_come_from(self) -> None:
        assert by_rule(alerts(sample()))["DOC900"].place.file == "README.md"

    @pytest.mark.parametrize(
        ("card", "weights", "expected"),
        [
            (True, True, "card.md"),
            (False, True, "w.gguf"),
            (False, False, "README.md"),
        ],
    )
    def test_else_the_card_the_weights_or_some_file(
        self, card: bool, weights: bool, expected: str
    ) -> None:
        facts = [Fact("card.contact", False, Basis.MEASURED)]
        if card:
            facts.append(Fact("card.present", True, Basis.MEASURED, (Evidence("card.md"),)))
        if weights:
            facts.append(Fact("weights.main", "w.gguf", Basis.MEASURED, (Evidence("w.gguf"),)))
        (found,) = alerts(sample(facts=tuple(facts)))
        assert found.place.file == expected

    def test_in_a_source_without_files_where_the_card_would_be(self) -> None:
        facts = (Fact("card.contact", False, Basis.MEASURED),)
        (found,) = alerts(replace(sample(facts=facts), files=()))
        assert found.place.file == "README.md"

    def test_every_alert_of_a_spoiled_model_has_one(self, tmp_path: Path) -> None:
        config = {**CONFIG, "num_hidden_layers": 9, "auto_map": {"AutoModel": "own.Model"}}
        for number, card in enumerate((CARD, None, "no front matter")):
            folder = model_folder(tmp_path / str(number), card=card, config=config)
            report = weigh(folder, digest=False, lineage=False)
            there = {file.path for file in report.files}
            assert alerts(report)
            assert {alert.place.file for alert in alerts(report)} <= there


class TestIdentity:
    def test_does_not_change_with_the_place_of_the_model(self) -> None:
        here, there = alerts(sample()), alerts(at(sample(), "/mnt/elsewhere/tiny"))
        assert [one.identity for one in here] == [one.identity for one in there]

    @given(st.integers(1, 10**6), st.integers(0, 10**9))
    def test_does_not_change_with_the_line_within_the_file(self, line: int, offset: int) -> None:
        report = sample()
        moved = tuple(
            replace(f, location=Location("README.md", line, offset)) if f.location else f
            for f in report.findings
        )
        before = by_rule(alerts(report))
        after = by_rule(alerts(replace(report, findings=moved)))
        assert {r: a.identity for r, a in before.items()} == {
            r: a.identity for r, a in after.items()
        }

    def test_does_not_change_when_others_come_and_go(self) -> None:
        whole = by_rule(alerts(torn()))
        for ignored in whole.keys() - {CONTRADICTION}:
            rest = by_rule(
                alerts(
                    sample(
                        Ignore(ignored, "not now", date(2027, 3, 31)),
                        facts=(*FACTS, *(f for f in torn().book.claims("model.layers"))),
                    )
                )
            )
            for rule, alert in rest.items():
                assert alert.identity == whole[rule].identity

    def test_is_another_for_another_rule_and_another_file(self) -> None:
        report = sample()
        other = tuple(
            replace(f, location=Location("other.md", 2)) if f.location else f
            for f in report.findings
        )
        before, after = alerts(report), alerts(replace(report, findings=other))
        ids = [alert.identity for alert in before]
        assert len(set(ids)) == len(ids)
        assert by_rule(after)["LIC900"].identity not in ids

    def test_of_what_has_no_place_of_its_own_does_not_depend_on_the_card(self) -> None:
        facts = (Fact("card.contact", False, Basis.MEASURED),)
        card = Fact("card.present", True, Basis.MEASURED, (Evidence("card.md"),))
        (without,), (with_card,) = alerts(sample(facts=facts)), alerts(sample(facts=(*facts, card)))
        assert without.place != with_card.place
        assert without.identity == with_card.identity


@pytest.mark.parametrize(
    ("spec", "kind", "file", "expected", "name"),
    [
        ("models/tiny", "folder", "a.md", "models/tiny/a.md", "models/tiny"),
        ("./models/tiny/", "folder", "a.md", "models/tiny/a.md", "models/tiny"),
        (".", "folder", "a.md", "a.md", "model"),
        ("/mnt/models/tiny", "folder", "a.md", "a.md", "tiny"),
        ("../tiny", "folder", "a.md", "a.md", "tiny"),
        ("~/tiny", "folder", "a.md", "a.md", "tiny"),
        ("models/tiny.gguf", "file", "tiny.gguf", "models/tiny.gguf", "models/tiny.gguf"),
        ("tiny.gguf", "file", "tiny.gguf", "tiny.gguf", "tiny.gguf"),
        ("hf://org/tiny", "hub", "a.md", "a.md", "hf://org/tiny"),
    ],
)
def test_files_are_named_as_a_repository_names_them(
    spec: str, kind: str, file: str, expected: str, name: str
) -> None:
    report = at(sample(), spec, kind)
    assert from_here(report, file) == expected
    assert subject(report) == name
