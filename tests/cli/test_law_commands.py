"""`rules`, `plan`, `assess` and `--interview` as a user meets them."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from icalendar import Calendar
from pyarrow import parquet

from steelyard.cli.main import cli, main
from tests.rules.test_law import PACK

PLANNED = """\
# a model that is only planned
model.name: Planned-400B
training.compute: 3e25
model.parameters.total: 400e9
model.modalities: {input: text, output: text}
license.effective: llama3.1
weights.public: yes
release.eu_market_date: 2026-10-01
actor.established_in: us
"""
TABLE = """\
name,training.compute,license.effective,model.modalities.output
small,1e21,apache-2.0,text
=1+1,9e24..1.2e25,llama3.1,text
unknown,,,
"""
EU = ("--market", "eu", "--role", "provider", "--as-of", "2026-11-24")


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, list(arguments), input=stdin, catch_exceptions=False)


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused as wrong usage; return what it says."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert "Traceback" not in said
    return said


@pytest.fixture
def planned(tmp_path: Path) -> str:
    path = tmp_path / "planned.yaml"
    path.write_text(PLANNED, encoding="utf-8")
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "models.csv"
    path.write_text(TABLE, encoding="utf-8")
    return str(path)


# --- rules --------------------------------------------------------------------------------


def test_list_and_show() -> None:
    listed = run("rules", "list", "--market", "kr", "--topic", "risk_assessment").stdout
    assert "kr.aiba.32.safety" in listed
    assert "eu.aiact" not in listed
    data = json.loads(run("rules", "list", "-f", "json", "--as-of", "2026-07-26").stdout)
    states = {rule["id"]: rule["state"] for rule in data}
    assert states["eu.aiact.6.2"] == "from 2026-08-02"
    shown = run("rules", "show", "EU.AIACT.53.1.D", "--tests").stdout
    assert "Article 53(1)(d)" in shown
    assert "T20" in shown
    one = json.loads(run("rules", "show", "eu.aiact.51.2", "-f", "json").stdout)
    assert one["parameters"] == {"parameter.systemic_compute": "1e25 FLOP"}


def test_an_unknown_rule_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert "eu.aiact.53.1.d" in refused("rules", "show", "eu.aiact.53.1.e", capsys=capsys)


def test_rules_of_a_pack_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "law.yaml"
    path.write_text(PACK, encoding="utf-8")
    assert "4 rules" in run("rules", "validate", str(path)).stdout
    assert run("rules", "test", str(path)).exit_code == 0
    assert "ex.tell" in run("rules", "list", "--pack", str(path), "--market", "eu").stdout
    path.write_text(PACK.replace("due: {notify: 2026-01-15}", "due: {notify: 2026-01-16}"))
    failed = run("rules", "test", str(path))
    assert failed.exit_code == 1
    assert "expected notify due 2026-01-16" in failed.stdout


_WHEN = "when: training.compute > parameter.size and not model.narrow"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (_WHEN, "when: training.compote > 1e25", "training.compute"),
        (_WHEN, 'when: training.compute > "much"', "cannot be compared"),
        (_WHEN, "when: __import__('os').system('true')", "holds"),
        (_WHEN, "when: model.narrow.__class__", "__class__"),
        (_WHEN, "when: open('x')", "open"),
        (_WHEN, "when: training.compute > 9**9**9", "parse|compared|combine|holds"),
        (_WHEN, "when: " + "(" * 2000 + "model.narrow" + ")" * 2000, "characters"),
        (_WHEN, "when: " + "not " * 400 + "model.narrow", "nested"),
        ("enacted: 2024-01-01", "enacted: 2024-13-01", "not a date"),
        ("title: An example of a law", "title: &a [*a]", "alias|anchor|YAML|fit"),
    ],
)
def test_wrong_packs_are_refused_with_file_line_and_a_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, what: str
) -> None:
    assert old in PACK
    path = tmp_path / "law.yaml"
    path.write_text(PACK.replace(old, new, 1), encoding="utf-8")
    said = refused("rules", "validate", str(path), capsys=capsys)
    assert f"{path.name}:" in said
    assert any(part in said for part in what.split("|")), said


def test_all_shipped_cases_pass_and_the_schema_is_one() -> None:
    result = run("rules", "test")
    assert result.exit_code == 0
    assert " 0 failures" in result.stderr
    schema = json.loads(run("rules", "schema").stdout)
    assert schema["$defs"]["Rule"]["properties"]["when"]["type"] == "string"


WALK = ("2024-07-01", "2025-08-02", "2026-08-02", "2026-12-02", "2027-08-02", "2028-08-02")


def timeline(facts: str, *more: str) -> dict[str, dict[str, str]]:
    days = [part for day in WALK for part in ("--day", day)]
    said = json.loads(run("rules", "timeline", facts, *EU[:4], *days, *more, "-f", "json").stdout)
    assert [item["day"] for item in said["days"]] == list(WALK)
    return {
        item["day"]: {change["rule"]: change["after"]["words"] for change in item["changes"]}
        for item in said["days"]
    }


def test_the_walk_of_a_new_large_model(planned: str) -> None:
    days = timeline(planned, "--fact", "release.eu_market_date=2025-08-02")
    assert days["2024-07-01"] == {}
    assert days["2025-08-02"]["eu.aiact.55.1.a"] == "binds"
    assert days["2025-08-02"]["eu.aiact.101"] == "will bind"
    assert days["2026-08-02"]["eu.aiact.55.1.a"] == "binds and can be enforced"
    assert days["2026-08-02"]["eu.aiact.101"] == "binds and can be enforced"
    assert days["2028-08-02"] == {}


def test_the_walk_of_a_legacy_model(planned: str) -> None:
    days = timeline(planned, "--fact", "release.eu_market_date=2024-09-01")
    assert days["2025-08-02"]["eu.aiact.53.1.c"] == "will bind after the transition"
    assert days["2027-08-02"]["eu.aiact.53.1.c"] == "binds and can be enforced"


def test_the_walk_of_a_system(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    path.write_text(
        "system: {placed: yes, annex_iii_areas: employment, narrow_procedural: no,\n"
        "  annex_i_product: yes, prohibited_practices: ba}\nactor.role: system_provider\n"
    )
    arguments = [part for day in WALK for part in ("--day", day)]
    said = json.loads(
        run("rules", "timeline", str(path), "--market", "eu", *arguments, "-f", "json").stdout
    )
    changed = {c["rule"]: i["day"] for i in said["days"] for c in i["changes"]
               if c["after"]["words"].startswith("binds")}  # fmt: skip
    assert changed["eu.aiact.5.1.ba"] == "2026-12-02"
    assert changed["eu.aiact.16"] == "2028-08-02"
    assert changed["eu.aiact.6.1"] == "2028-08-02"


def test_crosswalk_tells_where_laws_disagree(planned: str, tmp_path: Path) -> None:
    text = run("rules", "crosswalk", planned, "--market", "eu,us-ca,kr").stdout
    assert "they disagree: eu: binds" in text
    page = tmp_path / "crosswalk.html"
    assert run("rules", "crosswalk", "--market", "eu,kr", "-o", str(page)).exit_code == 0
    assert "&gt;= 1e26 FLOP" in page.read_text(encoding="utf-8")
    plain = run("rules", "crosswalk", "--market", "us-ny", "-f", "markdown").stdout
    assert "72 hours" in plain


# --- plan ---------------------------------------------------------------------------------


def test_a_plan_in_every_format(planned: str, tmp_path: Path) -> None:
    files = {name: tmp_path / f"plan.{name}" for name in ("ics", "json", "md")}
    outputs = [part for path in files.values() for part in ("-o", str(path))]
    assert run("plan", planned, *EU, *outputs).exit_code == 0
    plan = json.loads(files["json"].read_text(encoding="utf-8"))
    named = {duty["rule"] for action in plan["actions"] for duty in action["satisfies"]}
    assert {"eu.aiact.52.1", "eu.aiact.53.1.d", "eu.aiact.55.1.b"} <= named
    events = list(Calendar.from_ical(files["ics"].read_bytes()).walk("VEVENT"))
    assert len(events) == sum(1 for action in plan["actions"] if action["by"])
    assert files["md"].read_text(encoding="utf-8").count("- [ ]") == len(plan["actions"])


def test_one_action_satisfies_duties_of_several_laws(planned: str) -> None:
    facts = ("--fact", "training.compute=3e26", "--fact", "actor.revenue_usd=1e9")
    markets = ("--market", "eu,us-ca,us-ny,us-il", "--role", "provider", "--as-of", "2027-06-01")
    plan = json.loads(run("plan", planned, *facts, *markets, "-f", "json").stdout)
    framework = next(a for a in plan["actions"] if a["id"] == "measures.safety_framework")
    assert {"us-ca", "us-ny", "us-il"} <= set(framework["jurisdictions"])


# --- assess -------------------------------------------------------------------------------


def test_a_table_gives_one_row_a_model(table: str, tmp_path: Path) -> None:
    out = tmp_path / "results.parquet"
    assert run("assess", table, "-o", str(out)).exit_code == 0
    frame = parquet.read_table(out).to_pydict()
    assert frame["row"] == ["small", "=1+1", "unknown"]
    assert frame["eu.aiact.51.2"] == ["does_not_apply", "undetermined", "undetermined"]
    lines = list(csv.DictReader(io.StringIO(run("assess", table, "-f", "csv").stdout)))
    assert [line["row"] for line in lines] == ["small", "'=1+1", "unknown"]
    assert lines[0]["openness.eu_exemption"] == ""
    data = json.loads(run("assess", table, "-f", "json").stdout)
    assert [row["row"] for row in data] == ["small", "=1+1", "unknown"]
    assert {"rule", "verdict"} <= data[0]["findings"][0].keys()
    assert "small" in run("assess", table).stdout


def test_one_set_of_facts_in_full(planned: str) -> None:
    text = run("assess", planned, *EU).stdout
    assert "Binds you" in text
    assert "eu.aiact.55.1.a" in text
    assert "(presumed)" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name,training.compote\nx,1\n", "training.compute"),
        ("name,training.compute\nx,much\n", "a number"),
        ("name,training.compute\nx\n", "2 columns"),
        ("name,note\nx,y\n", "no column"),
        ("name,name\nx,y\n", "twice"),
        ("", "header"),
        ('name,training.compute\n"x,1\n', "parse"),
        ("name,training.compute\nx,\xff\n", "UTF-8"),
    ],
)
def test_wrong_tables_are_named_with_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, what: str
) -> None:
    path = tmp_path / "models.csv"
    path.write_bytes(text.encode("latin-1"))
    said = refused("assess", str(path), capsys=capsys)
    assert what in said
    assert "models.csv" in said


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "models.csv"
    path.write_text("\ufeffname,training.compute\n\nx,1e21\n,\n", encoding="utf-8")
    assert len(json.loads(run("assess", str(path), "-f", "json").stdout)) == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("training.compote: 1", "planned.yaml:1"),
        ("model.name: x\ntraining.compute: much", "planned.yaml:2"),
        ("- a", "no facts"),
        ("a: &x 1\nb: *x", "planned.yaml"),
    ],
)
def test_wrong_facts_are_named_with_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, what: str
) -> None:
    path = tmp_path / "planned.yaml"
    path.write_text(text, encoding="utf-8")
    assert what in refused("assess", str(path), capsys=capsys)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--market", "us-cal"), "did you mean"),
        (("--market", "atlantis"), "one of eu"),
        (("--market", "eu", "--role", "providor"), "did you mean provider"),
        (("--fact", "training.compute"), "NAME=VALUE"),
    ],
)
def test_unknown_markets_and_roles_are_suggested(
    planned: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], what: str
) -> None:
    assert what in refused("assess", planned, *arguments, capsys=capsys)


# --- audit --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llama"}')
    (made / "steelyard.toml").write_text(
        '# ours\n[facts]\n"training.compute" = 3e25  # planned\n'
        '"model.modalities.output" = "text"\n'
    )
    return made


def test_no_market_no_law_and_no_role_an_adopter(folder: Path) -> None:
    plain = json.loads(run("audit", str(folder), "-f", "json").stdout)
    assert not [f for f in plain["findings"] if f["jurisdiction"] != "practice"]
    asked = json.loads(run("audit", str(folder), "-m", "de", "-f", "json").stdout)
    roles = next(fact for fact in asked["facts"] if fact["name"] == "actor.role")
    assert (roles["value"], roles["basis"]) == (["adopter"], "assumed")
    rules = {f["rule"]: f for f in asked["findings"]}
    assert rules["eu.aiact.53.1.a"]["because"] == ["actor.role"]


def test_the_interview_keeps_what_was_answered(folder: Path) -> None:
    told = ("audit", str(folder), *EU, "--interview")
    answers = "?\nperhaps\n2026-10-01\n" + "\n" * 3 + "q\n"
    result = run(*told, stdin=answers)
    assert result.exit_code == 0, result.stderr
    assert "Enter skips a question" in result.stderr
    kept = (folder / "steelyard.toml").read_text(encoding="utf-8")
    assert "# ours" in kept
    assert "# planned" in kept
    facts = tomllib.loads(kept)["facts"]
    assert len(facts) == 3
    again = run(*told, stdin="")
    assert again.exit_code == 0, "the end of the input ends the interview, not the audit"
    assert "answers kept" not in again.stderr
