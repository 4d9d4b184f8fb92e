"""What people state and no file can show: `--fact name=value`, and the model's own file.

A model may carry a `steelyard.toml` with a `[facts]` table. Whatever stands in it is a
declaration of whoever published the model: it never outranks a measurement, and nothing else in
that file is heeded, so that a model cannot silence what is found about it.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date

from steelyard.analyzers.base import shortened
from steelyard.checkpoints.model import Model
from steelyard.errors import FactError
from steelyard.facts import Basis, Evidence, Fact, Value, term

FILE = "steelyard.toml"
_MOST_CHARACTERS = 32_768
"""The parser of TOML takes time and memory with the square of a dotted key."""
_MOST_MISFITS = 20


def by_user(facts: Mapping[str, Value]) -> Iterable[Fact]:
    """Yield what the user states."""
    for name, value in facts.items():
        yield Fact(name, value, Basis.DECLARED, (Evidence(field="stated by the user"),))


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what the model's own `steelyard.toml` states; what does not fit is named."""
    text = model.texts.get(FILE)
    if text is None:
        return
    if len(text) > _MOST_CHARACTERS:
        yield _damaged(f"{FILE}: longer than {_MOST_CHARACTERS} characters, so not read")
        return
    try:
        table = tomllib.loads(text).get("facts", {})
    except (ValueError, RecursionError) as error:
        yield _damaged(f"{FILE}: not TOML: {error}")
        return
    misfits = 0
    for name, value in _flatten(table) if isinstance(table, dict) else ():
        try:
            yield Fact(name, read_value(name, value), Basis.DECLARED, (Evidence(FILE, field=name),))
        except FactError as error:
            yield _damaged(f"{FILE}: {shortened(error.what)}")
            misfits += 1
        if misfits >= _MOST_MISFITS:
            yield _damaged(f"{FILE}: too much does not fit; the rest is not read")
            return


def read_value(name: str, value: object) -> Value:
    """Turn a TOML value into the value of the fact `name`.

    Raises:
        FactError: If there is no such name, or the value does not fit it.
    """
    entry = term(name)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    if isinstance(value, str):
        return entry.parse(value)
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise FactError(f"{name} takes {entry.expects}, not a number beyond the range of a double")
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
