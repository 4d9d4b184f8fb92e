"""A comparison of two models as Markdown: for a pull request, or a model's documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from steelyard.reports.markdown import escape
from steelyard.reports.pairs.heat import label_width, legend, lines, origin_legend
from steelyard.reports.pairs.picture import picture
from steelyard.reports.pairs.words import CHANGE, PairReport, PairWords, rounding, words

_WIDTH: Final = 100


def render(said: PairReport) -> str:
    """Return the comparison as GitHub-flavored Markdown; names can add neither markup nor links."""
    told = words(said.comparison)
    blocks = [
        f"# {escape(told.title)}",
        f"**{told.tag}** {escape(told.sentence)}",
        "\n".join(_axes(told)),
        _picture(said),
    ]
    for heading, texts in (
        ("Evidence", told.evidence),
        ("Assumptions", told.assumptions),
        ("Notes", told.notes),
    ):
        if texts:
            blocks.append(f"## {heading}")
            blocks.append("\n".join(f"- {escape(text)}" for text in texts))
    blocks.append(f"*Read: {escape(told.read)}. Steelyard {escape(said.version)}.*")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _axes(told: PairWords) -> Iterable[str]:
    yield f"- **Encoding:** {escape(told.encoding)}"
    if not told.edits:
        yield f"- **Edits:** {escape(told.no_edits)}"
        return
    yield "- **Edits:**"
    for edit in told.edits:
        yield f"  - **{edit.label}:** {escape(edit.text)}"
        yield from (f"    - {escape(caveat)}" for caveat in edit.caveats)


def _picture(said: PairReport) -> str:
    """Draw the heat lines in a code block."""
    seen = picture(said.comparison)
    drawing = lines(seen, width=_WIDTH, only_ascii=said.only_ascii)
    if not drawing:
        return ""
    margin = label_width(seen)
    body = [f"{line.label:{margin}}{line.text}".rstrip() for line in drawing]
    body += ["", legend(only_ascii=said.only_ascii)]
    if explained := origin_legend(seen):
        body.append(explained)
    text = "\n".join(body).replace("`", "'")
    return f"## {CHANGE}{rounding(said.comparison.encoding)}\n\n```text\n{text}\n```"
