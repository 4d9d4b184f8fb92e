"""`steelyard audit`: what its options do."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from steelyard.cli.audit import command
from tests.cli.running import Run
from tests.containers import CARD, TENSORS, as_safetensors, model_folder
from tests.reports.samples import PACK

TODAY = date.today()  # what `--ignore` without `--as-of` is held against
SOON = TODAY + timedelta(90)


@pytest.fixture(autouse=True)
def model(folder: Path) -> Path:
    """Lay down a model whose only fault is a warning: nobody is named to report flaws to."""
    card = CARD[: CARD.index("## Contact")]
    return model_folder(folder / "tiny", card=card)


def report(run: Run, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("audit", "tiny", "-f", "json", *arguments).out)
    return found


def failing(found: dict[str, Any]) -> set[str]:
    return {finding["rule"] for finding in found["findings"] if finding["failing"]}


@pytest.mark.parametrize(
    ("threshold", "code"), [("error", 0), ("warning", 1), ("note", 1), ("never", 0)]
)
def test_fail_on(threshold: str, code: int, run: Run) -> None:
    assert run("audit", "tiny", "--fail-on", threshold).code == code


def test_strict_counts_what_is_undetermined(folder: Path, run: Run) -> None:
    pack = PACK.replace("severity: note", "severity: error")
    pack = pack.replace("training.compute", "training.tokens")
    (folder / "own.yaml").write_text(pack)
    assert run("audit", "tiny", "--pack", "own.yaml").code == 0
    assert run("audit", "tiny", "--pack", "own.yaml", "--strict").code == 1
    settled = ("--strict", "--fact", "training.tokens=1e20")
    assert run("audit", "tiny", "--pack", "own.yaml", *settled).code == 0


def test_a_pack_of_ones_own_is_applied_too(folder: Path, run: Run) -> None:
    before = report(run)["tool"]["packs"]
    (folder / "own.yaml").write_text(PACK)
    after = report(run, "--pack", "own.yaml")["tool"]["packs"]
    assert [pack["id"] for pack in after] == [*(pack["id"] for pack in before), "sample"]


def test_a_broken_pack_is_named_with_its_line(folder: Path, run: Run) -> None:
    (folder / "own.yaml").write_text(PACK.replace("when: training", "when: trainign"))
    outcome = run("audit", "tiny", "--pack", "own.yaml")
    assert outcome.code == 2
    assert "own.yaml:" in outcome.err
    assert "training.compute" in outcome.err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("model.narrow=yes", True),
        ("training.tokens=2e12", 2_000_000_000_000),
        ("training.compute=1e22..3e22", {"low": 1e22, "high": 3e22}),
        ("actor.role=adopter, modifier", ["adopter", "modifier"]),
        ("release.date=2026-01-02", "2026-01-02"),
        (" license.name = ours = yours", "ours = yours"),
    ],
)
def test_fact(text: str, value: Any, run: Run) -> None:
    facts = {fact["name"]: fact for fact in report(run, "--fact", text)["facts"]}
    fact = facts[text.split("=")[0].strip()]
    assert (fact["value"], fact["basis"]) == (value, "declared")
    assert fact["evidence"] == [{"field": "stated by the user"}]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("model.narrow", "NAME=VALUE"),
        ("model.narow=yes", "model.narrow"),
        ("model.narrow=perhaps", "yes or no"),
        ("training.tokens=many", "a number or a range"),
        ("training.tokens=3..2", "a number or a range"),
        ("training.tokens=nan", "a number or a range"),
        ("training.tokens=-1", "a number or a range"),
        ("actor.role=owner", "provider"),
        ("release.date=soon", "2026-11-23"),
        ("=yes", "no fact"),
    ],
)
def test_a_fact_that_does_not_fit(text: str, hint: str, run: Run) -> None:
    outcome = run("audit", "tiny", "--fact", text)
    assert (outcome.code, outcome.out) == (2, "")
    assert hint in outcome.err


def test_facts_in_settings_give_way_to_the_command_line(folder: Path, run: Run) -> None:
    (folder / "steelyard.toml").write_text("[facts]\ntraining.tokens = 1e9\nmodel.narrow = false\n")
    facts = {f["name"]: f["value"] for f in report(run, "--fact", "training.tokens=2e9")["facts"]}
    assert facts["training.tokens"] == 2_000_000_000
    assert facts["model.narrow"] is False


def test_a_wrong_fact_in_settings(folder: Path, run: Run) -> None:
    (folder / "steelyard.toml").write_text("[facts]\ntraining.tokns = 1e9\n")
    outcome = run("audit", "tiny")
    assert outcome.code == 2
    assert "training.tokens" in outcome.err


def test_as_of(run: Run) -> None:
    assert report(run)["as_of"] == TODAY.isoformat()
    assert report(run, "--as-of", "2024-02-29")["as_of"] == "2024-02-29"
    for text in ("2024-02-30", "29.02.2024", "2024"):
        assert run("audit", "tiny", "--as-of", text).code == 2


class TestIgnores:
    def table(self, expires: date, rule: str = "DOC005") -> str:
        return f'[[ignore]]\nrule = "{rule}"\nreason = "being set up"\nexpires = {expires}\n'

    def test_on_the_command_line(self, run: Run) -> None:
        assert failing(report(run)) >= {"DOC005"}
        found = report(run, "--ignore", f"DOC005={SOON}:being set up")
        assert "DOC005" not in failing(found)
        (ignored,) = found["ignored"]
        assert ignored["finding"]["rule"] == "DOC005"
        assert (ignored["reason"], ignored["expires"]) == ("being set up", str(SOON))

    def test_in_settings_and_said_so(self, folder: Path, run: Run) -> None:
        (folder / "steelyard.toml").write_text(self.table(SOON))
        outcome = run("audit", "tiny", "--fail-on", "warning")
        assert outcome.code == 0
        assert outcome.err == f"note: ignores come from {folder}/steelyard.toml\n"
        assert f"DOC005 until {SOON}: being set up" in " ".join(outcome.out.split())

    def test_no_ignores(self, folder: Path, run: Run) -> None:
        (folder / "steelyard.toml").write_text(self.table(SOON))
        arguments = ("--no-ignores", "--fail-on", "warning", "--ignore", f"DOC005={SOON}:because")
        outcome = run("audit", "tiny", *arguments)
        assert (outcome.code, outcome.err) == (1, "")

    def test_one_that_expired_is_over(self, folder: Path, run: Run) -> None:
        yesterday = TODAY - timedelta(1)
        (folder / "steelyard.toml").write_text(self.table(yesterday))
        found = report(run)
        assert "DOC005" in failing(found)
        assert found["ignored"] == []
        assert found["notices"] == [
            f"the ignore of DOC005 expired on {yesterday}; its finding is back"
        ]

    def test_one_that_matches_nothing_is_named(self, run: Run) -> None:
        found = report(run, "--ignore", f"XYZ999={SOON}:because")
        assert found["notices"] == ["the ignore of XYZ999 matches no finding; remove it"]

    @pytest.mark.parametrize(
        "text",
        ["DOC005", "DOC005=soon:because", "DOC005=2026-12-31", f"={SOON}:because",
         f"DOC005={SOON}:", f"DOC005={SOON}: x "],
    )  # fmt: skip
    def test_a_malformed_one_is_refused(self, text: str, run: Run) -> None:
        outcome = run("audit", "tiny", "--ignore", text)
        assert (outcome.code, outcome.out) == (2, "")
        assert "RULE=DATE:REASON" in outcome.err

    def test_more_than_a_year_is_refused(self, folder: Path, run: Run) -> None:
        late = TODAY + timedelta(367)
        stated = run("audit", "tiny", "--ignore", f"DOC005={late}:because")
        (folder / "steelyard.toml").write_text(self.table(late))
        for outcome in (stated, run("audit", "tiny")):
            assert (outcome.code, outcome.out) == (2, "")
            assert "a year at most" in outcome.err


class TestTheModelsOwnFile:
    TEXT = (
        'fail-on = "never"\n[facts]\ntraining.tokens = 1e9\n'
        f'[[ignore]]\nrule = "DOC005"\nreason = "because"\nexpires = {SOON}\n'
    )

    @pytest.mark.parametrize("spec", [".", "../tiny", ""])
    def test_sets_nothing_even_from_within(
        self, folder: Path, model: Path, spec: str, monkeypatch: pytest.MonkeyPatch, run: Run
    ) -> None:
        (model / "steelyard.toml").write_text(self.TEXT)
        (model / "pyproject.toml").write_text("[tool.steelyard\n")
        monkeypatch.chdir(model)
        outcome = run("audit", spec or str(model), "--fail-on", "warning", "-f", "json")
        assert outcome.code == 1
        assert "only the facts in it count" in outcome.err
        found = json.loads(outcome.out)
        assert found["ignored"] == []
        (fact,) = [fact for fact in found["facts"] if fact["name"] == "training.tokens"]
        assert (fact["basis"], fact["evidence"][0]["file"]) == ("declared", "steelyard.toml")

    def test_is_not_talked_about_from_elsewhere(self, model: Path, run: Run) -> None:
        (model / "steelyard.toml").write_text(self.TEXT)
        assert run("audit", "tiny", "--fail-on", "warning").code == 1
        assert run("audit", "tiny").err == ""


class TestOutputs:
    def test_several_in_one_run(self, folder: Path, run: Run) -> None:
        outcome = run("audit", "tiny", "-f", "text", "-f", "json=r.json", "-f", "markdown=r.md")
        assert outcome.out.startswith("tiny\n")
        assert json.loads((folder / "r.json").read_text())["schema_version"]
        assert (folder / "r.md").read_text().startswith("# tiny\n")

    def test_stdout_named(self, run: Run) -> None:
        assert json.loads(run("audit", "tiny", "-f", "json", "-o", "-").out)

    def test_files_on_the_command_line_replace_formats_in_settings(
        self, folder: Path, run: Run
    ) -> None:
        (folder / "steelyard.toml").write_text('format = ["markdown"]\n')
        assert run("audit", "tiny").out.startswith("# tiny\n")
        assert run("audit", "tiny", "-o", "r.json").out == ""
        assert [path.name for path in folder.glob("r.*")] == ["r.json"]

    def test_wrong_outputs_are_refused_before_any_work(self, run: Run) -> None:
        assert run("audit", "missing", "-f", "text", "-f", "json").code == 2

    def test_nothing_is_written_when_the_source_cannot_be_read(
        self, folder: Path, run: Run
    ) -> None:
        assert run("audit", "missing", "-o", "r.json").code == 3
        assert not (folder / "r.json").exists()

    def test_an_unwritable_file(self, folder: Path, run: Run) -> None:
        outcome = run("audit", "tiny", "-o", "missing/r.json")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("error: cannot write missing/r.json\n  why: ")


class TestMeasuring:
    def facts(self, run: Run, *arguments: str) -> set[str]:
        return {fact["name"] for fact in report(run, *arguments)["facts"]}

    def test_no_digest(self, run: Run) -> None:
        assert "model.identity" in self.facts(run)
        assert "model.identity" not in self.facts(run, "--no-digest")

    def test_digest_wins_over_settings(self, folder: Path, run: Run) -> None:
        (folder / "steelyard.toml").write_text("digest = false\n")
        assert "model.identity" not in self.facts(run)
        assert "model.identity" in self.facts(run, "--digest")

    def test_scan_values(self, folder: Path, run: Run) -> None:
        assert "weights.nonfinite" not in self.facts(run)
        spoiled = TENSORS["model.norm.weight"].copy()
        spoiled[3] = float("nan")
        model_folder(
            folder / "tiny", weights=as_safetensors({**TENSORS, "model.norm.weight": spoiled})
        )
        found = report(run, "--scan-values")
        (fact,) = [fact for fact in found["facts"] if fact["name"] == "weights.nonfinite"]
        assert fact["value"] == 1
        assert "INT013" in failing(found)

    def test_offline(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        for name in ("STEELYARD_OFFLINE", "HF_HUB_OFFLINE"):
            with monkeypatch.context() as patch:
                patch.setenv(name, "1")
                outcome = run("audit", "hf://org/name")
            assert outcome.code == 3
            assert "offline mode is on" in outcome.err


def test_quiet_says_nothing_but_errors(folder: Path, run: Run) -> None:
    (folder / "steelyard.toml").write_text(TestIgnores().table(SOON))
    assert run("audit", "tiny", "--quiet").err == ""
    assert run("audit", "missing", "--quiet").err.startswith("error: ")


class TestOnly:
    def test_a_topic_alone(self, run: Run) -> None:
        found = report(run, "--only", "code", "--fail-on", "never")
        assert found["only"] == ["code"]
        assert {pack["id"] for pack in found["tool"]["packs"]} == {
            "practice.code",
            "practice.integrity",
        }
        assert "model.identity" not in {fact["name"] for fact in found["facts"]}

    def test_several_topics_in_one_option_or_in_several(self, run: Run) -> None:
        together = report(run, "--only", "card,code")
        assert together == report(run, "--only", "code", "--only", "card")
        assert failing(together) == {"DOC005"}

    def test_a_setting_and_a_variable(
        self, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "steelyard.toml").write_text('only = ["card"]')
        assert report(run)["only"] == ["card"]
        monkeypatch.setenv("STEELYARD_ONLY", "code,license")
        assert report(run)["only"] == ["code", "license"]

    def test_the_model_itself_does_not_choose(self, folder: Path, run: Run) -> None:
        (folder / "tiny" / "steelyard.toml").write_text('only = ["openness"]')
        assert "only" not in report(run)

    def test_an_unknown_topic_is_wrong_usage(self, run: Run) -> None:
        refused = run("audit", "tiny", "--only", "licence")
        assert refused.code == 2
        assert "did you mean 'license'?" in refused.err

    def test_a_base_needs_lineage(self, run: Run) -> None:
        refused = run("audit", "tiny", "--only", "code", "--base", "tiny")
        assert refused.code == 2
        assert "add lineage to --only" in refused.err
        assert run("audit", "tiny", "--only", "lineage", "--base", "tiny").code in (0, 1)

    def test_a_pack_of_ones_own_belongs_to_its_topic(self, folder: Path, run: Run) -> None:
        (folder / "own.yaml").write_text(PACK)
        packs = report(run, "--pack", "own.yaml", "--only", "license")["tool"]["packs"]
        assert {"id": "sample", "rules": 1}.items() <= packs[-1].items()

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ("co", ["code", "compute"]),
            ("code,ca", ["code,card"]),
            ("code,co", ["code,compute"]),
            ("x", []),
        ],
    )
    def test_a_shell_completes_topics(self, typed: str, expected: list[str]) -> None:
        context = click.Context(command)
        (option,) = [one for one in command.params if one.name == "topics"]
        assert [item.value for item in option.shell_complete(context, typed)] == expected


class TestFormatsForPrograms:
    def test_all_in_one_run(self, folder: Path, run: Run) -> None:
        outcome = run("audit", "tiny", "-f", "github=-", "-o", "r.sarif", "-o", "r.xml")
        assert outcome.code == 0
        assert outcome.out.startswith("::warning file=tiny/README.md,title=DOC005")
        log = json.loads((folder / "r.sarif").read_text())
        assert [result["ruleId"] for result in log["runs"][0]["results"]] == ["DOC005", "INT003"]
        assert "<testsuites" in (folder / "r.xml").read_text()

    def test_a_case_of_junit_fails_where_the_audit_does(self, run: Run) -> None:
        for threshold in ("error", "warning", "never"):
            outcome = run("audit", "tiny", "-f", "junit", "--fail-on", threshold)
            assert ("<failure" in outcome.out) == (outcome.code == 1)
        strict = run("audit", "tiny", "-f", "junit", "--fail-on", "note", "--strict")
        assert strict.code == 1

    def test_the_same_model_elsewhere_gives_the_same_bytes(
        self, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(folder / "tiny", folder / "elsewhere" / "tiny")
        formats = ("sarif", "junit", "github")
        here = [run("audit", "tiny", "-f", name).out for name in formats]
        monkeypatch.chdir(folder / "elsewhere")
        assert [run("audit", "tiny", "-f", name).out for name in formats] == here

    def test_ignored_findings_are_in_sarif_on_request(self, run: Run) -> None:
        ignore = ("--ignore", f"DOC005={SOON}:being set up")

        def rules(*options: str) -> list[str]:
            log = json.loads(run("audit", "tiny", "-f", "sarif", *ignore, *options).out)
            return [result["ruleId"] for result in log["runs"][0]["results"]]

        assert rules() == ["INT003"]
        assert rules("--sarif-include-suppressed") == ["INT003", "DOC005"]

    @pytest.mark.parametrize(
        ("source", "options", "code"),
        [
            ("missing", [], 3),
            ("tiny", ["--only", "cod"], 2),
            ("tiny", ["--fact", "no.such=1"], 2),
            ("tiny", ["-f", "json=no/such/folder.json"], 2),
        ],
    )
    def test_nothing_is_written_after_an_error(
        self, folder: Path, run: Run, source: str, options: list[str], code: int
    ) -> None:
        (folder / "old.sarif").write_text("old")
        outputs = ["-f", "sarif=old.sarif", "-f", "sarif=new.sarif", "-f", "junit=new.xml"]
        outcome = run("audit", source, *outputs, *options)
        assert (outcome.code, outcome.out) == (code, "")
        assert (folder / "old.sarif").read_text() == "old"
        assert sorted(path.name for path in folder.iterdir()) == ["old.sarif", "tiny"]
