"""Read the small files that ride with a model, within bounds, for the questions about code.

What is opened with the model (configurations, cards) is at hand already; this is for the rest:
Python files, templates, tokenizers, graphs. A file that is too long, and every file after a
question has read its fill, is named with the reason and not read: never taken for clean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.errors import SourceError, Truncated
from steelyard.sources.base import SourceFile

LONGEST_FILE = 4_000_000
"""Bytes of the longest file that is read for one question."""
MOST_BYTES = 32_000_000
"""Bytes that one question reads of one model."""


@dataclass(frozen=True, slots=True)
class Rider:
    """One small file: its bytes, or why it was not read."""

    path: str
    data: bytes = b""
    unread: str = ""
    """Why it was not read; empty where it was."""


def riders(
    model: Model,
    wanted: Callable[[str], bool],
    longest: int = LONGEST_FILE,
    most: int = MOST_BYTES,
) -> Iterator[Rider]:
    """Yield the files whose path is wanted, those that lie highest first.

    Args:
        model: Whose files.
        wanted: Told a path within the source, says whether to read it.
        longest: Bytes of the longest file that is read.
        most: Bytes that are read in all.
    """
    files = [file for file in model.source.files if wanted(file.path)]
    for file in sorted(files, key=lambda file: (file.path.count("/"), file.path)):
        if file.size > longest:
            yield Rider(file.path, unread=f"is {file.size} bytes long, more than {longest}")
        elif file.size > most:
            yield Rider(file.path, unread="comes after all that is read for one question")
        else:
            most -= file.size
            yield _read(model, file)


def _read(model: Model, file: SourceFile) -> Rider:
    try:
        with model.source.open(file.path) as reader:
            return Rider(file.path, reader.read(0, reader.size))
    except (SourceError, Truncated) as error:
        return Rider(file.path, unread=error.what)


def objects(model: Model, *names: str) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """Yield the JSON objects of these file names that were read with the model, by path."""
    for path, value in sorted(model.json.items()):
        if isinstance(value, dict) and PurePosixPath(path).name in names:
            yield path, value


def is_local(model: Model, path: str) -> bool:
    """Tell whether reading a file costs no request over a network."""
    return model.source.local_path(path) is not None
