"""What is written where: pairing of formats and files, whole files only, color and width."""

from __future__ import annotations

import fcntl
import os
import pty
import stat
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from steelyard.cli import outputs
from steelyard.cli.outputs import FORMATS, Target, targets, write
from steelyard.errors import ConfigError
from steelyard.reports import json as json_report
from steelyard.reports import markdown, terminal
from tests.reports.samples import sample


@pytest.mark.parametrize(
    ("formats", "files", "expected"),
    [
        ([], [], [("text", "-")]),
        (["json"], [], [("json", "-")]),
        (["json"], ["r.json"], [("json", "r.json")]),
        (["json"], ["r.txt"], [("json", "r.txt")]),
        (["json=r.json"], [], [("json", "r.json")]),
        (["text", "json=r.json"], [], [("text", "-"), ("json", "r.json")]),
        (["json", "markdown"], ["a", "b"], [("json", "a"), ("markdown", "b")]),
        (["json=a", "markdown"], ["b"], [("json", "a"), ("markdown", "b")]),
        (["json", "text"], ["a"], [("json", "a"), ("text", "-")]),
        (["json", "text"], ["-", "b"], [("json", "-"), ("text", "b")]),
        (["text=-"], ["r.json"], [("text", "-"), ("json", "r.json")]),
        ([], ["r.sarif", "r.XML"], [("sarif", "r.sarif"), ("junit", "r.XML")]),
        (["github", "sarif=s"], [], [("github", "-"), ("sarif", "s")]),
        ([], ["r.json", "r.md", "r.TXT", "r.markdown"],
         [("json", "r.json"), ("markdown", "r.md"), ("text", "r.TXT"), ("markdown", "r.markdown")]),
        (["markdown=a=b.md"], [], [("markdown", "a=b.md")]),
    ],
)  # fmt: skip
def test_formats_and_outputs_pair(
    formats: list[str], files: list[str], expected: list[tuple[str, str]]
) -> None:
    assert targets(formats, files) == tuple(Target(*pair) for pair in expected)


@pytest.mark.parametrize(
    ("formats", "files", "complaint"),
    [
        (["yaml"], [], "no format 'yaml'"),
        ([""], [], "no format"),
        ([], ["report"], "does not tell a format"),
        ([], ["-"], "does not tell a format"),
        (["json", "text"], [], "only one format"),
        (["json=-", "text"], [], "only one format"),
        (["json=a", "text=a"], [], "same file"),
    ],
)
def test_what_cannot_be_paired_is_refused(
    formats: list[str], files: list[str], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        targets(formats, files)
    assert refused.value.fix


def test_every_format_is_written(folder: Path) -> None:
    write(sample(), [Target(name, f"report.{name}") for name in FORMATS])
    assert Path("report.json").read_text() == json_report.render(sample())
    assert Path("report.markdown").read_text() == markdown.render(sample())
    assert Path("report.text").read_text() == terminal.render(sample(), width=80)


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(folder: Path) -> None:
    old = folder / "r.json"
    old.write_text("old")
    old.chmod(0o600)
    with old.open() as reader:
        write(sample(), [Target("json", "r.json")])
        assert reader.read() == "old"
    assert old.read_text() == json_report.render(sample())
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


def test_a_new_file_has_the_usual_mode(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        write(sample(), [Target("json", "r.json")])
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "r.json").stat().st_mode) == 0o640


def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "r.json").symlink_to("real/r.json")
    write(sample(), [Target("json", "r.json")])
    assert (folder / "r.json").is_symlink()
    assert (folder / "real" / "r.json").read_text() == json_report.render(sample())


def test_a_device_is_written_to_and_not_replaced(folder: Path) -> None:
    write(sample(), [Target("json", os.devnull)])
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize("bad", ["missing/r.md", ".", "/dev/full", "r.json/r.md"])
def test_nothing_is_left_behind_when_one_file_cannot_be_written(folder: Path, bad: str) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        write(sample(), [Target("json", "r.json"), Target("markdown", bad)])
    assert list(folder.iterdir()) == []


def test_the_old_file_stays_when_writing_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "r.json").write_text("old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ConfigError, match="No space left"):
        write(sample(), [Target("json", "r.json")])
    assert [path.name for path in folder.iterdir()] == ["r.json"]
    assert (folder / "r.json").read_text() == "old"


def test_nothing_is_left_behind_when_rendering_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(outputs.FORMATS, "markdown", "steelyard.reports.report")
    with pytest.raises(AttributeError):
        write(sample(), [Target("json", "r.json"), Target("markdown", "r.md")])
    assert list(folder.iterdir()) == []


def test_json_is_the_same_bytes_in_a_file_and_on_stdout(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    write(sample(), [Target("json", "r.json")])
    write(sample(), [Target("json", "-")])
    assert capfdbinary.readouterr().out == (folder / "r.json").read_bytes()


def test_a_pipe_gets_80_columns_and_no_color(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write(sample(), [Target("text", "-")])
    assert capsys.readouterr().out == terminal.render(sample(), width=80, color=False)


def test_a_file_never_gets_color(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    write(sample(), [Target("text", "r.txt")])
    assert "\x1b" not in (folder / "r.txt").read_text()


@pytest.mark.parametrize(
    ("environ", "on_terminal", "in_pipe"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "FORCE_COLOR": ""}, True, False),
    ],
)
def test_color(
    environ: dict[str, str],
    on_terminal: bool,
    in_pipe: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    write(sample(), [Target("text", "-")])
    assert ("\x1b[" in capsys.readouterr().out) is in_pipe
    shown = on_a_terminal(lambda: write(sample(), [Target("text", "-")]), monkeypatch, columns=100)
    assert ("\x1b[" in shown) is on_terminal


def test_a_terminal_gives_the_width_up_to_120(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    for columns, width in ((100, 100), (300, 120)):
        shown = on_a_terminal(
            lambda: write(sample(), [Target("text", "-")]), monkeypatch, columns=columns
        )
        assert shown.replace("\r\n", "\n") == terminal.render(sample(), width=width)


def on_a_terminal(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, columns: int) -> str:
    """Run `act` with a terminal of so many columns as standard output; return what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, columns, 0, 0))
    with monkeypatch.context() as patch, os.fdopen(theirs, "w", encoding="utf-8") as screen:
        patch.setattr(sys, "stdout", screen)
        act()
        screen.flush()
    chunks = []
    try:
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    except OSError:
        pass  # Linux says EIO when the other side is closed
    os.close(ours)
    return b"".join(chunks).decode()
