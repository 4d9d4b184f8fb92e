from __future__ import annotations

from datetime import date

from steelyard.facts import Value
from steelyard.obligations.timeline import Timeline, days_of_change, timeline
from steelyard.reports.timelines import json, markdown, terminal
from tests.obligations.laws import findings, packs

LARGE: dict[str, Value] = {"training.compute": 1e27, "weights.public": False}


def test_every_day_on_which_law_changes_is_found() -> None:
    assert days_of_change(packs()) == (
        date(2024, 1, 1),
        date(2025, 8, 2),
        date(2025, 9, 29),
        date(2026, 1, 1),
        date(2026, 8, 2),
        date(2027, 1, 1),
    )


def test_a_large_model_walks_through_the_law() -> None:
    days = timeline(lambda day: findings(LARGE, day), days_of_change(packs()))
    told = {(item.day, c.rule): c.after.words for item in days for c in item.changes}
    assert told == {
        (date(2024, 1, 1), "one.report"): "will bind",
        (date(2025, 8, 2), "one.report"): "binds",
        (date(2025, 9, 29), "two.report"): "will bind",
        (date(2026, 1, 1), "two.proposed"): "is proposed",
        (date(2026, 8, 2), "one.report"): "binds and can be enforced",
        (date(2027, 1, 1), "two.report"): "binds and can be enforced",
    }


def test_a_small_model_has_no_timeline() -> None:
    small: dict[str, Value] = {"training.compute": 1e20, "weights.public": False}
    assert timeline(lambda day: findings(small, day), days_of_change(packs())) == ()


def test_chosen_days_are_kept_even_without_a_change() -> None:
    chosen = [date(2026, 9, 1), date(2026, 9, 2)]
    days = timeline(lambda day: findings(LARGE, day), chosen, every=True)
    assert [len(item.changes) for item in days] == [3, 0]
    assert "no change" in terminal.render(Timeline("x", days))


def test_every_format_tells_every_change() -> None:
    days = timeline(lambda day: findings(LARGE, day), days_of_change(packs()))
    said = Timeline("planned.yaml", days)
    for text in (terminal.render(said), markdown.render(said), json.render(said)):
        assert "two.report" in text
        assert "2027-01-01" in text
