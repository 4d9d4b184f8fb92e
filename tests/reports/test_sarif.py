"""The SARIF log: valid, located, and nothing in a model's files can spoil it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given, settings

from steelyard.reports.report import FileInfo
from steelyard.reports.sarif import render
from steelyard.rules import Finding
from steelyard.rules.ignores import Ignore
from tests.auditing import weigh
from tests.containers import CONFIG, model_folder
from tests.reports import golden
from tests.reports.hostile import names, spoiled, texts
from tests.reports.samples import sample
from tests.reports.schemas import check_sarif, require, sarif_schema

EXPIRES = date(2027, 3, 31)


def run_of(text: str) -> dict[str, Any]:
    """Return the one run of a log that the official schema accepts."""
    log = json.loads(text)
    check_sarif(log)
    (run,) = log["runs"]
    assert isinstance(run, dict)
    return run


def test_golden() -> None:
    text = render(sample())
    run_of(text)
    golden.check("report.sarif", text)


def test_the_schema_of_the_committee_is_at_hand() -> None:
    require(sarif_schema())
    with pytest.raises(jsonschema.ValidationError):
        check_sarif({"version": "2.1.0", "runs": [{}]})


def test_every_result_says_where_and_by_which_rule() -> None:
    run = run_of(render(sample()))
    rules = run["tool"]["driver"]["rules"]
    assert [result["ruleId"] for result in run["results"]] == ["LIC900", "DOC900"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["kind"] == "fail"
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"].startswith("models/tiny/")
        assert place["region"]["startLine"] >= 1
        assert re.fullmatch("[0-9a-f]{64}", result["partialFingerprints"]["steelyard/v1"])
        assert result["partialFingerprints"]["primaryLocationLineHash"].endswith(":1")


def test_every_rule_has_help_a_level_and_tags(tmp_path: Path) -> None:
    config = {**CONFIG, "num_hidden_layers": 9, "auto_map": {"AutoModel": "own.Model"}}
    report = weigh(model_folder(tmp_path / "tiny", config=config), digest=False, lineage=False)
    rules = {r["id"]: r for r in run_of(render(report))["tool"]["driver"]["rules"]}
    assert {"INT002", "INT003", "CON003"} <= rules.keys()
    for rule in rules.values():
        assert rule["help"]["text"]
        assert rule["help"]["markdown"]
        assert urlsplit(rule["helpUri"]).scheme == "https"
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
        assert rule["properties"]["tags"]
        security = "security" in rule["properties"]["tags"]
        assert ("security-severity" in rule["properties"]) == security
    assert float(rules["INT002"]["properties"]["security-severity"]) >= 4.0


def test_a_rule_reads_the_same_whatever_else_is_wrong(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    for number, card in enumerate((None, "---\nlicense: mit\n---\n# Tiny\n", "plain")):
        report = weigh(model_folder(tmp_path / str(number), card=card), digest=False, lineage=False)
        for rule in run_of(render(report))["tool"]["driver"]["rules"]:
            assert seen.setdefault(rule["id"], rule) == rule


def test_artifacts_have_their_digest_where_it_is_known() -> None:
    run = run_of(render(sample()))
    card, weights = run["artifacts"]
    assert "hashes" not in card
    assert weights["hashes"] == {"sha-256": "0" * 64}
    index = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["index"]
    assert run["artifacts"][index]["location"]["uri"] == "models/tiny/README.md"


def test_ignored_findings_are_left_out_and_counted() -> None:
    report = sample(Ignore("DOC900", "mailbox is being set up", EXPIRES, approved_by="R. Meyer"))
    run = run_of(render(report))
    assert [result["ruleId"] for result in run["results"]] == ["LIC900"]
    notes = [n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]]
    assert "1 finding ignored and left out" in notes


def test_ignored_findings_are_suppressed_results_on_request() -> None:
    report = sample(Ignore("DOC900", "mailbox is being set up", EXPIRES, approved_by="R. Meyer"))
    run = run_of(render(report, suppressed=True))
    last = run["results"][-1]
    assert last["ruleId"] == "DOC900"
    (suppression,) = last["suppressions"]
    assert suppression["kind"] == "external"
    assert suppression["status"] == "accepted"
    assert suppression["justification"] == "mailbox is being set up (until 2027-03-31, R. Meyer)"
    assert not any("ignored" in str(n) for n in run["invocations"][0]["toolExecutionNotifications"])


def test_what_is_undetermined_is_a_notification_and_no_result() -> None:
    run = run_of(render(sample()))
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert "training.compute" in note["message"]["text"]
    assert run["properties"]["undetermined"] == ["CMP900"]
    assert run["invocations"][0]["executionSuccessful"] is True


def test_topics_that_were_left_out_are_told(tmp_path: Path) -> None:
    report = weigh(model_folder(tmp_path / "tiny"), only=["code"])
    run = run_of(render(report))
    assert run["properties"]["only"] == ["code"]
    notes = [n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]]
    assert any("only code was asked for" in note for note in notes)


def test_no_more_results_than_github_takes_the_gravest_kept() -> None:
    run = run_of(render(sample(), most=1))
    assert [result["ruleId"] for result in run["results"]] == ["LIC900"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["LIC900"]
    notes = [n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]]
    assert any("1 result left out" in note for note in notes)


def test_no_more_tags_than_github_takes() -> None:
    def tagged(finding: Finding) -> Finding:
        return replace(finding, tags=tuple(f"tag{number}" for number in range(30)))

    report = sample()
    run = run_of(render(replace(report, findings=tuple(map(tagged, report.findings)))))
    assert len(run["tool"]["driver"]["rules"][0]["properties"]["tags"]) == 20
    notes = [n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]]
    assert any("LIC900 has 30 tags, of which 20 are kept" in note for note in notes)


def test_a_repository_of_very_many_files_is_cut_and_that_is_told() -> None:
    files = tuple(FileInfo(f"shard-{number}.bin", 1, "weights") for number in range(10_050))
    # The schema asks that no two are alike, for which its validator compares each with each.
    (run,) = json.loads(render(replace(sample(), files=(*sample().files, *files))))["runs"]
    assert len(run["artifacts"]) == 10_000
    uris = {artifact["location"]["uri"] for artifact in run["artifacts"]}
    assert "models/tiny/README.md" in uris
    notes = [n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]]
    assert any("52 files not listed" in note for note in notes)


@settings(max_examples=60, deadline=None)
@given(texts, names)
def test_hostile_text_stays_text(text: str, name: str) -> None:
    rendered = render(spoiled(text, name), suppressed=True)
    assert rendered.isascii()
    run = run_of(rendered)
    for result in run["results"]:
        said = result["message"]["text"]
        assert "](" not in said
        assert said.isprintable()
        assert "\n" not in said
        assert not re.search(r"(?<!\{)\{(?:\{\{)*\d+\}", said)
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")


@given(names)
def test_a_file_name_survives_its_address(name: str) -> None:
    from steelyard.reports.sarif.wording import uri

    data = name.encode("utf-8", "surrogatepass")
    plain = data.decode("utf-8", "surrogateescape")
    assert unquote(uri(plain), errors="surrogateescape") == plain


@pytest.mark.parametrize("suppressed", [False, True])
def test_the_same_report_gives_the_same_bytes(suppressed: bool) -> None:
    assert render(sample(), suppressed=suppressed) == render(sample(), suppressed=suppressed)
