"""The Python that Triton Inference Server runs of a model repository: its Python backend.

A model's folder holds `config.pbtxt` and a folder for each version. Where the backend is `python`,
the server imports `model.py` of the version that it serves, and asks nobody.

Source: Triton Inference Server, "Python Backend" and "Model Configuration" (`ModelConfig`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.code.reading import riders
from steelyard.checkpoints import protobuf_text
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError

_CONFIG: Final = "config.pbtxt"
_LONGEST_FILE: Final = 1_000_000


def files(model: Model) -> Iterator[tuple[str, str]]:
    """Yield configurations, each with a Python file of the model that it has imported.

    One that cannot be read is told where graphs are looked for.
    """
    for rider in riders(model, lambda path: PurePosixPath(path).name == _CONFIG, _LONGEST_FILE):
        try:
            stated = _stated(rider.data, rider.path)
        except CheckpointError:
            continue
        if stated.get("backend") != "python":
            continue
        name = stated.get("default_model_filename") or "model.py"
        folder = PurePosixPath(rider.path).parent
        for file in model.source.files:
            path = PurePosixPath(file.path)
            version = path.parent
            if path.name == name and version.parent == folder and version.name.isdecimal():
                yield rider.path, file.path


def _stated(data: bytes, file: str) -> dict[str, str]:
    """Give the scalars of a message itself, not of those within it."""
    found: dict[str, str] = {}
    depth = 0
    for event in protobuf_text.events(data, file):
        if event.ends:
            depth -= 1
        elif event.value is None:
            depth += 1
        elif depth == 0:
            found[event.name] = event.value
    return found
