"""Read and write the YAML of the Model Openness Tool.

Files come from strangers: they are read within bounds by the loader that packs use, without tags
or aliases, and every error names the file and the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from steelyard.analyzers.openness.mof import Component, Evaluation, Release, State
from steelyard.errors import ConfigError
from steelyard.knowledge import load
from steelyard.rules.lines import Tree, read_yaml

_LEVELS = ("distribution", "code", "data", "document")


def read_release(text: str, file: str) -> Release:
    """Read a release.

    Raises:
        PackError: If the text is not YAML; with file and line.
        ConfigError: If it describes no release.
    """
    tree, _ = read_yaml(text, file)
    release = tree.get("release") if isinstance(tree, dict) else None
    if not isinstance(release, dict):
        raise ConfigError(
            "the file describes no release", fix="it has `framework` and `release`", file=file
        )
    listed = release.get("components")
    return Release(
        name=_text(release.get("name")),
        producer=_text(release.get("producer")),
        version=_text(release.get("version")),
        date=_text(release.get("date")),
        license=_licenses(release.get("license")),
        components=tuple(
            _component(item)
            for item in (listed if isinstance(listed, list) else [])
            if isinstance(item, dict)
        ),
    )


def _licenses(tree: Tree) -> Mapping[str, str]:
    found = {}
    for level in _LEVELS if isinstance(tree, dict) else ():
        entry = tree.get(level) if isinstance(tree, dict) else None
        name = _text(entry.get("name")) if isinstance(entry, dict) else _text(entry)
        if name:
            found[level] = name
    return found


def _component(tree: Mapping[str, Tree]) -> Component:
    return Component(
        name=_text(tree.get("name")),
        license=_text(tree.get("license")) or None,
        path=_text(tree.get("component_path")),
        license_path=_text(tree.get("license_path")),
        description=_text(tree.get("description")),
    )


def _text(tree: Tree) -> str:
    return tree.strip() if isinstance(tree, str) else ""


def write_release(release: Release, evaluation: Evaluation) -> str:
    """Write a release as the tool reads it: only components that are there."""
    known = {component.name: component for component in release.components}
    components: list[dict[str, Any]] = []
    for judgment in evaluation.judgments:
        if judgment.state is State.MISSING:
            continue
        component = known[judgment.part.name]
        entry: dict[str, Any] = {
            "name": judgment.part.name,
            "description": component.description or judgment.part.name,
        }
        if component.license:
            entry["license"] = component.license
        places = {"component_path": component.path, "license_path": component.license_path}
        entry |= {key: value for key, value in places.items() if value}
        components.append(entry)
    document = {
        "framework": dict(load("mof")["framework"]),
        "release": {
            "name": release.name,
            "version": release.version,
            "date": release.date,
            "license": {
                level: {"name": name, "path": ""} for level, name in (release.license or {}).items()
            },
            "producer": release.producer,
            "components": components,
        },
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
