"""`steelyard audit`: the options about lineage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from steelyard.lineage.known.entries import Entry
from tests.analyzers.test_lineage import changed, made, registry
from tests.cli.running import Run
from tests.models import folder as lay

NAME = "org/Base-1B"


@pytest.fixture(autouse=True)
def models(folder: Path) -> Path:
    """Lay down a base, a derivative of it, and a registry that knows the base."""
    lay(folder / "Base-1B", tensors=made(1), config=None)
    lay(folder / "derived", tensors=changed(made(1), 0.02), config=None)
    registry(folder / "known", {Entry(NAME): made(1)}).save(folder / "known.lineage")
    return folder


def lineage(run: Run, *arguments: str) -> dict[str, Any]:
    """Audit the derivative; return what is said of lineage, by name."""
    said = run("audit", "derived", "-q", "--no-digest", "-f", "json", *arguments)
    facts = json.loads(said.out)["facts"]
    return {fact["name"]: fact["value"] for fact in facts if fact["name"].startswith("lineage.")}


def test_a_registry_of_ones_own(run: Run) -> None:
    assert "lineage.base" not in lineage(run)
    assert lineage(run, "--registry", "known.lineage")["lineage.base"] == NAME


def test_a_registry_from_the_settings(folder: Path, run: Run) -> None:
    (folder / "steelyard.toml").write_text('registries = ["known.lineage"]\n')
    assert lineage(run)["lineage.base"] == NAME


def test_no_lineage(folder: Path, run: Run) -> None:
    known = ("--registry", "known.lineage")
    assert lineage(run, *known, "--no-lineage") == {}
    (folder / "steelyard.toml").write_text("lineage = false\n")
    assert lineage(run, *known) == {}
    assert lineage(run, *known, "--lineage")["lineage.base"] == NAME


def test_a_given_base(run: Run) -> None:
    said = lineage(run, "--base", "Base-1B")
    assert said["lineage.edits"] == ["finetune"]
    assert "lineage.change" not in said


def test_the_budget(run: Run) -> None:
    assert "lineage.removed_direction" in lineage(run, "--lineage-budget", "64MB")
    assert "lineage.removed_direction" not in lineage(run, "--lineage-budget", "0")


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--lineage-budget", "much", 2),
        ("--lineage-budget", "-1", 2),
        ("--base", "nowhere", 3),
        ("--registry", "nowhere.lineage", 3),
        ("--registry", "derived/model.safetensors", 3),
    ],
)
def test_what_cannot_be_done_is_said(option: str, value: str, code: int, run: Run) -> None:
    said = run("audit", "derived", "-q", "--no-digest", option, value)
    assert said.code == code
    assert said.out == ""
    assert said.err.startswith("error: ")
