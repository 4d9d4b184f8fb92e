"""Packs from files: read, checked, and refused with file and line when something is wrong."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from steelyard.errors import FactError, PackError
from steelyard.facts import Basis, Fact, Term, term, vocabulary
from steelyard.packs import Resource, shipped
from steelyard.rules.deadline import Deadline
from steelyard.rules.lines import Path, Tree, read_yaml
from steelyard.rules.pack import (
    PRACTICE,
    Argument,
    Assumption,
    Case,
    Citation,
    DatedValue,
    Duty,
    Expectation,
    PackText,
    Parameter,
    Rule,
    Start,
)
from steelyard.rules.values import TERMS

_PARTS: Final[Mapping[str, type[BaseModel]]] = {
    "parameters": Parameter,
    "values": DatedValue,
    "assumptions": Assumption,
    "applies_from": Start,
    "enforceable_from": Start,
    "arguments": Argument,
    "deadline": Deadline,
    "rules": Rule,
    "duties": Duty,
    "citation": Citation,
    "tests": Case,
    "expect": Expectation,
}
_LARGEST: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Pack:
    """Rules of one instrument or practice, from one file."""

    id: str
    title: str
    rules: tuple[Rule, ...]
    file: str
    digest: str
    """Digest of the file's text, `sha256:hex`: a report names the rules it used by it."""
    lines: Mapping[Path, int]
    """The line of each part of the file."""
    instrument: str = ""
    jurisdiction: str = PRACTICE
    parameters: tuple[Parameter, ...] = ()
    assumptions: tuple[Fact, ...] = ()

    def line(self, rule: str, *path: str | int) -> int | None:
        """Return the line of a rule, or of the part of it that `path` leads to."""
        index = next((i for i, r in enumerate(self.rules) if r.id == rule), None)
        return None if index is None else _line(("rules", index, *path), self.lines)


def load_pack(text: str, file: str) -> Pack:
    """Read one pack.

    Args:
        text: The YAML text.
        file: Its name, for errors and reports.

    Raises:
        PackError: If it is not a pack; with the line of the first thing that is wrong.
    """
    tree, lines = read_yaml(text, file)
    try:
        parsed = PackText.model_validate(tree, context={TERMS: _terms(tree)})
        assumptions = tuple(_assumed(item, n) for n, item in enumerate(parsed.assumptions))
    except ValidationError as error:
        raise _first(error, tree, lines, file) from None
    except PackError as error:
        raise PackError(error.what, fix=error.fix, file=file, line=1) from None
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    pack = Pack(
        id=parsed.id,
        title=parsed.title,
        rules=tuple(_placed(rule, parsed.jurisdiction) for rule in parsed.rules),
        file=file,
        digest=f"sha256:{digest}",
        lines=lines,
        instrument=parsed.instrument,
        jurisdiction=parsed.jurisdiction,
        parameters=parsed.parameters,
        assumptions=assumptions,
    )
    _distinct([pack])
    return pack


def _placed(rule: Rule, jurisdiction: str) -> Rule:
    """Give a rule the pack's jurisdiction unless it states its own."""
    if "jurisdiction" in rule.model_fields_set or jurisdiction == PRACTICE:
        return rule
    return rule.model_copy(update={"jurisdiction": jurisdiction})


def _terms(tree: Tree) -> Mapping[str, Term]:
    """Return the names that the pack's conditions may use: the vocabulary and its parameters."""
    terms = dict(vocabulary())
    given = tree.get("parameters") if isinstance(tree, dict) else None
    for item in given if isinstance(given, list) else ():
        try:
            parameter = Parameter.model_validate(item)
        except ValidationError:
            continue  # told with its line when the whole pack is validated
        terms[parameter.term.name] = parameter.term
    return terms


def _assumed(item: Assumption, number: int) -> Fact:
    known = term(item.fact)
    try:
        value = known.parse(str(item.value))
    except FactError as error:
        raise PackError(f"assumption number {number + 1}: {error.what}", fix=error.fix) from None
    return Fact(item.fact, value, Basis.ASSUMED, note=item.reason)


def load_packs(
    paths: Iterable[FilePath] | None = None, *, under: str = "", naming: Iterable[str] = ("",)
) -> tuple[Pack, ...]:
    """Read packs from files and folders, by default all that come with Steelyard.

    Args:
        paths: Files, and folders in which every `*.yaml` is a pack.
        under: Of those that come with Steelyard, only the ones in this folder (`practice`).
        naming: Only packs whose text has one of these: no rule of another names such a fact.

    Raises:
        PackError: If a file cannot be read or is not a pack, or an id is used twice.
    """
    found = shipped(under) if paths is None else [item for path in paths for item in _files(path)]
    wanted = tuple(naming)
    texts = ((_text(item), item.name) for item in found)
    packs = tuple(load_pack(text, name) for text, name in texts if any(n in text for n in wanted))
    _distinct(packs)
    return packs


def _files(path: FilePath) -> list[Resource]:
    if path.is_dir():
        return [
            Resource(f"{path.name}/{item.relative_to(path).as_posix()}", item)
            for item in sorted(path.rglob("*.yaml"))
        ]
    return [Resource(path.name, path)]


def _text(item: Resource) -> str:
    try:
        with item.path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise PackError(f"a pack of more than {_LARGEST} bytes", fix="split it", file=item.name)
        return data.decode("utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise PackError("the pack cannot be read", why=why, file=item.name) from None
    except UnicodeDecodeError as error:
        raise PackError("the pack is not UTF-8", why=error.reason, file=item.name) from None


def _distinct(packs: Iterable[Pack]) -> None:
    seen: dict[str, str] = {}
    for pack in packs:
        for rule in pack.rules:
            for name in (rule.id, *rule.aliases):
                if name in seen:
                    raise PackError(
                        f"the id {name!r} is used twice",
                        why=f"also in {seen[name]}",
                        fix="ids are given once and never reused",
                        file=pack.file,
                        line=pack.line(rule.id),
                    )
                seen[name] = pack.file


# --- errors -------------------------------------------------------------------------------


def _first(error: ValidationError, tree: Tree, lines: Mapping[Path, int], file: str) -> PackError:
    """Turn what pydantic says into one error: the first in the file.

    A misspelled key is both unknown and missed; only the unknown one is told.
    """
    details = error.errors(include_url=False, include_input=False)
    misspelled = {item["loc"][:-1] for item in details if item["type"] == "extra_forbidden"}
    found = [
        _explain(item, tree, lines, file)
        for item in details
        if item["type"] != "missing" or item["loc"][:-1] not in misspelled
    ]
    return min(found, key=lambda e: e.line or 0)


def _explain(item: ErrorDetails, tree: Tree, lines: Mapping[Path, int], file: str) -> PackError:
    context: Mapping[str, Any] = item.get("ctx", {})
    loc: Path = (*item["loc"], *context.get("at", ()))
    line = _line(loc, lines)
    owner = _owner(loc, tree)
    match item["type"]:
        case "missing":
            return PackError(
                f"{owner} lacks `{loc[-1]}`",
                fix="add it: without it the rule does not load",
                file=file,
                line=line,
            )
        case "extra_forbidden":
            return PackError(
                f"{owner} has an unknown key `{loc[-1]}`", fix=_suggest(loc), file=file, line=line
            )
        case "pack":
            what, why, fix = context["what"], context["why"], context["fix"]
            return PackError(f"{owner}: {what}", why=why, fix=fix, file=file, line=line)
    field = f" `{loc[-1]}`" if loc else ""
    return PackError(f"{owner}:{field} does not fit", why=item["msg"], file=file, line=line)


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    """Return the line of the innermost part of `path` that is there."""
    for length in range(len(path), -1, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _owner(loc: Path, tree: Tree) -> str:
    match loc, tree:
        case ("rules", int(index), *_), {"rules": [*rules]} if index < len(rules):
            match rules[index]:
                case {"id": str(name)}:
                    return f"rule {name}"
            return f"rule number {index + 1}"
    return "the pack"


def _suggest(loc: Path) -> str:
    inner = [part for part in loc[:-1] if isinstance(part, str)]
    model = _PARTS.get(inner[-1], PackText) if inner else PackText
    near = difflib.get_close_matches(str(loc[-1]), model.model_fields, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}keys here: {', '.join(model.model_fields)}"
