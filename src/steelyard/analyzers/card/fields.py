"""Check a card's front matter against the Hub's specification, field by field.

Each checker looks at one field and says what is wrong with it, naming the place (`datasets.2`).
Fields that the specification does not name are left alone: libraries add their own.
Source: Hugging Face hub-docs, modelcard.md and docs/hub (model-cards, models-gated), 2026-08.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from steelyard.analyzers.card.document import Card
from steelyard.analyzers.licenses.names import is_hub_license
from steelyard.checkpoints.documents import JsonValue
from steelyard.knowledge import load

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
"""A repository on the Hub: `gpt2`, or `org/name`."""

_MOST = 200
_THREE_LETTERS = re.compile(r"[a-z]{3}")
_TASK = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that breaks the specification."""

    field: str
    """Dotted place: `model-index.0.results`."""
    why: str


_Faults: TypeAlias = Iterator[Fault]
_Checker: TypeAlias = Callable[[str, JsonValue], _Faults]


def faults(card: Card) -> list[Fault]:
    """List what is wrong with the front matter, in the order of its fields."""
    found: list[Fault] = []
    for name, value in card.fields.items():
        checker = _CHECKERS.get(name)
        if checker is not None and value is not None:
            found.extend(_first(checker(name, value)))
    if card.fields.get("license") == "other":
        found.extend(
            Fault(name, "is needed where `license` is `other`")
            for name in ("license_name", "license_link")
            if not card.fields.get(name)
        )
    return found[:_MOST]


def _first(found: _Faults) -> _Faults:
    for _, fault in zip(range(_MOST), found, strict=False):
        yield fault


def texts(value: JsonValue) -> list[str]:
    """Take a text or a list of texts as a list, without whatever else stands in it."""
    items = value if isinstance(value, list) else [value]
    return [item.strip() for item in items if isinstance(item, str) and item.strip()]


def _text(name: str, value: JsonValue) -> _Faults:
    if not isinstance(value, str):
        yield Fault(name, "is not a text")


def _flag(name: str, value: JsonValue) -> _Faults:
    if not isinstance(value, bool):
        yield Fault(name, "is neither true nor false")


def _list_of(item: Callable[[str], str], *, alone: bool = True) -> _Checker:
    """Make a checker for a list of texts; `alone` allows a single text, too.

    `item` says what is wrong with one text, or the empty text.
    """

    def check(name: str, value: JsonValue) -> _Faults:
        if not isinstance(value, list):
            wrong = item(value) if isinstance(value, str) else "is not a text"
            if isinstance(value, str) and not alone:
                wrong = "is not a list"
            if wrong:
                yield Fault(name, wrong)
            return
        for number, entry in enumerate(value):
            wrong = item(entry) if isinstance(entry, str) else "is not a text"
            if wrong:
                yield Fault(f"{name}.{number}", wrong)

    return check


def _anything(text: str) -> str:
    return "" if text.strip() else "is empty"


def _language(text: str) -> str:
    known = text in load("card_template")["languages"].split() or _THREE_LETTERS.fullmatch(text)
    return "" if known else "is no ISO 639 code"


def _hub_license(text: str) -> str:
    return "" if is_hub_license(text) or text == "other" else "is not on the Hub's list of licenses"


def _repository(text: str) -> str:
    return "" if HUB_ID.fullmatch(text) and ".." not in text else "is no repository on the Hub"


def _one_repository(name: str, value: JsonValue) -> _Faults:
    wrong = _repository(value) if isinstance(value, str) else "is not a text"
    if wrong:
        yield Fault(name, wrong)


def _one_of(key: str) -> _Checker:
    def check(name: str, value: JsonValue) -> _Faults:
        choices = load("card_template")[key]
        if value not in choices:
            yield Fault(name, f"is none of {', '.join(choices)}")

    return check


def _task(name: str, value: JsonValue) -> _Faults:
    if not isinstance(value, str) or not _TASK.fullmatch(value):
        yield Fault(name, "is no task of the Hub")


def _emissions(name: str, value: JsonValue) -> _Faults:
    if isinstance(value, dict):
        amount = value.get("emissions")
        if not _is_amount(amount):
            yield Fault(f"{name}.emissions", "is not a number of grams")
    elif not _is_amount(value):
        yield Fault(name, "is neither a number of grams nor an object")


def _is_amount(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _gated_fields(name: str, value: JsonValue) -> _Faults:
    if not isinstance(value, dict):
        yield Fault(name, "is not a mapping of field names")
        return
    kinds = load("card_template")["gated_field_types"]
    for key, entry in value.items():
        kind = entry.get("type") if isinstance(entry, dict) else entry
        if kind not in kinds:
            yield Fault(f"{name}.{key[:80]}", f"has a type that is none of {', '.join(kinds)}")
        elif kind == "select" and not _has_list(entry, "options"):
            yield Fault(f"{name}.{key[:80]}", "is a select without options")


def _has_list(entry: JsonValue, key: str) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get(key), list)


def _model_index(name: str, value: JsonValue) -> _Faults:
    if not isinstance(value, list):
        yield Fault(name, "is not a list of models")
        return
    for number, model in enumerate(value):
        place = f"{name}.{number}"
        if not isinstance(model, dict):
            yield Fault(place, "is not an object")
            continue
        if not isinstance(model.get("name"), str):
            yield Fault(f"{place}.name", "is not a text")
        results = model.get("results")
        if not isinstance(results, list):
            yield Fault(f"{place}.results", "is not a list of results")
            continue
        for index, result in enumerate(results):
            yield from _result(f"{place}.results.{index}", result)


def _result(place: str, result: JsonValue) -> _Faults:
    if not isinstance(result, dict):
        yield Fault(place, "is not an object")
        return
    yield from _part(place, result, "task", ("type",))
    yield from _part(place, result, "dataset", ("type", "name"))
    metrics = result.get("metrics")
    if not isinstance(metrics, list):
        yield Fault(f"{place}.metrics", "is not a list of metrics")
        return
    for number, metric in enumerate(metrics):
        here = f"{place}.metrics.{number}"
        if not isinstance(metric, dict):
            yield Fault(here, "is not an object")
        elif not isinstance(metric.get("type"), str):
            yield Fault(f"{here}.type", "is not a text")
        elif "value" not in metric:
            yield Fault(f"{here}.value", "is missing")
    source = result.get("source")
    if source is not None and not (isinstance(source, dict) and isinstance(source.get("url"), str)):
        yield Fault(f"{place}.source.url", "is missing")


def _part(
    place: str, result: Mapping[str, JsonValue], key: str, needed: tuple[str, ...]
) -> _Faults:
    part = result.get(key)
    if not isinstance(part, dict):
        yield Fault(f"{place}.{key}", "is not an object")
        return
    for name in needed:
        if not isinstance(part.get(name), str):
            yield Fault(f"{place}.{key}.{name}", "is not a text")


_CHECKERS: Final[Mapping[str, _Checker]] = {
    "language": _list_of(_language),
    "license": _list_of(_hub_license),
    "license_name": _text,
    "license_link": _text,
    "library_name": _text,
    "pipeline_tag": _task,
    "tags": _list_of(_anything, alone=False),
    "datasets": _list_of(_repository),
    "metrics": _list_of(_anything),
    "buckets": _list_of(_anything),
    "thumbnail": _text,
    "base_model": _list_of(_repository),
    "base_model_relation": _one_of("relations"),
    "new_version": _one_repository,
    "co2_eq_emissions": _emissions,
    "model-index": _model_index,
    "extra_gated_prompt": _text,
    "extra_gated_heading": _text,
    "extra_gated_description": _text,
    "extra_gated_button_content": _text,
    "extra_gated_fields": _gated_fields,
    "extra_gated_eu_disallowed": _flag,
}
