"""Annotations on GitHub: escaped by its rules, the gravest first, no more than it shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from steelyard.reports.github import render
from steelyard.reports.report import Report
from steelyard.rules import Finding, Severity
from tests.auditing import weigh
from tests.containers import model_folder
from tests.reports import golden
from tests.reports.hostile import names, spoiled, texts
from tests.reports.samples import sample

COMMAND = re.compile(r"::(error|warning|notice)(?: ([^:]*))?::(.*)")


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Read a log as the runner does: commands begin lines; return kind, properties, message."""
    found = []
    for line in text.split("\n"):
        if line.lstrip().startswith("::"):
            match = COMMAND.fullmatch(line)
            assert match, line
            kind, given, message = match.groups()
            pairs = (pair.partition("=") for pair in (given or "").split(",") if pair)
            properties = {key: unescape(value) for key, _, value in pairs}
            found.append((kind, properties, unescape(message)))
    return found


def unescape(text: str) -> str:
    for escaped, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escaped, char)
    return text


def many(severity: Severity, count: int) -> Report:
    report = sample()
    (one,) = [finding for finding in report.failing if finding.rule == "DOC900"]

    def numbered(number: int) -> Finding:
        return replace(one, rule=f"X{number:03}", severity=severity)

    findings = (*report.findings, *map(numbered, range(count)))
    return replace(report, findings=findings)


def test_golden() -> None:
    golden.check("github.txt", render(sample()))


def test_each_alert_is_an_annotation_at_its_place() -> None:
    first, second = commands(render(sample()))
    assert first[0] == "error"
    assert first[1]["file"] == "models/tiny/README.md"
    assert first[1]["line"] == "2"
    assert first[1]["title"] == "LIC900 Declaration and text agree"
    assert "\nFix: name the license" in first[2]
    assert second[0] == "warning"
    assert "line" not in second[1]


def test_ten_of_each_kind_and_how_many_more() -> None:
    for severity, kind, most in (
        (Severity.ERROR, "error", 10),
        (Severity.WARNING, "warning", 10),
        (Severity.NOTE, "notice", 10),
    ):
        text = render(many(severity, 15))
        found = [command for command in commands(text) if command[0] == kind]
        assert len(found) == most
        said = [message for _, _, message in commands(text) if "more: see the log" in message]
        assert len(said) == 1
        left = re.match(r"(\d+) ", said[0])
        assert left
        assert len(re.findall(rf"^{severity.value} X", text, re.MULTILINE)) == int(left[1])


def test_what_is_left_out_of_the_audit_is_a_notice(tmp_path: Path) -> None:
    text = render(weigh(model_folder(tmp_path / "tiny"), only=["code"]))
    (notice,) = commands(text)
    assert notice[0] == "notice"
    assert "only code was asked for" in notice[2]
    assert text.splitlines()[-1].endswith("0 errors, 0 warnings, 0 notes")


@settings(max_examples=150, deadline=None)
@given(texts, names)
def test_hostile_text_gives_no_command_and_ends_none(text: str, name: str) -> None:
    rendered = render(spoiled(text, name))
    assert "##[" not in rendered
    found = commands(rendered)
    assert [kind for kind, _, _ in found] == ["error", "warning", "warning", "notice"][
        -len(found) :
    ]
    for _, properties, _ in found:
        assert set(properties) <= {"file", "line", "title"}
