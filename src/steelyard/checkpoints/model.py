"""A model as read: its files, its weights sets and its documents, before any question is asked.

This is what every analyzer is given. It is a plain value: nothing is read after it is made
except tensor bytes, which an analyzer takes from the `source` when a measurement needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.tensors import Checkpoint, Problem
from steelyard.sources.base import Source


@dataclass(frozen=True, slots=True)
class Model:
    """One model: where it is, its weights sets, and its documents."""

    source: Source
    weights: tuple[Checkpoint, ...] = ()
    """Every weights set that was read; the one taken for the model first."""
    json: Mapping[str, JsonValue] = field(default_factory=dict)
    """Parsed JSON documents by path (`config.json`, `adapter_config.json`, ...)."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Text documents by path: cards, license texts, notices, package metadata."""
    problems: tuple[Problem, ...] = ()
    """Files of a known format that could not be read."""

    @property
    def main(self) -> Checkpoint | None:
        """Return the weights set that is taken for the model; None when there is none."""
        return self.weights[0] if self.weights else None

    def beside(self, path: str, name: str) -> str | None:
        """Find the document called `name` nearest to `path`: its folder, then each parent.

        Returns its path, or None. `path` names a file of the source.
        """
        for folder in PurePosixPath(path).parents:
            candidate = str(folder / name)
            if candidate in self.json or candidate in self.texts:
                return candidate
        return None

    def config(self, name: str = "config.json") -> tuple[str, Mapping[str, JsonValue]] | None:
        """Return path and content of the JSON object called `name` that belongs to the weights.

        It is the one nearest to the main weights set, or at the root when there are none.
        """
        anchor = self.main.files[0] if self.main else name
        path = self.beside(anchor, name)
        value = self.json.get(path) if path is not None else None
        return (path, value) if path is not None and isinstance(value, dict) else None
