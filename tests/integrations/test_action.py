"""The GitHub Action: no input can become a command, and the exit code of the audit is kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.running import PROGRAM
from tests.containers import CARD, model_folder

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
"""How GitHub calls `shell: bash`."""


def step(name: str) -> dict[str, Any]:
    (found,) = [one for one in STEPS if one["name"] == name]
    return found


@dataclass(frozen=True)
class Ran:
    """What the audit step left."""

    code: int
    out: str
    summary: str
    outputs: dict[str, str]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Check out a repository with a model whose card names nobody to report flaws to."""
    folder = tmp_path / "workspace"
    model_folder(folder / "models" / "mine", card=CARD[: CARD.index("## Contact")])
    return folder


def audit(workspace: Path, **inputs: str) -> Ran:
    """Run the script of the audit step as the runner does, in a sandbox."""
    temporary = workspace.parent / "temp"
    temporary.mkdir(exist_ok=True)
    script = workspace.parent / "script.sh"
    script.write_text(step("Audit")["run"])
    summary, outputs = workspace.parent / "summary", workspace.parent / "outputs"
    for file in (summary, outputs):
        file.write_text("")
    given = {name: str(known.get("default", "")) for name, known in ACTION["inputs"].items()}
    given |= {"source": "models/mine", **{n.replace("_", "-"): v for n, v in inputs.items()}}
    environ = {
        "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(workspace.parent),
        "RUNNER_TEMP": str(temporary),
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_OUTPUT": str(outputs),
    }
    for variable, value in step("Audit")["env"].items():
        (name,) = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value).groups()  # type: ignore[union-attr]  # a failing match fails the test
        environ[variable] = given[name]
    done = subprocess.run(
        [*BASH, str(script)], cwd=workspace, env=environ, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    lines = (line.partition("=") for line in outputs.read_text().splitlines())
    return Ran(
        done.returncode, done.stdout + done.stderr, summary.read_text(),
        {name: value for name, _, value in lines},
    )  # fmt: skip


def kept(code: str) -> int:
    """Run the last step, which ends with the code of the audit."""
    script = step("Keep the exit code")["run"]
    environ = {"PATH": os.environ["PATH"], "AUDIT_CODE": code}
    return subprocess.run([*BASH, "-c", script], env=environ, check=False).returncode


def test_no_script_has_an_expression_in_it() -> None:
    for one in STEPS:
        assert "${{" not in one.get("run", ""), one["name"]
        if "run" in one:
            assert one["shell"] == "bash"


def test_every_input_reaches_some_step() -> None:
    text = json.dumps(STEPS)
    for name in ACTION["inputs"]:
        assert f"inputs.{name}" in text


def test_what_others_wrote_is_pinned_by_commit() -> None:
    lines = [
        line
        for line in (ROOT / "action.yml").read_text().splitlines()
        if line.strip().startswith("uses:")
    ]
    assert lines
    for line in lines:
        assert re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_a_report_becomes_annotations_a_summary_and_files(workspace: Path) -> None:
    ran = audit(workspace)
    assert ran.code == 0
    assert ran.outputs["exit-code"] == "0"
    assert "::warning file=models/mine/README.md,title=DOC005" in ran.out
    assert ran.summary.startswith("# Tiny, in mine")
    assert "DOC005" in ran.summary
    log = json.loads(Path(ran.outputs["sarif"]).read_text())
    assert log["version"] == "2.1.0"
    assert json.loads(Path(ran.outputs["json"]).read_text())["summary"]["warnings"] == 1


def test_the_exit_code_is_kept_for_the_end(workspace: Path) -> None:
    ran = audit(workspace, fail_on="warning")
    assert ran.code == 0
    assert ran.outputs["exit-code"] == "1"
    assert Path(ran.outputs["sarif"]).is_file()
    assert [kept(code) for code in ("0", "1", "3")] == [0, 1, 3]
    names = [one["name"] for one in STEPS]
    assert names.index("Keep the exit code") == len(names) - 1


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"source": "missing"}, "3"),
        ({"fail_on": "sometimes"}, "2"),
        ({"only": "cod"}, "2"),
        ({"args": "--no-such-option"}, "2"),
    ],
)
def test_after_an_error_there_is_nothing_to_upload(
    workspace: Path, inputs: dict[str, str], code: str
) -> None:
    ran = audit(workspace, **inputs)
    assert ran.outputs == {"exit-code": code}
    assert ran.summary == ""
    assert list((workspace.parent / "temp").rglob("*.*")) == list(
        (workspace.parent / "temp").glob("steelyard-reports.*")
    )
    assert "steps.audit.outputs.sarif != ''" in step("Upload SARIF")["if"]


def test_options_are_passed_on(workspace: Path) -> None:
    ran = audit(workspace, only="code", market="eu", args='--strict --fact "card.contact=yes"')
    report = json.loads(Path(ran.outputs["json"]).read_text())
    assert report["only"] == ["code"]
    facts = {fact["name"]: fact["value"] for fact in report["facts"]}
    assert facts["card.contact"] is True
    assert facts["actor.markets"] == ["eu"]


HOSTILE = (
    "$(touch hacked)", "`touch hacked`", "; touch hacked #", '" && touch hacked && "',
    "' ; touch hacked ; '", "x\ntouch hacked", "*",
)  # fmt: skip


@pytest.mark.parametrize("hostile", [*HOSTILE, "--output=hacked"])
def test_no_input_becomes_a_command_or_an_option(workspace: Path, hostile: str) -> None:
    audit(workspace, source=hostile, market=hostile, only=hostile)
    audit(workspace, fail_on=hostile)
    assert not (workspace / "hacked").exists()


def test_further_options_become_no_command(workspace: Path) -> None:
    for hostile in HOSTILE:
        audit(workspace, args=hostile)
    assert not (workspace / "hacked").exists()
