"""`steelyard assess`: apply law to facts alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from steelyard.cli.options import DAY_OPTION, OUTPUT_OPTION, PACK_OPTION, format_option
from steelyard.cli.rules import day_of, loaded

if TYPE_CHECKING:
    from steelyard.assessing.files import Row
from steelyard.cli.subjects import is_facts, stated_facts, subject_options

FORMATS: Final = {
    "text": "steelyard.reports.assessments.terminal",
    "json": "steelyard.reports.assessments.json",
    "csv": "steelyard.reports.assessments.csv",
    "parquet": "steelyard.reports.assessments.parquet",
}
_BY_SUFFIX: Final = {".txt": "text", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


@click.command(name="assess")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@subject_options
@format_option("text, json, csv or parquet; repeat for several.")
@OUTPUT_OPTION
@DAY_OPTION
@PACK_OPTION
def command(file: str, **given: Any) -> None:
    """Apply law to facts alone: a model that is only planned, or a table of models.

    FILE is YAML with one set of facts, or CSV with one row a model and one column a fact
    (training.compute, license.effective, ...); an interval is written low..high, an empty cell
    is unknown. Without --market all jurisdictions are asked; without --role, every role.

    \b
    steelyard assess planned.yaml --market eu --role provider
    steelyard assess models.csv -o results.csv
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.assessing import assess_rows, law_packs
    from steelyard.assessing.files import read_rows
    from steelyard.cli.outputs import targets, write
    from steelyard.reports.assessments.rows import AssessedRow, AssessedTable, flat

    to = targets(given["formats"], given["outputs"], FORMATS, _BY_SUFFIX)
    day, stated = day_of(given), stated_facts(given)
    rows = [_single(Path(file))] if is_facts(file) else list(read_rows(Path(file)))
    facts = [{**row.facts, **stated} for row in rows]
    said = assess_rows(facts, as_of=day, packs=law_packs(loaded(given["packs"])))
    whole = len(rows) == 1 or any(target.format == "json" for target in to)
    lines, results = [], []
    for row, one in zip(rows, said, strict=True):
        result = AssessedRow(row.label, row.other, one.book, one.findings)
        lines.append(flat(result))
        results += [result] if whole else []
    write(AssessedTable(day, lines, results), to, FORMATS)


def _single(path: Path) -> Row:
    from steelyard.assessing.files import Row, read_facts

    facts = read_facts(path)
    name = facts.get("model.name")
    return Row(name if isinstance(name, str) else path.stem, facts, {})
