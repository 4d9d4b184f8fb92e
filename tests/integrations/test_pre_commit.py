"""The hooks for pre-commit: what each runs is there, and stops what it should."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkpoints.torch_files import OS_SYSTEM, Raw, torch_zip, weight
from tests.cli.running import PROGRAM
from tests.containers import model_folder

ROOT = Path(__file__).parents[2]
HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
}


def run(hook: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a hook as pre-commit does: its entry and its arguments, in the repository's root."""
    arguments: list[str] = HOOKS[hook]["args"]
    program, *words = [*shlex.split(HOOKS[hook]["entry"]), *arguments]
    assert program == "steelyard"
    return subprocess.run(
        [str(PROGRAM), *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_there_are_a_quick_hook_one_for_cards_and_a_whole_one() -> None:
    assert list(HOOKS) == ["steelyard-code", "steelyard-card", "steelyard-audit"]
    assert "--only code" in HOOKS["steelyard-code"]["entry"]
    for hook in HOOKS.values():
        assert hook["language"] == "python"
        assert hook["pass_filenames"] is False
        assert "--offline" in hook["entry"]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_good_model_passes(hook: str, tmp_path: Path) -> None:
    done = run(hook, model_folder(tmp_path / "tiny"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pickle_that_runs_a_command_is_stopped_whatever_it_is_called(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    (folder / "notes.txt").write_bytes(torch_zip({"a": weight("0", 2), "b": Raw(OS_SYSTEM)}))
    (folder / "extra.bin").write_bytes(torch_zip({"a": weight("0", 2), "b": Raw(OS_SYSTEM)}))
    done = run("steelyard-code", folder)
    assert done.returncode == 1
    assert "INT001" in done.stdout
    assert "extra.bin" in done.stdout
    assert run("steelyard-card", folder).returncode == 0
    assert run("steelyard-audit", folder).returncode == 1


def test_a_missing_card_is_stopped(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny", card=None)
    assert run("steelyard-card", folder).returncode == 1
    assert run("steelyard-code", folder).returncode == 0
