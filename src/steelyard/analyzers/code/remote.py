"""Code of the repository that configurations ask to run (`auto_map`, under remote-code trust)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from steelyard.analyzers.base import few, shortened
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact

_MOST_EVIDENCE: Final = 50


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the repository code that configurations ask to run under remote-code trust."""
    evidence = [
        Evidence(file=path, field=shortened(f"auto_map.{key}"), quote=shortened(value))
        for path, document in sorted(model.json.items())
        if isinstance(document, dict)
        for key, value in _auto_map(document)
    ]
    targets = few(item.quote for item in evidence if item.quote)
    yield Fact("code.remote", targets, Basis.MEASURED, tuple(evidence[:_MOST_EVIDENCE]))


def _auto_map(document: Mapping[str, JsonValue]) -> Iterable[tuple[str, str]]:
    auto_map = document.get("auto_map")
    if not isinstance(auto_map, dict):
        return
    for key, value in auto_map.items():
        for target in value if isinstance(value, list) else [value]:
            if isinstance(target, str):
                yield key, target
