"""Reference data as YAML, and one function to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any


@cache
def load(name: str) -> Any:
    """Return the content of `<name>.yaml` beside this module; shared, so never change it."""
    # Imported when it is needed: what asks for lists alone does not.
    import yaml

    text = _text(name)
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  safe loaders both


@cache
def load_lists(name: str) -> Mapping[str, Sequence[str]]:
    """Return the content of a file that holds nothing but lists of words under names.

    It is what `load` returns, without the time that a YAML library takes to be loaded: a scan of
    files in a hook asks for no other data.
    """
    lists: dict[str, list[str]] = {}
    current: list[str] = []
    for line in _text(name).splitlines():
        if line.startswith("  - "):
            current.append(line[4:])
        elif line and not line.lstrip().startswith("#"):
            current = lists.setdefault(line.removesuffix(":"), [])
    return lists


def _text(name: str) -> str:
    return (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
