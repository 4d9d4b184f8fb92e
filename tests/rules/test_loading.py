"""Packs load with everything checked, or are refused with file and line."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import PackError
from steelyard.facts import Basis, Interval
from steelyard.rules import Confidence, Severity, Status, load_pack, load_packs

PACK = """\
id: practice.example
title: An example
rules:
  - id: EX001
    title: Weights come with a card
    message: "There is no card beside {weights.main}."
    when: weights.present
    duties:
      - id: card
        text: A card lies there.
        satisfied_when: card.present
        fix: Write one.
    severity: warning
    confidence: high
    citation:
      text: A page
      link: https://example.org/page
    reviewed: 2026-11-23
    location: weights.main
    tags: [card]
    aliases: [OLD001]
    tests:
      - name: no card
        facts:
          weights.present: yes
          card.present: no
        expect:
          verdict: applies
          duties:
            card: unmet
"""


def refused(text: str) -> PackError:
    with pytest.raises(PackError) as caught:
        load_pack(text, "packs/example.yaml")
    assert caught.value.file == "packs/example.yaml"
    return caught.value


def test_loads_every_field() -> None:
    pack = load_pack(PACK, "packs/example.yaml")
    (rule,) = pack.rules
    assert (pack.id, pack.title, pack.file) == (
        "practice.example",
        "An example",
        "packs/example.yaml",
    )
    assert pack.digest.startswith("sha256:")
    assert (rule.id, rule.severity, rule.confidence) == (
        "EX001",
        Severity.WARNING,
        Confidence.HIGH,
    )
    assert (rule.jurisdiction, rule.status) == ("practice", Status.SOFT)
    assert rule.reviewed == date(2026, 11, 23)
    assert rule.when.names == ("weights.present",)
    assert rule.duties[0].satisfied_when.names == ("card.present",)
    assert rule.citation.link == "https://example.org/page"
    assert (rule.location, rule.tags, rule.aliases) == (("weights.main",), ("card",), ("OLD001",))
    assert pack.line("EX001") == 4
    assert pack.line("EX001", "tests", 0) == 23
    assert pack.line("EX001", "no such part") == 4
    assert pack.line("EX009") is None


def test_the_condition_is_true_unless_given() -> None:
    text = PACK.replace("    when: weights.present\n", "")
    assert load_pack(text, "x.yaml").rules[0].when.text == "True"


def test_facts_of_cases_are_read_as_people_write_them() -> None:
    facts = """\
          training.compute: 1e24..3e24
          model.layers: 32
          model.formats: [safetensors, "a, b"]
          card.placeholders: []
          model.modalities.output: text, label
          release.date: 2026-08-02
          license.declared:
            - {value: MIT, basis: declared}
            - {value: "1", basis: assumed}
"""
    text = PACK.replace("          weights.present: yes\n          card.present: no\n", facts)
    values = [(f.name, f.value, f.basis) for f in load_pack(text, "x").rules[0].tests[0].facts]
    measured = Basis.MEASURED
    assert values == [
        ("training.compute", Interval(1e24, 3e24), measured),
        ("model.layers", 32, measured),
        ("model.formats", frozenset({"safetensors", "a, b"}), measured),
        ("card.placeholders", frozenset(), measured),
        ("model.modalities.output", frozenset({"text", "label"}), measured),
        ("release.date", date(2026, 8, 2), measured),
        ("license.declared", "MIT", Basis.DECLARED),
        ("license.declared", "1", Basis.ASSUMED),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "fix"),
    [
        ("when: weights.present", "when: weights.presnt", 7, "weights.presnt", "weights.present"),
        ("when: weights.present", "when: weights.present > 3", 7, "yes or no", ""),
        ("when: weights.present", "when: [weights.present]", 7, "a condition", ""),
        ("when: weights.present", "when:", 7, "a condition", ""),
        ("when: weights.present", 'when: weights.main == "a" "b"', 7, "YAML|side by side", ""),
        ("satisfied_when: card.present", "satisfied_when: eval(card.present)", 11, "eval", ""),
        ("    title: Weights", "    titel: Weights", 5, "titel", "did you mean title"),
        ("        text: A card", "        txt: A card", 10, "txt", "did you mean text"),
        ("      link: https", "      lnk: https", 17, "lnk", "did you mean link"),
        ("          verdict: applies", "          verdct: applies", 28, "verdct", "verdict"),
        ("title: An example", "titles: An example", 2, "titles", "did you mean title"),
        ("    severity: warning\n", "", 4, "EX001 lacks `severity`", "add it"),
        ("    reviewed: 2026-11-23\n", "", 4, "EX001 lacks `reviewed`", "add it"),
        ("        fix: Write one.\n", "", 9, "EX001 lacks `fix`", "add it"),
        ("severity: warning", "severity: fatal", 13, "severity", ""),
        ("confidence: high", "confidence: sure", 14, "confidence", ""),
        ("reviewed: 2026-11-23", "reviewed: yesterday", 18, "not a date", "2026-08-02"),
        ("reviewed: 2026-11-23", "reviewed: 2026-11-31", 18, "not a date", "2026-08-02"),
        ("reviewed: 2026-11-23", "reviewed: 20261123", 18, "not a date", "2026-08-02"),
        ("https://example.org", "http://example.org", 17, "link", ""),
        ("https://example.org/page", "javascript:alert(1)", 17, "link", ""),
        ("id: EX001", "id: EX 001", 4, "`id`", ""),
        ("{weights.main}", "{weights.mian}", 6, "weights.mian", "weights.main"),
        ("{weights.main}", "{weights.main", 6, "brace", "fact.name"),
        ("{weights.main}", "{0.__class__}", 6, "__class__|brace", ""),
        ("location: weights.main", "location: weights.mian", 19, "weights.mian", "weights.main"),
        ("card.present: no", "card.presnt: no", 26, "card.presnt", "card.present"),
        ("card.present: no", "card.present: perhaps", 26, "yes or no", ""),
        ("card.present: no", "card.present: {basis: declared}", 26, "value", ""),
        ("card.present: no", "card.present: {value: no, basis: felt}", 26, "felt", "measured"),
        ("card.present: no", "card.present: {value: no, at: now}", 26, "value and basis", ""),
        ("card: unmet", "crad: unmet", 30, "crad", ""),
        ("card: unmet", "card: maybe", 30, "card", ""),
        ("    tags: [card]", "    roles: [king]", 20, "king", ""),
        ("aliases: [OLD001]", "aliases: [EX001]", 4, "used twice", ""),
        ("aliases: [OLD001]", "jurisdiction: eu", 4, "states `status`", ""),
        ("aliases: [OLD001]", "severity: error", 21, "given twice", "keep one"),
        ("aliases: [OLD001]", "aliases: &a [OLD001]\n    roles: *a", 22, "aliases", ""),
        ("aliases: [OLD001]", "aliases: !!set {}", 21, "tag", ""),
        ("id: practice.example", "- id", 2, "YAML", ""),
        ("rules:", "rules: [", 4, "YAML", ""),
    ],
)
def test_errors_name_the_line(old: str, new: str, line: int, what: str, fix: str) -> None:
    assert old in PACK
    error = refused(PACK.replace(old, new, 1))
    assert any(part in error.what for part in what.split("|")), error.what
    assert fix in error.fix
    assert error.line == line, error


def test_a_rule_without_source_review_or_test_does_not_land() -> None:
    before, after = PACK.split("    citation:\n")
    assert "lacks `citation`" in refused(before + after.split("/page\n", 1)[1]).what
    assert "lacks `tests`" in refused(PACK.split("    tests:\n")[0]).what
    error = refused(PACK.split("      - name: no card")[0].replace("tests:", "tests: []"))
    assert (error.line, "`tests`" in error.what) == (22, True)


def test_low_confidence_never_yields_an_error() -> None:
    text = PACK.replace("confidence: high", "confidence: low")
    assert load_pack(text, "x").rules[0].confidence is Confidence.LOW
    error = refused(text.replace("severity: warning", "severity: error"))
    assert (error.line, "never an error" in error.what) == (13, True)


def test_the_first_error_in_the_file_is_the_one_told() -> None:
    error = refused(
        PACK.replace("severity: warning", "severity: x").replace("title: W", "titel: W")
    )
    assert error.line == 5


def test_law_states_its_status_and_dates() -> None:
    stated = "jurisdiction: eu\n"
    for field, value in (
        ("status", "in_force"),
        ("enacted", "2024-07-12"),
        ("topic", "documentation"),
        ("applies_from", "2025-08-02"),
    ):
        error = refused(PACK.replace("aliases: [OLD001]", stated))
        assert f"states `{field}`" in error.what
        stated += f"    {field}: {value}\n"
    rule = load_pack(PACK.replace("aliases: [OLD001]", stated), "x").rules[0]
    assert rule.is_law
    assert rule.applies_from[0].date == date(2025, 8, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "just words",
        "- a\n- b\n",
        "id: a.b\ntitle: Abc\nrules: []\n",
        "a: 1\n---\nb: 2\n",
        "[" * 5_000,
        "a: " * 2_000,
        "? [a, b]\n: c\n",
        "a: &x [*x]\n",
        "\x00",
        "\ud800",
        "a: !!python/object/apply:os.system [ls]\n",
        "x" * 3_000_000,
    ],
)
def test_what_is_no_pack_is_refused(text: str) -> None:
    refused(text)


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    refused(text)


@given(st.integers(0, len(PACK) - 1), st.text(max_size=6))
def test_a_changed_pack_loads_or_is_refused(place: int, junk: str) -> None:
    with suppress(PackError):
        load_pack(PACK[:place] + junk + PACK[place + 3 :], "x.yaml")


# --- files --------------------------------------------------------------------------------


def test_reads_files_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.yaml").write_text(PACK, encoding="utf-8")
    other = PACK.replace("EX001", "EX002").replace("OLD001", "OLD002")
    (folder / "deep" / "a.yaml").write_text(other, encoding="utf-8")
    (folder / "notes.txt").write_text("no pack", encoding="utf-8")
    assert [p.file for p in load_packs([folder])] == ["mine/b.yaml", "mine/deep/a.yaml"]
    assert [p.file for p in load_packs([folder / "b.yaml"])] == ["b.yaml"]


def test_ids_are_unique_across_packs(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(PACK, encoding="utf-8")
    with pytest.raises(PackError) as caught:
        load_packs([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert (caught.value.file, caught.value.line) == ("b.yaml", 4)
    assert "a.yaml" in caught.value.why


def test_what_cannot_be_read_is_a_pack_error(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="cannot be read"):
        load_packs([tmp_path / "missing.yaml"])
    (tmp_path / "latin.yaml").write_bytes(b"title: caf\xe9\n")
    with pytest.raises(PackError, match="not UTF-8"):
        load_packs([tmp_path / "latin.yaml"])
