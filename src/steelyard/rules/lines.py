"""YAML read with the line of every value, within bounds.

Packs are written by people, so every error must name a line. Every scalar stays the text that
was written (`no`, `1e25` and `2026-08-02` mean what the fact or field says they mean, not what
YAML guesses); a plain empty value, `~` or `null` is None. Aliases, tags, keys given twice and
several documents in one file are refused: none of them has a place in a pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from steelyard.errors import PackError

Tree = str | list["Tree"] | dict[str, "Tree"] | None
"""What a document holds."""

Path = tuple[str | int, ...]
"""Keys and positions that lead to a value."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST: Final = 2_000_000
_DEEPEST: Final = 20
_NULLS: Final = frozenset({"", "~", "null"})


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    value: list[Tree] | dict[str, Tree]
    path: Path
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    file: str
    lines: dict[Path, int] = field(default_factory=dict)
    root: Tree = None
    stack: list[_Open] = field(default_factory=list)
    documents: int = 0

    def error(self, what: str, line: int | None, why: str = "", fix: str = "") -> PackError:
        return PackError(what, why=why, fix=fix, file=self.file, line=line)

    def take(self, event: yaml.Event) -> None:
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        match event:
            case yaml.AliasEvent():
                raise self.error("aliases have no place in a pack", line, fix="write it out")
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise self.error("a pack is one document", line, fix="split the file")
            case yaml.ScalarEvent() | yaml.CollectionStartEvent():
                self.node(event, line)
            case yaml.CollectionEndEvent():
                self.stack.pop()

    def node(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        if event.tag is not None:
            raise self.error(f"the tag {event.tag!r} has no place in a pack", line, fix="remove it")
        if isinstance(event, yaml.ScalarEvent):
            if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
                self.key(event.value, line)
                return
            self.place(None if event.implicit[0] and event.value in _NULLS else event.value, line)
            return
        if len(self.stack) >= _DEEPEST:
            raise self.error("the pack is nested too deeply", line)
        value: list[Tree] | dict[str, Tree] = {}
        if isinstance(event, yaml.SequenceStartEvent):
            value = []
        self.stack.append(_Open(value, self.place(value, line)))

    def key(self, key: str, line: int) -> None:
        top = self.stack[-1]
        if key in top.value:
            raise self.error(f"the key {key!r} is given twice", line, fix="keep one")
        top.key = key
        self.lines[(*top.path, key)] = line

    def place(self, value: Tree, line: int) -> Path:
        if not self.stack:
            self.root = value
            self.lines[()] = line
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            path: Path = (*top.path, len(top.value))
            top.value.append(value)
            self.lines[path] = line
            return path
        if top.key is None:
            raise self.error("a key is a text", line)
        path = (*top.path, top.key)
        top.value[top.key] = value
        top.key = None
        return path


def read_yaml(text: str, file: str) -> tuple[Tree, Mapping[Path, int]]:
    """Read one document.

    Args:
        text: The document.
        file: Its name, for errors.

    Returns:
        What it holds, and the line on which each value (for a mapping: its key) starts.

    Raises:
        PackError: If it does not parse, or holds what the module's text says is refused.
    """
    builder = _Builder(file)
    if len(text) > _LONGEST:
        raise builder.error(f"a pack of {len(text)} characters", None, "too long", "split it")
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except UnicodeEncodeError as error:
        raise builder.error("the pack is not valid text", None, why=error.reason) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or ""
        raise builder.error("the pack is not valid YAML", line, why=str(reason)) from None
    return builder.root, builder.lines
