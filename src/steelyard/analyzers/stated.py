"""What people state and no file can show: `--fact name=value`, and the model's own file.

A model may carry a `steelyard.toml` with a `[facts]` table. Whatever stands in it is a
declaration of whoever published the model: it never outranks a measurement, and nothing else in
that file is heeded, so that a model cannot silence what is found about it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date

from steelyard.checkpoints.model import Model
from steelyard.errors import FactError
from steelyard.facts import Basis, Evidence, Fact, Value, term

FILE = "steelyard.toml"


def by_user(facts: Mapping[str, Value]) -> Iterable[Fact]:
    """Yield what the user states."""
    for name, value in facts.items():
        yield Fact(name, value, Basis.DECLARED, (Evidence(field="stated by the user"),))


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what the model's own `steelyard.toml` states; what does not fit is named."""
    text = model.texts.get(FILE)
    if text is None:
        return
    try:
        table = tomllib.loads(text).get("facts", {})
    except (ValueError, RecursionError) as error:
        yield _damaged(f"{FILE}: not TOML: {error}")
        return
    for name, value in _flatten(table) if isinstance(table, dict) else ():
        try:
            yield Fact(name, read_value(name, value), Basis.DECLARED, (Evidence(FILE, field=name),))
        except FactError as error:
            yield _damaged(f"{FILE}: {error.what}")


def read_value(name: str, value: object) -> Value:
    """Turn a TOML value into the value of the fact `name`.

    Raises:
        FactError: If there is no such name, or the value does not fit it.
    """
    entry = term(name)
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    if isinstance(value, str):
        return entry.parse(value)
    if isinstance(value, bool | int | float | date):
        entry.check(value)
        return value
    raise FactError(f"{name} takes {entry.expects}", fix=f"see: steelyard explain {name}")


def _flatten(table: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yield dotted names: TOML reads `training.tokens = 1` as nested tables."""
    for key, value in table.items():
        if isinstance(value, dict) and prefix.count(".") < 8:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _damaged(what: str) -> Fact:
    return Fact(
        "integrity.documents.damaged",
        frozenset({what}),
        Basis.MEASURED,
        (Evidence(file=FILE, quote=what),),
    )
