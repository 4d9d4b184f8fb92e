"""What MLflow would run of a model's folder, and what it would import: the file `MLmodel`.

Each flavor of a model may name a module that loads it, a folder that is put first on Python's path
before anything is loaded, and a file of Python that is the model itself.

Source: MLflow documentation, "MLmodel file"; `load_model` and `_load_context_model_and_signature`
of `mlflow.pyfunc`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.code.reading import Rider, riders
from steelyard.checkpoints.documents import parse_yaml
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError

_LONGEST_FILE: Final = 1_000_000
_MOST_FILES: Final = 1000


@dataclass(frozen=True, slots=True)
class Flavor:
    """What one flavor of a model asks for."""

    config: str
    """The file that says so."""
    name: str
    loader: str = ""
    """Module that loads the model: `mlflow.sklearn`."""
    files: tuple[str, ...] = ()
    """Python files of the model that run, or that come first where something is imported."""


def flavors(model: Model) -> tuple[list[Flavor], dict[str, str]]:
    """Read what MLflow would run; also say which files could not be read."""
    found: list[Flavor] = []
    unread: dict[str, str] = {}
    here = [file.path for file in model.source.files if file.path.endswith(".py")]
    for rider in riders(model, lambda path: PurePosixPath(path).name == "MLmodel", _LONGEST_FILE):
        try:
            if rider.unread:
                raise CheckpointError(rider.unread)
            found += _read(rider, here)
        except CheckpointError as error:
            unread[rider.path] = error.what
    return found, unread


def _read(rider: Rider, here: list[str]) -> Iterator[Flavor]:
    text = rider.data.decode("utf-8", "replace")
    document = parse_yaml(text, rider.path, duplicates="keep_last")
    listed = document.get("flavors") if isinstance(document, dict) else None
    parent = PurePosixPath(rider.path).parent
    for name, fields in listed.items() if isinstance(listed, dict) else ():
        if not isinstance(fields, dict):
            continue
        loader, code, own = (
            value if isinstance(value := fields.get(key), str) else ""
            for key in ("loader_module", "code", "model_code_path")
        )
        files = [str(parent / PurePosixPath(own).name)] if own else []
        if code:
            files += [path for path in here if path.startswith(f"{parent / code}/")]
        yield Flavor(rider.path, name, loader, tuple(files[:_MOST_FILES]))
