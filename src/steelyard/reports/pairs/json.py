"""A comparison of two models as JSON: versioned, deterministic, valid against its schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Final, cast, get_args

from steelyard.lineage.relation import Component, Edit, EditKind, Relatedness
from steelyard.reports.pairs.document import (
    SCHEMA_VERSION,
    ChangeDocument,
    ComponentDocument,
    ContainersDocument,
    EditDocument,
    EncodingDocument,
    PairDocument,
    RelatedDocument,
    ToolDocument,
)
from steelyard.reports.pairs.words import PairReport

_DIGITS: Final = 6
_REQUIRED: Final[Mapping[EditKind, Mapping[str, Any]]] = {
    EditKind.MERGE: {"parents": [], "coefficients": []},
    EditKind.ABLITERATED: {"strength": {}},
    EditKind.DEPTH_PRUNED: {"layer_map": []},
    EditKind.LAYERS_REPEATED: {"layer_map": []},
}
"""Details that are always written, empty where nothing is known."""


def render(said: PairReport) -> str:
    """Return the comparison as JSON text: two-space indent, ASCII, one newline at the end.

    Numbers have six significant digits. Whatever a terminal could obey is escaped.
    """
    return json.dumps(document(said), indent=2, allow_nan=False) + "\n"


def document(said: PairReport) -> PairDocument:
    """Turn a comparison into the shape that is written."""
    told = said.comparison
    encoding = told.encoding
    before, after = encoding.containers
    return PairDocument(
        schema_version=SCHEMA_VERSION,
        tool=ToolDocument(name="steelyard", version=said.version),
        base=_text(told.base),
        child=_text(told.child),
        related=_related(told.related),
        encoding=EncodingDocument(
            kind=encoding.kind.value,
            base=_text(encoding.base),
            child=_text(encoding.child),
            containers=ContainersDocument(base=_text(before), child=_text(after)),
            noise=_number(encoding.noise),
            note=_text(encoding.note),
        ),
        edits=[_edit(edit) for edit in told.edits],
        changes=[
            ChangeDocument(
                component=_text(c.component), role=_text(c.role), relative=_number(c.relative)
            )
            for c in told.changes
        ],
        same_configuration=told.same_configuration,
        notes=_texts(told.notes),
        bytes_read=int(told.bytes_read),
        requests=int(told.requests),
    )


def schema() -> dict[str, Any]:
    """Generate the JSON Schema of a comparison (draft 2020-12).

    Nothing else may be in it, but for edits: later versions may add details.
    """
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    # A list of them, as pydantic takes no configuration for a typed dictionary alone.
    parts = TypeAdapter(list[PairDocument], config=config).json_schema()["$defs"]
    whole = parts.pop(PairDocument.__name__)
    for edit in get_args(EditDocument):
        parts[edit.__name__]["additionalProperties"] = True
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": parts,
        **whole,
    }


def shipped_schema() -> str:
    """Return the schema as it ships, which a test keeps equal to `schema()`."""
    from importlib import resources

    return (resources.files(__package__) / "pair.schema.json").read_text(encoding="utf-8")


def _related(told: Relatedness) -> RelatedDocument:
    return RelatedDocument(
        verdict=told.verdict.value,
        log10_p=_number(told.log10_p),
        exact=bool(told.exact),
        components=[_component(part) for part in told.components],
        assumptions=_texts(told.assumptions),
        notes=_texts(told.notes),
    )


def _component(part: Component) -> ComponentDocument:
    return ComponentDocument(
        name=_text(part.name),
        base=None if part.base is None else _text(part.base),
        log10_p=_number(part.log10_p),
        agreeing=int(part.agreeing),
        items=int(part.items),
        exact=bool(part.exact),
        change=_number(part.change),
    )


def _edit(edit: Edit) -> EditDocument:
    written = {_text(name): _value(value) for name, value in edit.details.items()}
    details = {name: value for name, value in written.items() if value is not None}
    said = {
        "kind": edit.kind.value,
        "summary": _text(edit.summary),
        "note": _text(edit.note),
        **_REQUIRED.get(edit.kind, {}),
        **details,
    }
    # Which details an edit has is known when it is found; the tests hold them to the schema.
    return cast("EditDocument", said)


def _value(value: Any) -> Any:
    """Write a detail: numbers finite and rounded, tuples as lists."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {_text(name): _value(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_value(item) for item in value]
    return _number(value)


def _text(text: str) -> str:
    """Write out what no UTF-8 can hold: bytes of file names that are none."""
    return text.encode("utf-8", "backslashreplace").decode()


def _texts(texts: Iterable[str]) -> list[str]:
    return [_text(text) for text in texts]


def _number(value: Any) -> int | float | None:
    """Return a finite number with six significant digits; None for what is none."""
    if isinstance(value, Integral):
        return int(value)
    if not isinstance(value, Real) or not math.isfinite(value):
        return None
    # Adding zero turns minus zero into zero.
    return float(f"{float(value):.{_DIGITS}g}") + 0.0
