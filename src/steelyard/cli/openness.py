"""`steelyard openness`: what is open, component by component."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from steelyard.cli.options import DAY_OPTION, OUTPUT_OPTION, PACK_OPTION, format_option
from steelyard.cli.rules import day_of
from steelyard.cli.subjects import findings_of, subject_options

if TYPE_CHECKING:
    from steelyard.reports.openness.words import OpennessReport

FORMATS: Final = {
    "text": "steelyard.reports.openness.terminal",
    "markdown": "steelyard.reports.openness.markdown",
    "json": "steelyard.reports.openness.json",
    "mof": "steelyard.reports.openness.mof",
}
_BY_SUFFIX: Final = {
    ".txt": "text",
    ".md": "markdown",
    ".json": "json",
    ".yml": "mof",
    ".yaml": "mof",
}
_RULES: Final = ("eu.aiact.oss.", "eu.aiact.oss_exemption", "eu.aiact.51.2")


@click.command(name="openness")
@click.argument("subject", metavar="SOURCE|FACTS.yaml")
@subject_options
@click.option(
    "--mof",
    "listing",
    is_flag=True,
    help="SOURCE is a YAML file of the Model Openness Tool that lists components.",
)
@format_option("text, markdown, json or mof (the Model Openness Tool's YAML); repeat for several.")
@OUTPUT_OPTION
@DAY_OPTION
@PACK_OPTION
def command(subject: str, **given: Any) -> None:
    """Tell what is open, component by component, in the words of each framework.

    The class of the Model Openness Framework and what the next one lacks, the elements of the
    Open Source AI Definition, the tier of the G7, the European Open Source AI Index, and the parts
    of the European exemption: five answers to five questions.

    \b
    steelyard openness ./model
    steelyard openness release.yml --mof
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.outputs import targets, write

    to = targets(given["formats"], given["outputs"], FORMATS, _BY_SUFFIX)
    said = _of_listing(Path(subject)) if given["listing"] else _of_subject(subject, given)
    write(said, to, FORMATS)


def _of_subject(subject: str, given: dict[str, Any]) -> OpennessReport:
    from steelyard.analyzers.openness import assess
    from steelyard.analyzers.openness.verdicts import release_of
    from steelyard.reports.openness.words import OpennessReport

    said = findings_of(subject, given, day_of(given))
    findings = tuple(f for f in said.findings if f.rule.startswith(_RULES))
    name = said.book.value("model.name")
    title = name if isinstance(name, str) else subject
    return OpennessReport(title, assess(said.book), release_of(said.book), said.book, findings)


def _of_listing(path: Path) -> OpennessReport:
    from steelyard.analyzers.openness import Openness, of_release
    from steelyard.analyzers.openness.index import judged
    from steelyard.analyzers.openness.mof_files import read_release
    from steelyard.assessing.files import read_text
    from steelyard.facts import FactBook
    from steelyard.reports.openness.words import OpennessReport

    release = read_release(read_text(path), str(path))
    tool, paper = of_release(release)
    differs = paper if paper.reached != tool.reached else None
    unknown = {"data": None, "code": None, "parameters": None}
    said = Openness(tool, differs, unknown, None, judged({}))
    return OpennessReport(release.name, said, release, FactBook(), ())
