"""Exit codes, streams and error messages of the program as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import steelyard.auditing
from steelyard.cli.main import describe
from steelyard.errors import AccessDenied, CheckpointError, ConfigError, PackError, SteelyardError
from tests.cli.running import PROGRAM, Run, process
from tests.containers import model_folder


@pytest.fixture
def model(folder: Path) -> Path:
    return model_folder(folder / "tiny")


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make every audit fail."""

    def audit(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(steelyard.auditing, "audit", audit)


class TestExitCodes:
    def test_0_nothing_at_or_above_the_threshold(self, model: Path, run: Run) -> None:
        outcome = run("audit", "tiny")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith("tiny\n")

    def test_1_findings(self, model: Path, run: Run) -> None:
        (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
        outcome = run("audit", "tiny")
        assert (outcome.code, outcome.err) == (1, "")
        assert "CONTRADICTION" in outcome.out

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["weigh"],
            ["audit"],
            ["audit", "tiny", "--no-such-option"],
            ["audit", "tiny", "--fail-on", "all"],
            ["audit", "tiny", "--as-of", "yesterday"],
            ["audit", "tiny", "-f", "yaml"],
            ["audit", "tiny", "--fact", "model.narrow"],
            ["audit", "tiny", "--pack", "missing.yaml"],
            ["explain", "XYZ999"],
            ["facts", "zzz"],
            ["completion", "tcsh"],
        ],
    )
    def test_2_wrong_usage(self, model: Path, arguments: list[str], run: Run) -> None:
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err

    def test_2_wrong_settings(self, folder: Path, model: Path, run: Run) -> None:
        (folder / "steelyard.toml").write_text("fail-onn = 1\n")
        outcome = run("audit", "tiny")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == (
            f"error: {folder}/steelyard.toml: there is no setting named 'fail-onn'\n"
            "  fix: did you mean 'fail-on'?\n"
        )

    @pytest.mark.parametrize(
        "source", ["missing", "", "empty", "ftp://example.org/x", "hf://org/name", "org/name"]
    )
    def test_3_what_cannot_be_read(self, folder: Path, source: str, run: Run) -> None:
        (folder / "empty").mkdir()
        outcome = run("audit", "--offline", source)
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.startswith("error: ")
        assert "\n  fix: " in outcome.err

    def test_3_damaged_beyond_reading(self, folder: Path, run: Run) -> None:
        model_folder(folder / "tiny", weights={"model.safetensors": b"\xff" * 100})
        outcome = run("audit", "tiny")
        assert (outcome.code, outcome.out) == (3, "")
        assert "model.safetensors" in outcome.err

    def test_70_a_bug(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        raising(monkeypatch, RuntimeError("odd\x1b[31m"))
        outcome = run("audit", "tiny")
        assert (outcome.code, outcome.out) == (70, "")
        assert "RuntimeError: odd?[31m" in outcome.err
        assert "report it" in outcome.err

    def test_130_interrupted(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        raising(monkeypatch, KeyboardInterrupt())
        outcome = run("audit", "tiny")
        assert (outcome.code, outcome.out, outcome.err) == (130, "", "interrupted\n")

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (AccessDenied("no"), 3),
            (CheckpointError("no"), 3),
            (PackError("no"), 2),
            (ConfigError("no"), 2),
        ],
    )
    def test_kinds_of_errors(
        self, error: SteelyardError, code: int, monkeypatch: pytest.MonkeyPatch, run: Run
    ) -> None:
        raising(monkeypatch, error)
        assert run("audit", "tiny").code == code
        assert run("--debug", "audit", "tiny").code == code


class TestMessages:
    def test_say_what_why_and_fix(self) -> None:
        error = SteelyardError("it broke", why="age", fix="mend it", file="a.bin", offset=7)
        assert describe(error) == "error: a.bin at byte 7: it broke\n  why: age\n  fix: mend it"

    def test_cannot_control_the_terminal(self) -> None:
        error = SteelyardError("a\x1b[31m\r\nb", why="\x9b", fix="\u202e", file="\x07")
        assert describe(error) == "error: ?: a?[31m??b\n  why: ?\n  fix: ?"

    @pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "\x9bK", "\u202egnp", "\udcff"])
    def test_a_hostile_file_name_is_printed_harmlessly(
        self, folder: Path, name: str, run: Run
    ) -> None:
        model_folder(folder / "tiny", weights={f"{name}.safetensors": b"\xff" * 100})
        outcome = run("audit", f"tiny/{name}.safetensors")
        assert outcome.code == 3
        assert outcome.err.replace("\n", "").isprintable()
        # In a folder such a name is listed as skipped, which is a warning.
        outcome = run("audit", "tiny", "--fail-on", "warning")
        assert outcome.code == 1
        assert outcome.out.replace("\n", "").isprintable()

    @pytest.mark.parametrize("form", ["text", "json", "markdown"])
    @pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "\udcff"])
    def test_a_hostile_file_name_in_a_report(
        self, folder: Path, name: str, form: str, run: Run
    ) -> None:
        model_folder(folder / "tiny", extra={f"{name}.bin": b"\xff" * 2000})
        outcome = run("audit", "tiny", "-f", form, "-o", "report")
        assert (outcome.code, outcome.err) == (0, "")
        written = (folder / "report").read_text(encoding="utf-8")
        assert written.replace("\n", "").isprintable()

    def test_a_hostile_option_is_printed_harmlessly(self, run: Run) -> None:
        outcome = run("audit", "--\x1b[31m")
        assert outcome.code == 2
        assert outcome.err.replace("\n", "").isprintable()

    def test_no_traceback_unless_asked_for(self, run: Run) -> None:
        quiet, loud = run("audit", "missing"), run("--debug", "audit", "missing")
        assert "Traceback" not in quiet.err
        assert "Traceback" in loud.err
        assert loud.err.endswith(quiet.err)
        assert (quiet.code, loud.code) == (3, 3)

    def test_a_bug_shows_its_traceback_when_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, run: Run
    ) -> None:
        raising(monkeypatch, RuntimeError("odd"))
        quiet, loud = run("audit", "tiny"), run("--debug", "audit", "tiny")
        assert "Traceback" not in quiet.err
        assert "Traceback" in loud.err
        assert (quiet.code, loud.code) == (70, 70)


class TestProcess:
    """As a process of its own: what a shell sees."""

    def test_version(self) -> None:
        done = process("--version")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"steelyard, version ")

    def test_exit_codes(self, folder: Path, model: Path) -> None:
        assert process("audit", "tiny").returncode == 0
        (model / "LICENSE").unlink()
        (model / "README.md").unlink()
        assert process("audit", "tiny").returncode == 1
        assert process("audit").returncode == 2
        assert process("audit", "missing").returncode == 3

    @pytest.mark.parametrize(
        ("arguments", "code"), [(["facts"], 0), (["audit", "tiny", "-f", "json"], 1)]
    )
    def test_a_reader_that_goes_away_is_no_error(
        self, folder: Path, model: Path, arguments: list[str], code: int
    ) -> None:
        (model / "README.md").unlink()
        ours, theirs = os.pipe()
        os.close(ours)
        command = [str(PROGRAM), *arguments]
        with os.fdopen(theirs, "wb") as pipe:
            done = subprocess.run(
                command, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False
            )
        assert (done.returncode, done.stderr) == (code, b"")

    def test_head(self) -> None:
        script = f"set -o pipefail; {PROGRAM} facts | head -1"
        done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.count(b"\n") == 1

    def test_a_full_disk_is_said(self, model: Path) -> None:
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [str(PROGRAM), "audit", "tiny"],
                stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 2
        assert b"cannot write standard output" in done.stderr
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
    def test_stdout_is_utf8_whatever_the_locale(self, model: Path, encoding: str) -> None:
        environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
        odd, plain = process("audit", "tiny", environ=environ), process("audit", "tiny")
        assert (odd.stdout, odd.stderr) == (plain.stdout, b"")
        assert not plain.stdout.isascii()

    def test_stdout_and_file_are_the_same_bytes(self, folder: Path, model: Path) -> None:
        shown = process("audit", "tiny", "-f", "json", "--as-of", "2026-11-23").stdout
        process("audit", "tiny", "-f", "json", "-o", "r.json", "--as-of", "2026-11-23")
        assert (folder / "r.json").read_bytes() == shown

    def test_a_pipe_has_no_color_and_80_columns(self, model: Path) -> None:
        shown = process("audit", "tiny", environ={**os.environ, "COLUMNS": "300"}).stdout.decode()
        assert "\x1b" not in shown
        assert max(map(len, shown.splitlines())) <= 80

    def test_an_interrupt(self, folder: Path) -> None:
        os.mkfifo(folder / "wait")
        slow = subprocess.Popen(
            [str(PROGRAM), "audit", "missing", "--pack", "wait"],
            stderr=subprocess.PIPE,
            # A shell starts what runs in its background with interrupts ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        # Opening the pipe succeeds when the program has opened its end, and so is under way.
        with (folder / "wait").open("wb"):
            slow.send_signal(signal.SIGINT)
            _, said = slow.communicate(timeout=60)
        assert slow.returncode == 130
        assert said.strip() == b"interrupted"
