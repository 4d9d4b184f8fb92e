"""Chat templates: what they do beyond laying out messages, and whether they are all the same.

A model may bring its template several times: in `tokenizer_config.json`, in `chat_template.jinja`
or `.json`, and in the metadata of a GGUF file. Which one is used depends on the program, so each
is examined, and where two differ that is said. Beside a base that lies at hand, what was added to
and taken from its template is said line by line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.base import few
from steelyard.analyzers.code.reading import objects, riders
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue, parse_json
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError
from steelyard.facts import Basis, Evidence, Fact

_NAMES: Final = frozenset({"chat_template.json", "processor_config.json"})
_SUFFIXES: Final = frozenset({".jinja", ".jinja2", ".j2"})
_GGUF: Final = "tokenizer.chat_template"
_DEFAULT: Final = "default"
_MOST_TEMPLATES: Final = 50
_MOST_EVIDENCE: Final = 50
_LONGEST_FILE: Final = 2_000_000
_KINDS: Final = ("reaches", "triggers", "odd", "undeclared")
_PIECE: Final = re.compile(r"\n|(?<=[%}#]\})|(?=\{[{%#])")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """One chat template and where it stands."""

    file: str
    field: str | None
    """Field of a document or metadata key; None for a file of its own."""
    name: str
    """`default`, or what it is for: `tool_use`, `rag`."""
    text: str

    @property
    def place(self) -> str:
        """Name the place for a person."""
        return f"{self.file} {self.field}" if self.field else self.file


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the chat templates, what is of note in each, and where two of them differ."""
    found, unread = collect(model)
    yield _fact("code.template", [(t.place, Evidence(t.file, field=t.field)) for t in found])
    remarks: dict[str, list[tuple[str, Evidence]]] = {kind: [] for kind in _KINDS}
    if found:
        # Jinja takes a while to import; most models have no template.
        from steelyard.analyzers.code.template_tree import examine

        seen: set[str] = set()
        for template in found:
            if template.text in seen:
                continue
            seen.add(template.text)
            try:
                for remark in examine(template.text, template.file):
                    said = f"{template.place}: line {remark.line} {remark.what}"
                    line = None if template.field else remark.line
                    shown = Evidence(
                        template.file, line=line, field=template.field, quote=remark.what
                    )
                    remarks[remark.kind].append((said, shown))
            except CheckpointError as error:
                why = f"{error.what} ({error.why})"
                unread.append((f"{template.place}: {why}", Evidence(template.file, quote=why)))
    for kind in _KINDS:
        yield _fact(f"code.template.{kind}", remarks[kind])
    yield _fact("code.template.differs", list(_differences(found)))
    yield _fact("code.template.unread", unread)


def against(model: Model, base: Model) -> Iterable[Fact]:
    """Yield what was changed in the template of a base that lies at hand, line by line.

    Args:
        model: The model that is audited.
        base: The model that is taken for its base; nothing is said where either has no template.
    """
    ours, theirs = _first(collect(model)[0]), _first(collect(base)[0])
    if ours is None or theirs is None:
        return
    added, removed = _changes(theirs.text, ours.text)
    lines = [*(f"- {piece}" for piece in removed), *(f"+ {piece}" for piece in added)]
    evidence = [Evidence(ours.file, field=ours.field, quote=line) for line in lines]
    yield _fact("code.template.changed", list(zip(lines, evidence, strict=True)))


def collect(model: Model) -> tuple[list[ChatTemplate], list[tuple[str, Evidence]]]:
    """Find every chat template of a model; also say which could not be read."""
    found: list[ChatTemplate] = []
    unread: list[tuple[str, Evidence]] = []
    for path, document in objects(model, "tokenizer_config.json"):
        found += _entries(path, document.get("chat_template"))
    for rider in riders(model, _is_template_file, _LONGEST_FILE):
        if rider.unread:
            said = f"{rider.path} {rider.unread}"
            unread.append((said, Evidence(rider.path, quote=rider.unread)))
        elif rider.path.endswith(".json"):
            try:
                document_read = parse_json(rider.data, rider.path, allow_nan=True)
            except CheckpointError as error:
                unread.append((f"{rider.path} {error.what}", Evidence(rider.path)))
                continue
            if isinstance(document_read, dict):
                found += _entries(rider.path, document_read.get("chat_template"))
        else:
            text = rider.data.decode("utf-8", "replace")
            stem = PurePosixPath(rider.path).stem
            name = _DEFAULT if stem == "chat_template" else stem
            found.append(ChatTemplate(rider.path, None, name, text))
    for weights in model.weights:
        for key, value in weights.metadata.items():
            if isinstance(value, str) and (key == _GGUF or key.startswith(f"{_GGUF}.")):
                name = key[len(_GGUF) + 1 :] or _DEFAULT
                found.append(ChatTemplate(weights.files[0], key, name, value))
    return found[:_MOST_TEMPLATES], unread


def _entries(path: str, value: JsonValue) -> Iterator[ChatTemplate]:
    """Yield the templates of one document: one text, or a list of named ones."""
    if isinstance(value, str):
        yield ChatTemplate(path, "chat_template", _DEFAULT, value)
    elif isinstance(value, dict):
        for name, text in value.items():
            if isinstance(text, str):
                yield ChatTemplate(path, f"chat_template.{name}", name, text)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            match item:
                case {"name": str(name), "template": str(text)}:
                    yield ChatTemplate(path, f"chat_template.{index}", name, text)


def _differences(found: Sequence[ChatTemplate]) -> Iterator[tuple[str, Evidence]]:
    """Say which templates of one name differ from the first of that name."""
    for index, template in enumerate(found):
        of = next((one for one in found[:index] if _belongs(template, one)), None)
        if of is None:
            continue
        added, removed = _changes(of.text, template.text)
        if added or removed:
            example = f", such as {clean((added or removed)[0], 80)!r}"
            said = (
                f"{template.place} adds {len(added)} and lacks {len(removed)} "
                f"pieces of {of.place}{example}"
            )
            yield said, Evidence(template.file, field=template.field, quote=clean(said))


def _belongs(template: ChatTemplate, other: ChatTemplate) -> bool:
    """Tell whether `other` is of the same model: of its name, and in its folder or one above."""
    folders = PurePosixPath(template.file).parents
    return template.name == other.name and PurePosixPath(other.file).parent in folders


def _changes(before: str, after: str) -> tuple[list[str], list[str]]:
    """Give the pieces that were added and those that were removed, in their order.

    Pieces are lines, and tags of the template: many templates are a single line. What only moved
    is no change, so this takes time in proportion to the text alone.
    """
    old, new = _pieces(before), _pieces(after)
    return _more(new, old), _more(old, new)


def _more(pieces: Sequence[str], others: Sequence[str]) -> list[str]:
    left = Counter(others)
    kept = []
    for piece in pieces:
        if left[piece] > 0:
            left[piece] -= 1
        else:
            kept.append(clean(piece))
    return kept


def _pieces(text: str) -> list[str]:
    return [stripped for piece in _PIECE.split(text) if (stripped := piece.strip())]


def _first(found: Sequence[ChatTemplate]) -> ChatTemplate | None:
    """Give the template that a program would take."""
    return next((template for template in found if template.name == _DEFAULT), None)


def _is_template_file(path: str) -> bool:
    name = PurePosixPath(path)
    return name.name in _NAMES or name.suffix.lower() in _SUFFIXES


def _fact(name: str, said: Sequence[tuple[str, Evidence]]) -> Fact:
    evidence = tuple(shown for _, shown in said[:_MOST_EVIDENCE])
    return Fact(name, few(text for text, _ in said), Basis.MEASURED, evidence)
