"""Text as whoever made a model may write it, and reports that are full of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from steelyard.facts import Basis, Evidence, Fact
from steelyard.reports.report import FileInfo, Report, SourceInfo
from steelyard.rules import Location
from tests.reports.samples import FACTS, sample

PIECES = (
    "]]>", "<!--", "</testcase>", "&lt;", "&#0;", '"', "'", "\x00", "\x1b[2J", "\r\n", "\n", "\t",
    "::error::", "\n::stop-commands::x", "##[error]", "%0A", "%", ",line=9", ":", "](https://x)",
    "[a](1)", "{0}", "}}", "\u2028", "\u202e", "\ufffe", "\ud800", "\U0001f4a3", "a b", "../", "/",
    "#", "?", "//",
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=6).map("".join)
names = texts.filter(lambda text: text.strip("/") != "").map(lambda text: text.strip("/"))


def spoiled(text: str, name: str) -> Report:
    """Return the sample report with hostile text wherever a model may put some."""
    report = sample(
        facts=(
            *FACTS,
            Fact("model.name", text or "x", Basis.DECLARED, (Evidence(name, quote=text),)),
            Fact("license.effective", text or "x", Basis.DECLARED, (Evidence(name, field=text),)),
        )
    )
    wrong = tuple(
        replace(f, message=text, location=Location(name, offset=3)) if f.failing else f
        for f in report.findings
    )
    return replace(
        report,
        findings=wrong,
        notices=(text,),
        source=SourceInfo(text or "x", "folder", text, 1),
        files=(*report.files, FileInfo(name, 3, "other")),
    )
