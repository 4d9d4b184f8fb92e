"""`steelyard plan`: what to do, once for all markets, in order."""

from __future__ import annotations

from typing import Any, Final

import click

from steelyard.cli.options import DAY_OPTION, OUTPUT_OPTION, PACK_OPTION, format_option
from steelyard.cli.rules import day_of
from steelyard.cli.subjects import findings_of, subject_options

FORMATS: Final = {
    "text": "steelyard.reports.plans.terminal",
    "markdown": "steelyard.reports.plans.markdown",
    "json": "steelyard.reports.plans.json",
    "ics": "steelyard.reports.plans.calendar",
}
_BY_SUFFIX: Final = {".txt": "text", ".md": "markdown", ".json": "json", ".ics": "ics"}


@click.command(name="plan")
@click.argument("subject", metavar="SOURCE|FACTS.yaml")
@subject_options
@format_option("text, markdown, json or ics (a calendar); repeat for several.")
@OUTPUT_OPTION
@DAY_OPTION
@PACK_OPTION
def command(subject: str, **given: Any) -> None:
    """Merge the duties of all markets into the fewest actions, in the order of their days.

    One document or evaluation that satisfies several duties is one action. The subject is a
    model, or a YAML file of facts for one that is only planned.

    \b
    steelyard plan ./model --market eu,us-ca --role provider
    steelyard plan facts.yaml --market all -o plan.ics
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.outputs import targets, write
    from steelyard.obligations.plan import make_plan

    to = targets(given["formats"], given["outputs"], FORMATS, _BY_SUFFIX)
    day = day_of(given)
    said = findings_of(subject, given, day)
    write(make_plan(said.findings, as_of=day), to, FORMATS)
