"""`steelyard config`, `cache` and `completion`."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from steelyard.cli.settings import MEANINGS
from tests.cli.running import PROGRAM, Run, process
from tests.containers import model_folder

TOML = """\
fail-on = "warning"
format = ["text", "json=r.json"]
cache-dir = "a \\"b\\" ü"

[facts]
training.tokens = 1.5e12
"license.name" = "our 'own'"
release.date = 2026-01-02

[[ignore]]
rule = "DOC005"
reason = "being set up"
expires = 2027-01-31
"""


def test_show_is_toml_that_means_the_same(folder: Path, run: Run) -> None:
    (folder / "steelyard.toml").write_text(TOML)
    shown = run("config", "show")
    assert (shown.code, shown.err) == (0, "")
    (folder / "steelyard.toml").write_text(shown.out)
    assert run("config", "show") == shown
    assert set(tomllib.loads(shown.out)) == {name.replace("_", "-") for name in MEANINGS}


def test_show_describes_every_setting(run: Run) -> None:
    shown = run("config", "show").out
    for meaning in MEANINGS.values():
        assert f"# {meaning}" in shown


def test_show_origin(folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    (folder / "steelyard.toml").write_text(TOML)
    monkeypatch.setenv("STEELYARD_STRICT", "yes")
    lines = run("config", "show", "--origin").out.splitlines()
    where = {
        value.split(" = ")[0]: comment.rpartition("(from ")[2].rstrip(")")
        for comment, value in pairwise(lines)
        if comment.startswith("# ")
    }
    file = str(folder / "steelyard.toml")
    assert where == {
        "fail-on": file, "strict": "STEELYARD_STRICT", "format": file, "only": "default",
        "digest": "default",
        "scan-values": "default", "offline": "default", "allow-empty": "default",
        "packs": "default", "cache-dir": file, "market": "default", "role": "default",
        "facts": file, "ignore": file, "lineage": "default", "registries": "default",
        "lineage-budget": "default",
    }  # fmt: skip


def test_show_as_json(folder: Path, run: Run) -> None:
    (folder / "steelyard.toml").write_text(TOML)
    shown = json.loads(run("config", "show", "-f", "json").out)
    assert shown["fail-on"] == {"value": "warning", "origin": str(folder / "steelyard.toml")}
    assert shown["offline"] == {"value": False, "origin": "default"}
    assert shown["facts"]["value"]["release.date"] == "2026-01-02"
    assert shown["ignore"]["value"][0]["expires"] == "2027-01-31"


def test_settings_are_of_the_user_too(folder: Path, run: Run) -> None:
    user = Path(os.environ["XDG_CONFIG_HOME"]) / "steelyard" / "steelyard.toml"
    user.parent.mkdir(parents=True)
    user.write_text('fail-on = "note"\n')
    shown = json.loads(run("config", "show", "-f", "json").out)
    assert shown["fail-on"] == {"value": "note", "origin": str(user)}


class TestCache:
    @pytest.fixture(autouse=True)
    def model(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("steelyard.checkpoints.digest_cache.SETTLE_NS", 0)
        return model_folder(folder / "tiny")

    def test_is_filled_shown_and_cleared(self, run: Run) -> None:
        path = Path(os.environ["XDG_CACHE_HOME"]) / "steelyard" / "digests.sqlite"
        assert run("cache", "info").out.startswith(f"{path}: 0 digests")
        first = run("audit", "tiny", "-f", "json").out
        assert path.is_file()
        filled = run("cache", "info").out
        assert filled.startswith(f"{path}: ")
        assert "0 digests" not in filled
        assert run("audit", "tiny", "-f", "json").out == first
        assert run("cache", "clear").out == f"cleared {path}\n"
        assert run("cache", "info").out.startswith(f"{path}: 0 digests")
        assert run("audit", "tiny", "-f", "json").out == first

    @pytest.mark.parametrize("arguments", [["--no-cache"], ["--no-digest"]])
    def test_is_left_alone_when_asked(self, arguments: list[str], run: Run) -> None:
        run("audit", "tiny", *arguments)
        assert not Path(os.environ["XDG_CACHE_HOME"]).exists()

    def test_none_at_all(self, folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        monkeypatch.setenv("STEELYARD_CACHE_DIR", "")
        (folder / "digests.sqlite").write_text("mine")
        assert run("audit", "tiny").code == 0
        for name in ("info", "clear"):
            outcome = run("cache", name)
            assert (outcome.code, outcome.out) == (2, "")
            assert "there is no cache" in outcome.err
        assert (folder / "digests.sqlite").read_text() == "mine"

    def test_elsewhere(self, folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        monkeypatch.setenv("STEELYARD_CACHE_DIR", "here")
        run("audit", "tiny")
        assert (folder / "here" / "digests.sqlite").is_file()


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_every_shell_has_a_script(self, shell: str, run: Run) -> None:
        outcome = run("completion", shell)
        assert (outcome.code, outcome.err) == (0, "")
        assert f"_STEELYARD_COMPLETE={shell}_complete" in outcome.out.replace("env ", "")
        assert "%(" not in outcome.out
        assert outcome.out.count("{") == outcome.out.count("}")

    def test_bash_can_parse_it(self, run: Run) -> None:
        script = run("completion", "bash").out
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)

    def test_bash_completes_with_it(self, run: Run) -> None:
        script = run("completion", "bash").out + (
            "COMP_WORDS=(steelyard exp); COMP_CWORD=1\n"
            "_steelyard_completion steelyard\n"
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        path = f"{PROGRAM.parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash"], input=script, text=True, capture_output=True, timeout=60, check=False,
            env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("explain\n", "")

    @pytest.mark.parametrize("shell", ["zsh", "fish"])
    def test_commands_and_options_are_offered(self, shell: str) -> None:
        environ = {**os.environ, "_STEELYARD_COMPLETE": f"{shell}_complete", "COMP_CWORD": "1"}
        for words, current, expected in (
            ("steelyard", "", {"audit", "explain", "facts", "config", "cache", "completion"}),
            ("steelyard audit --fail", "--fail", {"--fail-on"}),
        ):
            position = str(len(words.split()) - bool(current))
            asked = {"COMP_WORDS": words, "COMP_CWORD": current if shell == "fish" else position}
            done = process(environ={**environ, **asked})
            offered = done.stdout.decode()
            assert (done.returncode, done.stderr) == (0, b"")
            assert all(name in offered for name in expected), offered
