"""Python files that ride with a model: which of them a library would import, and what they do.

Under remote-code trust a library imports the files that configurations name, and what those
import from beside them. What they do on import happens before any weight is read. The other
Python files run only if somebody runs them, so they are told as notes. Nothing is run here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.base import few
from steelyard.analyzers.code.python import Script, Use, examine
from steelyard.analyzers.code.reading import riders
from steelyard.analyzers.code.remote import Target, asked
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError
from steelyard.facts import Basis, Evidence, Fact
from steelyard.knowledge import load

_LONGEST: Final = 1_000_000
_MOST_BYTES: Final = 12_000_000
_MOST_EVIDENCE: Final = 50
_SUFFIXES: Final = frozenset({".py", ".pyw", ".pyi"})
_COMPILED: Final = frozenset({".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib"})

Found = tuple[str, Use]


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the Python files, those that would be imported, and what they would do."""
    scripts: dict[str, Script] = {}
    unread: dict[str, str] = {}
    for rider in riders(model, _is_python, _LONGEST, _MOST_BYTES):
        if rider.unread:
            unread[rider.path] = rider.unread
            continue
        try:
            scripts[rider.path] = examine(rider.data, rider.path)
        except CheckpointError as error:
            line = f" (line {error.line})" if error.line else ""
            unread[rider.path] = f"{error.what}{line}"
    paths = [*scripts, *unread]
    configured = asked(model)
    loaded = _loaded(configured.targets, scripts, frozenset(paths))
    for path in sorted(loaded - set(paths)):
        unread[path] = "is named by a configuration, but is not there"
    yield _set("code.scripts", few(sorted(paths)), [Evidence(file=path) for path in sorted(paths)])
    unread |= configured.unread
    compiled = [file.path for file in model.source.files if _suffix(file.path) in _COMPILED]
    yield _set("code.compiled", few(compiled), [Evidence(file=path) for path in compiled])
    there = {file.path for file in model.source.files}
    # What is not there is shown where it is asked for.
    where = {each.path: each.config for each in configured.targets if each.path not in there}
    yield _set(
        "code.scripts.loaded",
        few(sorted(loaded)),
        [Evidence(file=where.get(path, path)) for path in sorted(loaded)],
    )
    modules = sorted({name for path in loaded & scripts.keys() for name in scripts[path].imports})
    yield _set("code.scripts.imports", few(modules), [])
    grades: dict[str, list[Found]] = {"runs": [], "reaches": [], "other": []}
    for path, script in scripts.items():
        for use in script.uses:
            if (grade := _grade(use, path in loaded)) is not None:
                grades[grade].append((path, use))
    for name, found in grades.items():
        yield _set(f"code.scripts.{name}", few(map(_told, found)), list(map(_shown, found)))
    yield _set(
        "code.scripts.unread",
        few(f"{path} {why}" for path, why in unread.items()),
        [Evidence(file=where.get(path, path), quote=why) for path, why in unread.items()],
    )


def _grade(use: Use, loaded: bool) -> str | None:
    """Say which fact a use belongs to, if any: `runs`, `reaches` or `other`."""
    if use.kind in ("obfuscated", "reordered"):
        # Nobody hides what they may show, wherever it stands.
        return "runs"
    if use.kind == "reads" or (use.kind == "writes" and not use.at_import):
        # Any code that keeps a vocabulary does so.
        return "other" if loaded else None
    if not loaded:
        return "other"
    return "runs" if use.at_import else "reaches"


def _loaded(
    targets: Iterable[Target], scripts: Mapping[str, Script], paths: frozenset[str]
) -> frozenset[str]:
    """Name the files that a library would import, with what those import from beside them."""
    named = {target.path for target in targets if not target.repository}
    waiting = [*named, *(item["path"] for item in load("python_calls")["loaded_by_name"])]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or (path not in paths and path not in named):
            continue
        seen.add(path)
        if path in scripts:
            waiting += _beside(path, scripts[path].relative)
    return frozenset(seen)


def _beside(path: str, modules: Iterable[str]) -> Iterator[str]:
    folder = posixpath.dirname(path)
    for module in modules:
        base = posixpath.join(folder, module.replace(".", "/"))
        yield f"{base}.py"
        yield f"{base}/__init__.py"


def _is_python(path: str) -> bool:
    return _suffix(path) in _SUFFIXES


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _told(found: Found) -> str:
    path, use = found
    when = "when it is imported" if use.at_import else "when its functions are used"
    meaning = load("python_calls")["meanings"][use.kind]
    return f"{path}:{use.line} {use.name.removeprefix('builtins.')} {meaning}, {when}"


def _shown(found: Found) -> Evidence:
    path, use = found
    return Evidence(file=path, line=use.line, quote=use.name)


def _set(name: str, value: frozenset[str], evidence: list[Evidence]) -> Fact:
    return Fact(name, value, Basis.MEASURED, tuple(evidence[:_MOST_EVIDENCE]))
