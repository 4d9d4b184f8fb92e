"""Each renderer says the same things, in the reader's order, and nothing breaks out of it."""

from __future__ import annotations

import json
from datetime import date

import jsonschema
import pytest

from steelyard.facts import Basis, Fact
from steelyard.reports import json as json_report
from steelyard.reports import markdown, terminal
from steelyard.rules.ignores import Ignore
from tests.reports import golden
from tests.reports.samples import FACTS, sample


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_golden(width: int) -> None:
    golden.check(f"terminal-{width}.txt", terminal.render(sample(), width=width))


def test_markdown_golden() -> None:
    golden.check("report.md", markdown.render(sample()))


def test_json_golden() -> None:
    golden.check("report.json", json_report.render(sample()))


def test_the_same_report_renders_to_the_same_bytes() -> None:
    for render in (terminal.render, markdown.render, json_report.render):
        assert render(sample()) == render(sample())


def test_lines_fit_and_have_no_trailing_space() -> None:
    for line in terminal.render(sample(), width=80).splitlines():
        assert len(line) <= 80
        assert line == line.rstrip()


def test_what_is_wrong_comes_first_and_contradictions_before_all() -> None:
    text = terminal.render(sample())
    places = [text.index(word) for word in ("CONTRADICTION", "DOC900", "Shape", "Next")]
    assert places == sorted(places)


def test_a_model_cannot_color_the_screen_or_add_markup() -> None:
    assert "\x1b" not in terminal.render(sample())
    assert "\x1b" not in markdown.render(sample())
    assert "<b>" not in markdown.render(sample())
    assert "de|<" not in markdown.render(sample())


def test_color_only_when_asked_for() -> None:
    assert "\x1b[" in terminal.render(sample(), color=True)


def test_json_is_valid_against_the_schema_that_ships() -> None:
    schema = json.loads(json_report.shipped_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(json_report.render(sample())), schema)


def test_the_schema_that_ships_is_the_one_that_the_models_make() -> None:
    golden_text = json.dumps(json_report.schema(), indent=2, ensure_ascii=False) + "\n"
    assert golden_text == json_report.shipped_schema()


def test_json_has_the_shape_that_others_rely_on() -> None:
    report = json.loads(json_report.render(sample()))
    assert report["schema_version"] == "1.2"
    assert report["as_of"] == "2026-11-23"
    assert report["tool"]["packs"][0]["id"] == "sample"
    facts = {fact["name"]: fact for fact in report["facts"]}
    assert facts["model.parameters.total"]["value"] == 1_234_567
    assert facts["model.parameters.total"]["unit"] == "parameters"
    assert facts["model.parameters.total"]["basis"] == "measured"
    assert facts["training.tokens"]["value"] == {"low": 1e9, "high": None}
    assert facts["card.languages"]["value"] == ["de|<b>", "en"]
    assert facts["release.date"]["value"] == "2026-01-02"
    assert len(facts["model.layers"]["claims"]) == 2
    assert [c["name"] for c in report["contradictions"]] == ["license.effective"]
    wrong = report["findings"][0]
    assert (wrong["rule"], wrong["verdict"], wrong["severity"]) == ("LIC900", "applies", "error")
    assert wrong["location"] == {"file": "README.md", "line": 2}
    assert wrong["duties"][0]["state"] == "unmet"
    assert {"because", "missing", "citation", "link"} <= wrong.keys()
    assert [item["name"] for item in report["undetermined"]] == ["training.compute"]
    assert report["summary"]["errors"] == 1


def test_an_ignored_finding_is_listed_with_its_reason() -> None:
    ignore = Ignore("DOC900", "mailbox is being set up", date(2027, 3, 31))
    report = sample(ignore)
    assert "DOC900 until 2027-03-31: mailbox is being set up" in terminal.render(report)
    assert "mailbox is being set up" in markdown.render(report)
    assert json.loads(json_report.render(report))["ignored"][0]["finding"]["rule"] == "DOC900"


def test_an_expired_ignore_lets_the_finding_return_and_says_so() -> None:
    report = sample(Ignore("DOC900", "was being set up", date(2026, 11, 22)))
    assert [finding.rule for finding in report.failing] == ["LIC900", "DOC900"]
    assert report.notices == ("the ignore of DOC900 expired on 2026-11-22; its finding is back",)


def test_an_ignore_that_matches_nothing_is_named() -> None:
    report = sample(Ignore("DOC999", "a typing error", date(2027, 1, 1)))
    assert report.notices == ("the ignore of DOC999 matches no finding; remove it",)


def test_an_ignore_of_another_source_is_not_heeded() -> None:
    report = sample(Ignore("DOC900", "not for this one", date(2027, 3, 31), source="other/*"))
    assert not report.ignored
    assert not report.notices


def test_a_clean_model_gets_a_quiet_report() -> None:
    clean = tuple(fact for fact in FACTS if fact.name not in ("license.effective", "card.contact"))
    text = terminal.render(
        sample(
            facts=(
                *clean,
                Fact("card.contact", True, Basis.MEASURED),
                Fact("training.compute", 1e20, Basis.DECLARED),
            )
        )
    )
    assert "Nothing wrong was found." in text
    assert "Next" not in text
    assert len(text.splitlines()) <= 12
