"""Chat templates of a model, wherever they stand, as text; nothing renders them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from steelyard.checkpoints.documents import JsonValue, read_json, read_text
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError

_KEY = "chat_template"
_GGUF = "tokenizer.chat_template"
_MOST = 100


def templates(model: Model) -> Mapping[str, str]:
    """Return each template by where it stands: `chat_template.jinja`, `config.json chat_template`.

    Raises:
        SourceError: If a file cannot be read.
    """
    return dict(sorted(_found(model)))


def _found(model: Model) -> Iterator[tuple[str, str]]:
    for path, document in model.json.items():
        if PurePosixPath(path).name == "tokenizer_config.json":
            yield from _named(f"{path} {_KEY}", document)
    for path in _files(model):
        try:
            with model.source.open(path) as reader:
                if path.endswith(".json"):
                    yield from _named(f"{path} {_KEY}", read_json(reader, allow_nan=True))
                else:
                    yield path, read_text(reader)
        except CheckpointError:
            continue  # what is wrong with the file is an audit's business
    for weights in model.weights:
        for key, value in weights.metadata.items():
            if isinstance(value, str) and (key == _GGUF or key.startswith(f"{_GGUF}.")):
                yield f"{weights.files[0]} {key}", value


def _files(model: Model) -> list[str]:
    """List the files that hold a template each; bounded, as each is opened."""
    found = []
    for file in model.source.files:
        path = PurePosixPath(file.path)
        own = path.name in (f"{_KEY}.jinja", f"{_KEY}.json")
        more = path.parent.name == "additional_chat_templates" and path.suffix == ".jinja"
        if (own or more) and file.size <= DEFAULT_LIMITS.document_bytes:
            found.append(file.path)
    return found[:_MOST]


def _named(place: str, document: JsonValue) -> Iterator[tuple[str, str]]:
    """Yield the template of a document, or each of several that have names."""
    held = document.get(_KEY) if isinstance(document, dict) else None
    if isinstance(held, str):
        yield place, held
    for number, item in enumerate(held[:_MOST] if isinstance(held, list) else ()):
        if isinstance(item, dict) and isinstance(item.get("template"), str):
            name = item.get("name")
            label = name if isinstance(name, str) else str(number)
            yield f"{place} {label[:100]}", str(item["template"])
