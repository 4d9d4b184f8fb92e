"""A comparison of laws as one HTML page that needs nothing else."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from steelyard.obligations.crosswalk import Crosswalk
from steelyard.reports.comparisons.words import rows


def render(said: Crosswalk) -> str:
    """Return the page: a table with a row for each topic and a column for each place."""
    environment = Environment(
        loader=PackageLoader("steelyard.reports.comparisons", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("crosswalk.html")
    told = rows(said)
    places = {cell.place: cell.name for row in told for cell in row.cells}
    ordered = [(code, places[code]) for code in said.jurisdictions if code in places]
    return page.render(as_of=said.as_of.isoformat(), places=ordered, rows=told) + "\n"
