"""Schemas of others, which registry packages carry; a machine without a registry has none."""

from __future__ import annotations

import json
import xml.etree.ElementTree as Tree
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import xmlschema
from tools.assets import AssetUnavailable, file_of


@cache
def _path(asset: str, file: str) -> Path | str:
    """Return where a schema lies, or why it does not."""
    try:
        return file_of(asset, file)
    except AssetUnavailable as error:
        return str(error)


def sarif_schema() -> Path | str:
    return _path("sarif-schema", "sarif-2.1.0-rtm.5.json")


def junit_schema() -> Path | str:
    return _path("junit-schema", "jenkins-junit.xsd")


@cache
def _sarif(path: Path) -> jsonschema.Draft4Validator:
    schema = json.loads(path.read_text(encoding="utf-8"))
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())


@cache
def _junit(path: Path) -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(path))


def check_sarif(log: Any) -> None:
    """Hold a log against the schema of its committee, where that is at hand."""
    path = sarif_schema()
    if isinstance(path, Path):
        _sarif(path).validate(log)


def check_junit(text: str) -> None:
    """Hold a report against the schema of Jenkins, where that is at hand."""
    path = junit_schema()
    if isinstance(path, Path):
        root = Tree.fromstring(text)  # noqa: S314  our own report, just written
        for skipped in root.iter("skipped"):
            # Its tenth version has them; the package has an early one.
            skipped.attrib.clear()
        _junit(path).validate(root)


def require(schema: Path | str) -> None:
    """Skip a test that means nothing without a schema."""
    if isinstance(schema, str):
        pytest.skip(f"no registry, no schema: {schema}")
