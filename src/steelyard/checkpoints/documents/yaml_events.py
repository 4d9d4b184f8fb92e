"""Build a YAML document from its parser's events, bounded and without recursion.

Composing nodes and constructing objects is where YAML is dangerous (aliases that multiply,
tags that call, a composer that recurses in C), so neither happens: the events of libyaml's
parser are taken one by one, counted, and turned into plain values here. Plain scalars get
their type by the core schema of YAML 1.2, section 10.3.2.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn, TypeAlias

import yaml

from steelyard.checkpoints.documents.values import (
    Duplicates,
    JsonValue,
    OutOfRange,
    exceeds,
    finite_number,
    is_encodable,
    shown,
    whole_number,
)
from steelyard.checkpoints.limits import Limits
from steelyard.errors import CheckpointError, LimitExceeded, Unsupported

_Mark: TypeAlias = "yaml.error.Mark | yaml._yaml.Mark"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset({_STANDARD + kind for kind in ("null", "bool", "int", "float")})
_TEXT_TAGS: Final = frozenset({"!", _STANDARD + "str"})
_COLLECTION_TAGS: Final = frozenset({"!", _STANDARD + "map", _STANDARD + "seq"})

_YAML_NULL = re.compile(r"null|Null|NULL|~|")
_YAML_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_YAML_INT = re.compile(r"[-+]?[0-9]+")
_YAML_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_YAML_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def build_yaml(
    text: str, file: str, line_offset: int, limits: Limits, duplicates: Duplicates
) -> JsonValue:
    """Build the value of the one document in `text`; see `documents.parse_yaml`."""
    if len(text) > limits.document_bytes:
        exceeds("more text", "document_bytes", limits.document_bytes, file)
    builder = _YamlBuilder(file, line_offset, limits, duplicates)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise builder.error(f"not YAML: {error.problem or error.context}", mark) from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise builder.error("not YAML: it holds a character that no text may") from None
    return builder.value


class _YamlBuilder:
    """Build the value of one document from the parser's events, without recursion."""

    def __init__(self, file: str, line_offset: int, limits: Limits, duplicates: Duplicates) -> None:
        self.value: JsonValue = None
        self._file = file
        self._line_offset = line_offset
        self._limits = limits
        self._duplicates = duplicates
        self._open: list[list[JsonValue] | dict[str, JsonValue]] = []
        self._keys: list[str | None] = []  # for each open mapping: the key that awaits a value
        self._nodes = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Add what one event says."""
        match event:
            case yaml.ScalarEvent():
                self._add(self._scalar(event), event)
            case yaml.SequenceStartEvent():
                self._start([], event)
            case yaml.MappingStartEvent():
                self._start({}, event)
            case yaml.CollectionEndEvent():
                self._open.pop()
                self._keys.pop()
            case yaml.AliasEvent():
                raise self.error("uses an alias", event.start_mark, Unsupported)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self.error("holds more than one document", event.start_mark)
            case _:
                pass

    def error(
        self,
        what: str,
        mark: _Mark | None = None,
        kind: type[CheckpointError] = CheckpointError,
    ) -> CheckpointError:
        """Build the error for the place at `mark`."""
        fix = "correct the document"
        return kind(what, fix=fix, file=self._file, line=self._line(mark))

    def _start(
        self, container: list[JsonValue] | dict[str, JsonValue], event: yaml.CollectionStartEvent
    ) -> None:
        if event.tag is not None and event.tag not in _COLLECTION_TAGS:
            raise self.error(f"uses the tag {shown(event.tag)}", event.start_mark, Unsupported)
        self._add(container, event)
        self._open.append(container)
        self._keys.append(None)
        if len(self._open) > self._limits.depth:
            self._exceeds("a deeper nesting", "depth", self._limits.depth, event)

    def _add(self, value: JsonValue, event: yaml.NodeEvent) -> None:
        """Put a value where it belongs: in the innermost list or mapping, or at the top."""
        self._nodes += 1
        if self._nodes > self._limits.json_nodes:
            self._exceeds("more values", "json_nodes", self._limits.json_nodes, event)
        parent = self._open[-1] if self._open else None
        if parent is None:
            self.value = value
        elif isinstance(parent, list):
            parent.append(value)
        elif (key := self._keys[-1]) is not None:
            parent[key] = value
            self._keys[-1] = None
        elif not isinstance(event, yaml.ScalarEvent):
            raise self.error("has a list or a mapping for a key", event.start_mark, Unsupported)
        elif event.value in parent and self._duplicates == "error":
            raise self.error(
                f"the key {shown(event.value)} stands twice in one mapping", event.start_mark
            )
        else:
            self._keys[-1] = event.value

    def _scalar(self, event: yaml.ScalarEvent) -> JsonValue:
        text: str = event.value
        if len(text) > self._limits.string_bytes:
            self._exceeds("a longer string", "string_bytes", self._limits.string_bytes, event)
        if not is_encodable(text):
            raise self.error("a text holds half of a surrogate pair", event.start_mark)
        if event.tag in _TEXT_TAGS or (event.tag is None and not event.implicit[0]):
            return text
        if event.tag is not None and event.tag not in _TAGS:
            raise self.error(f"uses the tag {shown(event.tag)}", event.start_mark, Unsupported)
        try:
            return _resolve(text)
        except OutOfRange as error:
            raise self.error(str(error), event.start_mark, LimitExceeded) from None

    def _exceeds(self, what: str, limit: str, value: int, event: yaml.Event) -> NoReturn:
        line = self._line(event.start_mark)
        exceeds(what, limit, value, self._file, line=line)

    def _line(self, mark: _Mark | None) -> int | None:
        return None if mark is None else mark.line + 1 + self._line_offset


def _resolve(text: str) -> JsonValue:
    """Give a plain scalar its type by the core schema; what fits no type stays a text."""
    if _YAML_NULL.fullmatch(text):
        return None
    if match := _YAML_BOOL.fullmatch(text):
        return match[1] is not None
    if _YAML_INT.fullmatch(text):
        return whole_number(text)
    if _YAML_BASED.fullmatch(text):
        return whole_number(text, 0)
    if _YAML_FLOAT.fullmatch(text):
        return finite_number(text)
    return text
