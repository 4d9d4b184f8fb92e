"""Python in notebooks: the code cells as one text, and what is no Python in them.

A notebook is JSON that holds cells. Those of code are joined, so that a name which one cell
imports is known in the next, and each line keeps its cell and its place there. Lines for IPython
(`%time`, `!ls`) are no Python: what they run is told, and the parser sees a `pass` in their place.
A cell that does not parse even so is named; the others are read. Nothing is run.

Source: the notebook format, https://nbformat.readthedocs.io/en/latest/format_description.html
(versions 3 and 4), and IPython, "Built-in magic commands".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from steelyard.analyzers.code import python
from steelyard.analyzers.code.python import Script, Use, parse
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue, parse_json
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.knowledge import load

LONGEST: Final = 16_000_000
"""Bytes of the longest notebook that is read; most of a long one are pictures."""
_LONGEST_CODE: Final = 1_000_000
_MOST_CELLS: Final = 10_000
_MOST_PARSED: Final = 4_000_000
"""Characters that are parsed, over and over, to tell where lines for IPython stand."""
_SHOWN: Final = 60
_NOTHING: Final = "pass"


@dataclass(frozen=True, slots=True)
class Notebook:
    """What the code cells of a notebook do, together."""

    script: Script
    """Its lines are those of all code cells, one after another."""
    unread: tuple[str, ...]
    """Cells that do not parse, with the reason."""
    starts: tuple[int, ...]
    """The first line of each code cell."""
    cells: tuple[int, ...]
    """For each code cell, which cell of the notebook it is, counted from one."""

    def place(self, line: int) -> tuple[int, int]:
        """Say which cell a line is in, and which line it is there, both counted from one."""
        index = max(bisect_right(self.starts, line) - 1, 0)
        return self.cells[index], line - self.starts[index] + 1


Note = tuple[str, str, int]
"""What a line for IPython does: kind, name, and its place in the cell, counted from nought."""


def examine(data: bytes, file: str) -> Notebook:
    """Say what the code in a notebook does.

    Args:
        data: Its bytes, JSON.
        file: Its path, for errors.

    Raises:
        CheckpointError: If it is no notebook.
        LimitExceeded: If it holds more code than is read.
    """
    # Of a key that stands twice programs take the last.
    document = parse_json(data, file, duplicates="keep_last", allow_nan=True)
    if not isinstance(document, dict):
        raise CheckpointError("is not a notebook: not a JSON object", file=file)
    texts = list(_code_cells(document))
    if len(texts) > _MOST_CELLS or sum(len(text) for _, text in texts) > _LONGEST_CODE:
        raise LimitExceeded(f"is a notebook of more than {_LONGEST_CODE} characters", file=file)
    budget = [_MOST_PARSED]
    lines: list[str] = []
    uses: list[Use] = []
    unread: list[str] = []
    starts: list[int] = []
    for number, text in texts:
        starts.append(len(lines) + 1)
        code, notes = _without_magics(text, file, budget)
        uses += [Use(kind, name, starts[-1] + at, True) for kind, name, at in notes]
        try:
            parse(code, file)
        except CheckpointError as error:
            unread.append(f"cell {number} {error.what}")
            code = "\n" * code.count("\n")
        lines += code.split("\n")
    script = python.examine("\n".join(lines), file)
    found = tuple(sorted((*script.uses, *uses), key=lambda use: use.line))
    return Notebook(
        Script(found, script.imports, script.relative),
        tuple(unread) if _is_python(document) else (),
        tuple(starts) or (1,),
        tuple(number for number, _ in texts) or (1,),
    )


def _code_cells(document: Mapping[str, JsonValue]) -> Iterator[tuple[int, str]]:
    """Yield the code cells with their number; format 3 keeps them in worksheets."""
    sheets = document.get("worksheets")
    listed = [document, *(sheets if isinstance(sheets, list) else ())]
    number = 0
    for sheet in listed:
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        for cell in cells if isinstance(cells, list) else ():
            number += 1
            if isinstance(cell, dict) and cell.get("cell_type") == "code":
                yield number, _joined(cell.get("source", cell.get("input")))


def _joined(source: JsonValue) -> str:
    pieces = source if isinstance(source, list) else [source]
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    # As Python's own reader of files sees lines; a form feed breaks none.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_python(document: Mapping[str, JsonValue]) -> bool:
    """Tell whether cells are meant as Python: a notebook of R does not parse, and need not."""
    metadata = document.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    languages = []
    for key, inner in (("language_info", "name"), ("kernelspec", "language")):
        value = named.get(key)
        if isinstance(value, dict) and isinstance(value.get(inner), str):
            languages.append(str(value[inner]).lower())
    return not languages or any("python" in language for language in languages)


def _without_magics(text: str, file: str, budget: list[int]) -> tuple[str, list[Note]]:
    """Put Python in place of lines for IPython, line for line, and say what those do."""
    lines = text.split("\n")
    first = next((at for at, line in enumerate(lines) if line.strip()), None)
    if first is not None and lines[first].lstrip().startswith("%%"):
        word, rest = _words(lines[first].lstrip()[2:])
        kind = _magics().get(word)
        if kind != "python":
            notes = [(kind, f"%%{word}", first)] if kind else []
            return "\n" * (len(lines) - 1), notes
        lines[first] = rest if _parses(rest, file, budget) else ""
        text = "\n".join(lines)
    if _parses(text, file, budget):
        return text, []
    return _lines_without(lines, file, budget)


def _lines_without(lines: list[str], file: str, budget: list[int]) -> tuple[str, list[Note]]:
    """Replace the lines for IPython where a statement may begin, and no others.

    `%` also goes on with an expression, or stands in a text: it is for IPython only where what
    came before is whole.
    """
    notes: list[Note] = []
    made: list[str] = []
    start = 0
    goes_on = False
    for at, line in enumerate(lines):
        if goes_on:
            goes_on = line.endswith("\\")
            made.append("")
            continue
        indent, command = _command(line)
        before = "\n".join([*made[start:], indent + _NOTHING]) if command else ""
        if not command or not _parses(before, file, budget):
            made.append(line)
            continue
        goes_on = line.endswith("\\")
        code, found = _command_as_python(command, file, budget)
        made.append(indent + code)
        notes += [(kind, name, at) for kind, name in found]
        start = start if indent else len(made)
    return "\n".join(made), notes


def _command(line: str) -> tuple[str, str]:
    """Give the indent and the command of a line for IPython; no command if it is none."""
    stripped = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    if stripped[:1] in ("%", "!") or stripped[:1] == "?" or stripped[-1:] == "?":
        return indent, stripped
    name, equals, rest = stripped.partition("=")
    rest = rest.lstrip()
    names = name.replace(",", " ").replace(".", " ").split()
    if equals and rest[:1] in ("%", "!") and names and all(map(str.isidentifier, names)):
        return indent, rest
    return indent, ""


def _command_as_python(
    command: str, file: str, budget: list[int]
) -> tuple[str, list[tuple[str, str]]]:
    """Give the Python that a command runs, or `pass`, and what it does besides."""
    if command.startswith("!"):
        return _NOTHING, [("process", clean(command, _SHOWN))]
    if not command.startswith("%"):
        return _NOTHING, []
    word, rest = _words(command.lstrip("%"))
    kind = _magics().get(word)
    if kind == "python":
        return (rest if _parses(rest, file, budget) and rest else _NOTHING), []
    return _NOTHING, [(kind, clean(command, _SHOWN))] if kind else []


def _words(text: str) -> tuple[str, str]:
    """Give the first word, and what follows it and its options."""
    parts = text.split(None, 1)
    if not parts:
        return "", ""
    rest = parts[1] if len(parts) > 1 else ""
    while rest.startswith("-") and " " in rest:
        option, rest = rest.split(None, 1)
        if option in ("-n", "-r") and rest.partition(" ")[0].isdigit():
            rest = rest.partition(" ")[2].lstrip()
    return parts[0], rest


def _parses(text: str, file: str, budget: list[int]) -> bool:
    budget[0] -= len(text)
    if budget[0] < 0:
        raise LimitExceeded("holds too many lines for IPython to be told from Python", file=file)
    try:
        parse(text, file)
    except CheckpointError:
        return False
    return True


@cache
def _magics() -> dict[str, str]:
    """Give the kind of each magic of note; `python` for those that run what follows them."""
    table = load("python_calls")["magics"]
    return {name: kind for kind, names in table.items() for name in names}
