"""What comes from a model's files stays text in every output; broken streams are no bugs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from steelyard.errors import PackError
from steelyard.reports.json import render
from steelyard.reports.markdown import escape
from steelyard.rules import load_packs
from tests import models
from tests.cli.running import PROGRAM
from tests.hostile.test_documents import attempt


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    folder = models.folder(tmp_path / "m")
    line = f"{PROGRAM} audit --no-cache --no-digest --fail-on never {folder} {closed}"
    ended = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)  # noqa: S602  the shell closes the streams
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("@you", "@<!-- -->you"),
        ("https://example.org", "https:<!-- -->//example.org"),
        ("www.example.org", "www<!-- -->.example.org"),
        ("a/b#12", "a/b\\#<!-- -->12"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("<b>", "&lt;b&gt;"),
        ("[a](b)", "\\[a\\](b)"),
        ("a|b\nc", "a\\|b c"),
    ],
)
def test_markdown_is_neutral(text: str, written: str) -> None:
    assert escape(text) == written


def test_json_shows_what_nobody_sees(tmp_path: Path) -> None:
    hidden = "\x7f\x9b\u202e\u200b\ufeff\U000e0041"
    card = f'---\nlicense: mit\nmodel_name: "a{hidden}b"\n---\n# a{hidden}b\n'
    report = attempt(models.folder(tmp_path / "m", card=card, files={f"x{chr(0xAD)}.bin": b"x"}))
    assert report is not None
    assert not set(hidden + "\xad") & set(render(report))


def test_a_pack_without_end() -> None:
    endless = Path("/dev/zero")
    if endless.exists():
        with pytest.raises(PackError, match="more than"):
            load_packs([endless])
