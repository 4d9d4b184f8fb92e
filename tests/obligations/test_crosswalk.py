from __future__ import annotations

import json as standard_json
from datetime import date

from steelyard.obligations.crosswalk import crosswalk
from steelyard.reports.comparisons import html, json, markdown, terminal
from steelyard.rules import Topic
from tests.obligations.laws import TODAY, findings, packs


def test_thresholds_stand_side_by_side_with_their_comparator() -> None:
    said = crosswalk(packs(), as_of=TODAY)
    row = next(row for row in said.rows if row.topic is Topic.COMPUTE_THRESHOLD)
    figures = {place: [e.figure for e in entries] for place, entries in row.cells}
    assert figures == {"eu": ["> 1e25 FLOP"], "us-ca": ["> 1e26 FLOP"]}
    assert [e.roles for _, entries in row.cells for e in entries] == [("provider",)] * 2


def test_only_the_places_that_were_asked_for() -> None:
    assert crosswalk(packs(), ["eu"], as_of=TODAY).jurisdictions == ("eu",)


def test_law_of_another_day_is_not_compared() -> None:
    before = crosswalk(packs(), as_of=date(2025, 1, 1))
    ids = {e.id for row in before.rows for _, entries in row.cells for e in entries}
    assert "one.report" in ids
    assert "two.report" not in ids


def test_disagreement_about_a_model_is_told() -> None:
    said = crosswalk(packs(), as_of=TODAY, findings=findings(
        {"training.compute": 5e25, "weights.public": False}))  # fmt: skip
    row = next(row for row in said.rows if row.topic is Topic.TRANSPARENCY_REPORT)
    assert row.disagreement == "eu: binds; us-ca: does not bind"
    agreed = crosswalk(packs(), as_of=TODAY, findings=findings(
        {"training.compute": 1e27, "weights.public": False}))  # fmt: skip
    row = next(row for row in agreed.rows if row.topic is Topic.TRANSPARENCY_REPORT)
    assert not row.disagreement


def test_every_format_cites_every_source() -> None:
    said = crosswalk(packs(), as_of=TODAY)
    for render in (markdown.render, html.render, json.render):
        text = render(said)
        for link in ("https://example.org/act", "https://example.org/1", "https://example.org/2"):
            assert link in text
    assert "> 1e26 FLOP" in terminal.render(said)
    assert "&gt; 1e26 FLOP" in html.render(said)
    assert standard_json.loads(json.render(said))["jurisdictions"] == ["eu", "us-ca"]
