"""`steelyard openness`: a table, five answers, and files that go in and out."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from steelyard.cli.main import cli

FACTS = """\
model.name: tiny
weights.public: yes
license.effective: apache-2.0
openness.components: Model architecture, Model parameters (Final), Model card
architecture.public: yes
usage_info.public: yes
release.monetized: no
training.compute: 1e20
model.modalities.output: text
model.parameters.total: 1000000
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["openness", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_text_says_what_is_missing_and_keeps_law_apart(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(FACTS, encoding="utf-8")
    text = run(str(path))
    assert "Missing for class III: Technical report, Evaluation results, Data card" in text
    assert "open-weights" in text
    assert "eu.aiact.oss_exemption" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_is_written_for_the_tool_reads_back(tmp_path: Path) -> None:
    path, listing = tmp_path / "tiny.yaml", tmp_path / "release.yml"
    path.write_text(FACTS, encoding="utf-8")
    run(str(path), "-f", f"mof={listing}")
    said = json.loads(run(str(listing), "--mof", "-f", "json"))
    assert said["mof"]["class"] == "none"
    assert {c["name"] for c in said["mof"]["components"] if c["state"] == "included"} == {
        "Model architecture",
        "Model parameters (Final)",
        "Model card",
    }
    assert "Model card" in run(str(listing), "--mof", "-f", "markdown")
