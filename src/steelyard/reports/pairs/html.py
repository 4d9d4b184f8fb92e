"""A comparison of two models as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from steelyard.lineage.relation import Component
from steelyard.reports.pairs.figures import chance, share
from steelyard.reports.pairs.parts import is_nameless, part_name, place
from steelyard.reports.pairs.picture import Picture, picture
from steelyard.reports.pairs.plot import plots, scale
from steelyard.reports.pairs.words import PairReport, rounding, words
from steelyard.reports.text import plain

_MOST_ROWS: Final = 500
_POWER: Final = re.compile(r"(?<![0-9])10\^(-[0-9]+)")


@dataclass(frozen=True, slots=True)
class ComponentLine:
    """One row of the table of parts."""

    name: str
    base: str
    agreeing: str
    chance: str
    change: str
    matched: bool


def render(said: PairReport) -> str:
    """Return the page: verdict, both axes, a plot of change by layer and role, the evidence."""
    environment = Environment(
        loader=PackageLoader("steelyard.reports.pairs", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["powers"] = _powers
    seen = picture(said.comparison)
    components = said.comparison.related.components
    page = environment.get_template("pair.html").render(
        told=words(said.comparison),
        plots=plots(seen),
        scale=scale(),
        singles=_singles(seen),
        components=tuple(_components(components[:_MOST_ROWS])),
        more=max(len(components) - _MOST_ROWS, 0),
        most=_MOST_ROWS,
        rounding=rounding(said.comparison.encoding),
        version=plain(said.version, 40),
    )
    return page + "\n"


def _singles(seen: Picture) -> str:
    """Tell of the weights outside of layers in one line; empty where there are none."""
    changed = [f"{name} {_whole(share(value))}" for name, value in seen.singles if value]
    equal = [name for name, value in seen.singles if not value]
    if equal:
        changed.append(f"equal: {', '.join(equal)}")
    return "; ".join(changed)


def _whole(figure: str) -> str:
    """Keep a figure and its sign on one line."""
    return figure.replace(" ", "\N{NO-BREAK SPACE}")


def _powers(text: str) -> Markup:
    """Escape a text and raise the exponents in it."""
    power = r'<span class="power">10<sup>\1</sup></span>'
    return Markup(_POWER.sub(power, str(escape(text))))  # noqa: S704  it is escaped


def _components(parts: Iterable[Component]) -> Iterable[ComponentLine]:
    for part in parts:
        yield ComponentLine(
            _name(part.name),
            "none found" if part.base is None else _base_name(part),
            f"{part.agreeing:,} of {part.items:,}",
            chance(part.log10_p) + ("" if part.exact else " (calibrated)"),
            "" if part.change is None else share(part.change) if part.change else "equal",
            part.base is not None,
        )


def _base_name(part: Component) -> str:
    base = part.base or ""
    if is_nameless(part.name) and not is_nameless(base):
        return plain(base, 40)
    return _name(base)


def _name(name: str) -> str:
    where = place(name)
    if where is None:
        return part_name(name)
    return f"{where.stack} layer {where.number}".strip()
