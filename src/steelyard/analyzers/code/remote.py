"""Code of the repository that configurations ask to run (under remote-code trust).

`auto_map` is Transformers' word for it; `custom_pipelines` names pipelines, `modules.json` the
modules of Sentence Transformers, `model_index.json` the parts of a Diffusers pipeline. Each names
a class in a Python file beside the configuration, or in another repository
(`other/repo--file.Class`), whose code then runs as well. MLflow runs what `MLmodel` names, and
Triton a Python backend; neither asks.

Source: `get_class_from_dynamic_module` of Transformers; https://huggingface.co/docs/transformers/custom_models
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.base import few, shortened
from steelyard.analyzers.code import triton
from steelyard.analyzers.code.mlflow import flavors
from steelyard.analyzers.code.reading import Rider, riders
from steelyard.checkpoints.documents import JsonValue, parse_json
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError
from steelyard.facts import Basis, Evidence, Fact

_MOST_EVIDENCE: Final = 50
_LONGEST: Final = 500
_LONGEST_FILE: Final = 1_000_000
_AUTO_MAP: Final = b'"auto_map"'


@dataclass(frozen=True, slots=True)
class Target:
    """A class that a configuration asks to import."""

    config: str
    """The configuration that names it."""
    field: str
    text: str
    """As written: `modeling.Own`, `other/repo--modeling.Own`."""
    is_path: bool = False
    """Whether it is a path within the source instead."""

    @property
    def repository(self) -> str:
        """Name the other repository that holds the code; empty for this one."""
        elsewhere = "--" in self.text and not self.is_path
        return self.text.partition("--")[0] if elsewhere else ""

    @property
    def path(self) -> str:
        """Name the Python file, as a path within the source."""
        if self.is_path:
            return self.text
        module = self.text.rpartition("--")[2].rpartition(".")[0]
        return str(PurePosixPath(self.config).parent / f"{module.replace('.', '/')}.py")


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the repository code that configurations ask to run under remote-code trust."""
    found = asked(model).targets
    for name, chosen in (
        ("code.remote", found),
        ("code.remote.elsewhere", [target for target in found if target.repository]),
    ):
        evidence = [
            Evidence(file=target.config, field=shortened(target.field), quote=target.text)
            for target in chosen[:_MOST_EVIDENCE]
        ]
        texts = few(target.text for target in chosen)
        yield Fact(name, texts, Basis.MEASURED, tuple(evidence))


@dataclass(frozen=True, slots=True)
class Asked:
    """What the configurations of a model ask to import."""

    targets: tuple[Target, ...]
    """Sorted by configuration."""
    unread: Mapping[str, str]
    """Configurations that were not read, with the reason: a library may read them still."""


def asked(model: Model) -> Asked:
    """Read what every configuration asks to import, those that are not read with the model too."""
    documents = dict(model.json)
    unread: dict[str, str] = {}
    for rider in riders(model, lambda path: _is_further(model, path), _LONGEST_FILE):
        if rider.unread:
            unread[rider.path] = rider.unread
        elif _AUTO_MAP in rider.data:
            try:
                documents[rider.path] = _parsed(rider)
            except CheckpointError:
                unread[rider.path] = "names code, but is not JSON that can be parsed"
    here = {file.path for file in model.source.files}
    found: list[Target] = []
    for path, document in sorted(documents.items()):
        if isinstance(document, dict):
            named = [*_auto_map(document), *_pipelines(document)]
            found += [Target(path, field, shortened(text)) for field, text in named]
    for path, document in sorted(model.json.items()):
        # Most name a class of an installed library: only a file that lies here is code of here.
        listed = [Target(path, field, shortened(text)) for field, text in _listed(path, document)]
        found += [target for target in listed if target.path in here]
    written, unread_too = flavors(model)
    found += [
        Target(flavor.config, f"flavors.{flavor.name}", shortened(path), is_path=True)
        for flavor in written
        for path in flavor.files
    ]
    unread |= unread_too
    found += [
        Target(config, "backend", shortened(path), is_path=True)
        for config, path in triton.files(model)
    ]
    return Asked(tuple(found), unread)


def _listed(path: str, document: JsonValue) -> Iterator[tuple[str, str]]:
    name = PurePosixPath(path).name
    if name == "modules.json" and isinstance(document, list):
        yield from _modules(document)
    elif name == "model_index.json" and isinstance(document, dict):
        yield from _parts(document)


def _is_further(model: Model, path: str) -> bool:
    """Tell a configuration that is not read with the model, as that of a processor is not."""
    name = PurePosixPath(path).name
    return name.endswith(".json") and "config" in name and path not in model.json


def _parsed(rider: Rider) -> JsonValue:
    # Of a key that stands twice libraries take the last.
    return parse_json(rider.data, rider.path, duplicates="keep_last", allow_nan=True)


def _auto_map(document: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    auto_map = document.get("auto_map")
    if not isinstance(auto_map, dict):
        return
    for key, value in auto_map.items():
        for target in value if isinstance(value, list) else [value]:
            if isinstance(target, str):
                yield f"auto_map.{key}", target


def _pipelines(document: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    pipelines = document.get("custom_pipelines")
    if not isinstance(pipelines, dict):
        return
    for key, value in pipelines.items():
        if isinstance(value, dict) and isinstance(value.get("impl"), str):
            yield f"custom_pipelines.{key}.impl", str(value["impl"])


def _modules(document: list[JsonValue]) -> Iterator[tuple[str, str]]:
    for index, item in enumerate(document[:_LONGEST]):
        if isinstance(item, dict) and isinstance(item.get("type"), str):
            yield f"{index}.type", str(item["type"])


def _parts(document: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        match value:
            case [str(module), str(name)]:
                yield key, f"{module}.{name}"
                # Each part has a folder, where Diffusers looks for its code.
                yield key, f"{key}.{module}.{name}"
