from __future__ import annotations

from datetime import date

from icalendar import Calendar

from steelyard.facts import Value
from steelyard.obligations.plan import Plan, make_plan
from steelyard.reports.plans import calendar, json, markdown, terminal
from steelyard.rules import State
from tests.obligations.laws import TODAY, findings

LARGE: dict[str, Value] = {
    "training.compute": 1e27,
    "weights.public": False,
    "release.date": date(2026, 11, 20),
}


def plan(**more: Value) -> Plan:
    facts = {**LARGE, **{name.replace("__", "."): value for name, value in more.items()}}
    return make_plan(findings(facts), as_of=TODAY)


def test_one_document_that_two_laws_ask_for_is_one_action() -> None:
    report = next(a for a in plan().actions if a.id == "measures.transparency_report")
    assert [duty.rule for duty in report.duties] == ["one.report", "two.report"]
    assert report.jurisdictions == ("eu", "us-ca")
    assert report.by == date(2026, 8, 2), "the earliest day on which one can be enforced"
    assert report.title.startswith("Publish a transparency report")


def test_actions_come_in_the_order_of_their_days() -> None:
    found = plan()
    assert [a.by for a in found.actions] == sorted(a.by for a in found.actions if a.by)
    contact = next(a for a in found.actions if a.id == "one.report/contact")
    assert contact.duties[0].due == date(2026, 12, 4)
    assert contact.title == "Name a contact in the card."


def test_what_is_met_is_done_and_proposals_ask_for_nothing() -> None:
    found = plan(measures__transparency_report=True, card__contact=False)
    assert [a.id for a in found.done] == ["measures.transparency_report"]
    assert [(a.id, a.state) for a in found.actions] == [("one.report/contact", State.UNMET)]
    assert not any("audit" in a.id for a in (*found.actions, *found.done))


def test_what_is_undetermined_is_told_apart() -> None:
    found = make_plan(findings({}), as_of=TODAY)
    assert not found.actions
    assert {f.rule for f in found.open} == {"one.free", "one.report"}
    assert "1 answer" in terminal.render(found) or "2 answers" in terminal.render(found)


def test_a_small_open_model_has_nothing_to_do() -> None:
    small: dict[str, Value] = {"training.compute": 1e20, "weights.public": True}
    found = make_plan(findings(small), as_of=TODAY)
    assert (found.actions, found.done, found.open) == ((), (), ())
    assert "Nothing to do" in terminal.render(found)


def test_every_format_tells_every_action() -> None:
    found = plan()
    for text in (terminal.render(found), markdown.render(found), json.render(found)):
        for duty in ("one.report", "two.report"):
            assert duty in text
    assert max(map(len, terminal.render(found, width=60).splitlines())) <= 60


def test_the_calendar_is_valid_and_keeps_its_identifiers() -> None:
    text = calendar.render(plan())
    parsed = Calendar.from_ical(text)
    events = list(parsed.walk("VEVENT"))
    days = sorted(event.decoded("dtstart") for event in events)
    assert days == [date(2026, 8, 2), date(2026, 12, 4)]
    assert len({str(event["uid"]) for event in events}) == len(events)
    assert text == calendar.render(plan()), "the same plan gives the same bytes"
