"""Find the model card and take it apart: front matter, and the lines of its body.

The Hub reads a card as YAML between two `---` lines at the very start, then Markdown. Line
numbers are those of the file, so that what is said about a card can be looked up in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import commonpath

from steelyard.checkpoints.documents import JsonValue, parse_yaml
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError
from steelyard.facts import Evidence

_NAMES = re.compile(
    r"(readme|model[-_ ]?card)([._-][a-z]{2,12})?(?:\.(?:md|markdown|rst|txt))?", re.IGNORECASE
)
_LONGEST = 400_000
_MOST_LINES = 20_000
_FENCE = re.compile(r"---[ \t]*")
_FIELD = re.compile(r"""["']?([A-Za-z0-9_.-]{1,100})["']?[ \t]*:(?:\s|$)""")


@dataclass(frozen=True, slots=True)
class Card:
    """A model card."""

    path: str
    fields: Mapping[str, JsonValue] = field(default_factory=dict)
    """The front matter; empty when there is none or it does not parse."""
    field_lines: Mapping[str, int] = field(default_factory=dict)
    """The line of each field of the front matter, counted from 1."""
    body: Sequence[str] = ()
    """The lines after the front matter."""
    first: int = 1
    """The number of the body's first line."""
    has_front_matter: bool = False
    error: CheckpointError | None = None
    """Why the front matter does not parse."""
    cut: bool = False
    """True when the card is too long and only its start was read."""

    def at(self, name: str, quote: str | None = None) -> Evidence:
        """Point to a field of the front matter; `name` is dotted, its first part has the line."""
        line = self.field_lines.get(name.split(".", 1)[0])
        return Evidence(file=self.path, line=line, field=name, quote=quote)


def anchor(model: Model) -> PurePosixPath:
    """Return where the weights lie: their first file, or a place in the highest folder used."""
    if model.main is not None:
        return PurePosixPath(model.main.files[0])
    return root(model) / "weights"


def root(model: Model) -> PurePosixPath:
    """Return the lowest folder that holds every file; an npm archive has one named `package`."""
    folders = {PurePosixPath(file.path).parent for file in model.source.files}
    return PurePosixPath(commonpath(folders)) if folders else PurePosixPath()


def spacy_meta(model: Model) -> tuple[str, Mapping[str, JsonValue]] | None:
    """Return spaCy's description of a pipeline: nearest above the weights, else the highest."""
    beside = model.beside(str(anchor(model)), "meta.json")
    others = sorted(
        (path for path in model.json if PurePosixPath(path).name == "meta.json"),
        key=lambda path: (path.count("/"), path),
    )
    for path in (*((beside,) if beside else ()), *others):
        meta = model.json[path]
        if isinstance(meta, dict) and "spacy_version" in meta:
            return path, meta
    return None


def find_card(model: Model) -> Card | None:
    """Return the card that belongs to the weights: beside them, or nearest above; else None.

    Of several in one folder, one with front matter is the card; else one called a model card
    rather than a README.
    """
    for folder in anchor(model).parents:
        cards = [read_card(path, model.texts[path]) for path in _candidates(model, folder)]
        if cards:
            return min(cards, key=lambda card: not card.has_front_matter)
    return None


def read_card(path: str, text: str) -> Card:
    """Take a card's text apart."""
    cut = len(text) > _LONGEST
    text = text[:_LONGEST].removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n", _MOST_LINES)
    if len(lines) > _MOST_LINES:
        cut = True
        del lines[_MOST_LINES]
    start = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    if start == len(lines) or not _FENCE.fullmatch(lines[start]):
        return Card(path, body=lines, cut=cut)
    end = next((n for n in range(start + 1, len(lines)) if _FENCE.fullmatch(lines[n])), None)
    if end is None:
        return _unclosed(path, lines, start, cut)
    fields, error = _front_matter("\n".join(lines[start + 1 : end]), path, start + 1)
    numbers = _field_lines(lines[start + 1 : end], start + 2) if error is None else {}
    return Card(path, fields, numbers, lines[end + 1 :], end + 2, True, error, cut)


def _unclosed(path: str, lines: list[str], start: int, cut: bool) -> Card:
    """Tell front matter without an end from a text that starts with a rule."""
    following = next((line for line in lines[start + 1 :] if line.strip()), "")
    if not _FIELD.match(following):
        return Card(path, body=lines[start + 1 :], first=start + 2, cut=cut)
    error = CheckpointError(
        "the front matter does not end",
        why="there is no second line of `---`",
        fix="close the front matter with a line of `---`",
        file=path,
        line=start + 1,
    )
    return Card(path, body=lines[start + 1 :], first=start + 2, error=error, cut=cut)


def _front_matter(
    text: str, path: str, lines_before: int
) -> tuple[Mapping[str, JsonValue], CheckpointError | None]:
    try:
        value = parse_yaml(text, path, lines_before)
    except CheckpointError as error:
        return {}, error
    if value is None:
        return {}, None
    if not isinstance(value, dict):
        return {}, CheckpointError(
            "the front matter is no mapping of fields",
            fix="write one `name: value` on each line",
            file=path,
            line=lines_before + 1,
        )
    return value, None


def _field_lines(lines: Sequence[str], first: int) -> Mapping[str, int]:
    """Map each field at the top level to its line."""
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, first):
        match = _FIELD.match(line)
        if match:
            numbers.setdefault(match[1], number)
    return numbers


def _candidates(model: Model, folder: PurePosixPath) -> list[str]:
    """Name the possible cards in one folder, model cards before READMEs."""
    found = []
    for path in model.texts:
        place = PurePosixPath(path)
        match = _NAMES.fullmatch(place.name) if place.parent == folder else None
        if match:
            is_readme = match[1].lower().startswith("readme")
            found.append((match[2] is not None, is_readme, not path.endswith(".md"), path))
    return [path for *_, path in sorted(found)]
