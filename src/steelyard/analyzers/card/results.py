"""Evaluation results in a card's `model-index`: how many, what they lack, what they are tied to.

A number without its dataset, metric and date cannot be checked, and one that names no revision
cannot be repeated: the dataset may have changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.analyzers.card.document import Card
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue
from steelyard.facts import Basis, Evidence, Fact

FIELD = "model-index"
_MOST = 10_000
_MOST_EVIDENCE = 50
_NOTHING: Mapping[str, JsonValue] = {}


@dataclass(frozen=True, slots=True)
class Result:
    """One metric of one result."""

    field: str
    label: str
    lacks: tuple[str, ...]
    """Of dataset, metric, value, and a date or source."""
    is_bound: bool
    """It names the revision of the dataset."""


def results(card: Card) -> Iterator[Result]:
    """Yield every metric of the card's `model-index`, whatever its shape."""
    for number, model in enumerate(_objects(card.fields.get(FIELD))):
        for index, result in enumerate(_objects(model.get("results"))):
            place = f"{FIELD}.{number}.results.{index}"
            metrics = list(_objects(result.get("metrics"))) or [_NOTHING]
            for which, metric in enumerate(metrics):
                yield _result(f"{place}.metrics.{which}", result, metric)


def result_facts(card: Card) -> Iterator[Fact]:
    """Yield how many results there are, which are incomplete, how many name no revision."""
    found = [result for _, result in zip(range(_MOST), results(card), strict=False)]
    where = (card.at(FIELD),) if FIELD in card.fields else ()
    yield Fact("card.results", len(found), Basis.MEASURED, where)
    lacking = [result for result in found if result.lacks]
    yield Fact(
        "card.results.incomplete",
        frozenset(f"{result.label}: no {', no '.join(result.lacks)}" for result in lacking),
        Basis.MEASURED,
        tuple(_evidence(card, result) for result in lacking[:_MOST_EVIDENCE]),
    )
    loose = [result for result in found if not result.is_bound]
    yield Fact("card.results.unbound", len(loose), Basis.MEASURED, where if loose else ())


def _result(place: str, result: Mapping[str, JsonValue], metric: Mapping[str, JsonValue]) -> Result:
    dataset = _object(result.get("dataset"))
    named = dataset.get("name") or dataset.get("type")
    measure = metric.get("name") or metric.get("type")
    dated = any(
        part.get(key)
        for part in (result, metric, dataset)
        for key in ("date", "source", "verifyToken")
    )
    lacks = (
        ("dataset", named),
        ("metric", metric.get("type") or metric.get("name")),
        ("value", "value" in metric and metric["value"] is not None),
        ("date or source", dated),
    )
    label = f"{_label(named, 'unnamed dataset')}, {_label(measure, 'unnamed metric')}"
    missing = tuple(name for name, value in lacks if not value)
    return Result(place, label, missing, bool(dataset.get("revision")))


def _evidence(card: Card, result: Result) -> Evidence:
    return card.at(result.field, f"no {', no '.join(result.lacks)}")


def _label(value: Any, otherwise: str) -> str:
    return clean(value, 80) if isinstance(value, str) else otherwise


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else _NOTHING


def _objects(value: JsonValue) -> Iterator[Mapping[str, JsonValue]]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item
