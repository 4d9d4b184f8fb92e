"""Python files that ride with a model: which of them a library would import, and what they do.

Under remote-code trust a library imports the files that configurations name, and what those
import from beside them. What they do on import happens before any weight is read. The other
Python files, notebooks, and most of what archives hold run only if somebody runs them, so they
are told as notes. Nothing is run here.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.base import few, shortened
from steelyard.analyzers.code import notebooks
from steelyard.analyzers.code.archives import zip_names
from steelyard.analyzers.code.bundles import SEPARATOR, Bundles, may_hold
from steelyard.analyzers.code.notebooks import Notebook
from steelyard.analyzers.code.python import Script, Use, examine
from steelyard.analyzers.code.reading import MOST_BYTES, Rider, is_local, riders
from steelyard.analyzers.code.remote import Target, asked
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError, SourceError
from steelyard.facts import Basis, Evidence, Fact
from steelyard.knowledge import load

_LONGEST: Final = 1_000_000
_MOST_BYTES: Final = 12_000_000
_MOST_EVIDENCE: Final = 50
_MOST_CELLS: Final = 3
_NOTEBOOK: Final = ".ipynb"
_SUFFIXES: Final = frozenset({".py", ".pyw", ".pyi"})


@dataclass(frozen=True, slots=True)
class _Found:
    """One use, and where it is written."""

    path: str
    """As it is told: a file, or an archive and its member."""
    use: Use
    notebook: Notebook | None = None

    def told(self) -> str:
        """Say it in one line."""
        use, place = self.use, f":{self.use.line}"
        when = "when it is imported" if use.at_import else "when its functions are used"
        if self.notebook is not None:
            cell, line = self.notebook.place(use.line)
            place = f" cell {cell}:{line}"
            when = "when its cells are run" if use.at_import else when
        meaning = load("python_calls")["meanings"][use.kind]
        return f"{self.path}{place} {use.name.removeprefix('builtins.')} {meaning}, {when}"

    def shown(self) -> Evidence:
        """Place it: a line of a file, or a field where it has no lines of its own."""
        file, _, member = self.path.partition(SEPARATOR)
        if self.notebook is not None:
            cell, line = self.notebook.place(self.use.line)
            field = f"{member} cells.{cell - 1}.source.{line - 1}".strip()
            return Evidence(file=file, field=shortened(field), quote=self.use.name)
        if member:
            field = f"{member}:{self.use.line}"
            return Evidence(file=file, field=shortened(field), quote=self.use.name)
        return Evidence(file=file, line=self.use.line, quote=self.use.name)


@dataclass(slots=True)
class _Read:
    """What was read of a model's Python, by place."""

    scripts: dict[str, Script] = field(default_factory=dict)
    notebooks: dict[str, Notebook] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    loaded: frozenset[str] = frozenset()
    """Members of archives that a library imports when it opens them."""

    def take(self, rider: Rider) -> None:
        """Examine one file."""
        if rider.unread:
            self.unread[rider.path] = rider.unread
            return
        try:
            if _suffix(rider.path) == _NOTEBOOK:
                notebook = notebooks.examine(rider.data, rider.path)
                self.notebooks[rider.path] = notebook
                if notebook.unread:
                    self.unread[rider.path] = ", ".join(notebook.unread[:_MOST_CELLS])
            else:
                self.scripts[rider.path] = examine(rider.data, rider.path)
        except CheckpointError as error:
            line = f" (line {error.line})" if error.line else ""
            self.unread[rider.path] = f"{error.what}{line}"

    @property
    def places(self) -> list[str]:
        """Name all that is there, read or not."""
        return sorted({*self.scripts, *self.notebooks, *self.unread})


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the Python files, those that would be imported, and what they would do."""
    read = _gather(model)
    scripts, unread, places = read.scripts, read.unread, read.places
    configured = asked(model)
    loaded = _loaded(configured.targets, read)
    for path in sorted(loaded - set(places)):
        unread[path] = "is named by a configuration, but is not there"
    yield _set("code.scripts", few(places), [Evidence(file=_file(path)) for path in places])
    unread |= configured.unread
    there = {file.path for file in model.source.files}
    # What is not there is shown where it is asked for.
    where = {each.path: each.config for each in configured.targets if each.path not in there}
    yield _set(
        "code.scripts.loaded",
        few(sorted(loaded)),
        [Evidence(file=where.get(path, _file(path))) for path in sorted(loaded)],
    )
    modules = sorted({name for path in loaded & scripts.keys() for name in scripts[path].imports})
    yield _set("code.scripts.imports", few(modules), [])
    grades: dict[str, list[_Found]] = {"runs": [], "reaches": [], "other": []}
    for found in _uses(read):
        if (grade := _grade(found.use, found.path in loaded)) is not None:
            grades[grade].append(found)
    for name, uses in grades.items():
        yield _set(
            f"code.scripts.{name}", few(use.told() for use in uses), [use.shown() for use in uses]
        )
    yield _set(
        "code.scripts.unread",
        few(f"{path} {why}" for path, why in unread.items()),
        [Evidence(file=where.get(path, _file(path)), quote=why) for path, why in unread.items()],
    )


def _gather(model: Model) -> _Read:
    """Read Python files, and, where they are at hand, notebooks and what archives hold."""
    read = _Read()
    for rider in riders(model, _is_python, _LONGEST, _MOST_BYTES):
        read.take(rider)
    for rider in riders(model, lambda path: _is_notebook(model, path), notebooks.LONGEST):
        read.take(rider)
    bundles = Bundles(_longest)
    left = MOST_BYTES
    for path, is_weights in _archives(model):
        with contextlib.suppress(SourceError), model.source.open(path) as reader:
            if is_weights and not any(map(_longest, zip_names(reader))):
                continue
            for rider in bundles.within(reader):
                left -= len(rider.data)
                why = "comes after all that is read for one question" if left < 0 else rider.unread
                read.take(Rider(rider.path, rider.data, why))
    read.loaded = frozenset(bundles.loaded)
    return read


def _archives(model: Model) -> Iterator[tuple[str, bool]]:
    """Yield the files that may be archives, and whether they are weights: these have many members.

    What TorchScript keeps as Python is its own code, which another question is about.
    """
    weights = {
        path: (item.format, item.metadata.get("layout"))
        for item in model.weights
        for path in item.files
    }
    for file in model.source.files:
        name, layout = weights.get(file.path, ("pytorch", None))
        may_be = name == "pytorch" and layout != "torchscript" and may_hold(file.path)
        if file.size and may_be and is_local(model, file.path):
            yield file.path, file.path in weights


def _uses(read: _Read) -> Iterator[_Found]:
    for path, script in read.scripts.items():
        yield from (_Found(path, use) for use in script.uses)
    for path, notebook in read.notebooks.items():
        yield from (_Found(path, use, notebook) for use in notebook.script.uses)


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


def _loaded(targets: Iterable[Target], read: _Read) -> frozenset[str]:
    """Name the files that a library would import, with what those import from beside them."""
    named = {target.path for target in targets if not target.repository}
    places = frozenset(read.places)
    by_name = [item["path"] for item in load("python_calls")["loaded_by_name"]]
    waiting = [*named, *by_name, *read.loaded]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or (path not in places and path not in named):
            continue
        seen.add(path)
        if path in read.scripts:
            waiting += _beside(path, read.scripts[path].relative)
            if SEPARATOR in path:
                # The folder to which it is unpacked is where Python looks first.
                waiting += _beside(path, read.scripts[path].imports)
    return frozenset(seen)


def _beside(path: str, modules: Iterable[str]) -> Iterator[str]:
    archive, separator, member = path.rpartition(SEPARATOR)
    folder = posixpath.dirname(member)
    for module in modules:
        base = archive + separator + posixpath.join(folder, module.replace(".", "/"))
        yield f"{base}.py"
        yield f"{base}/__init__.py"


def _longest(name: str) -> int:
    """Say how much of a member of an archive is read: of a notebook more, of others nothing."""
    if _suffix(name) == _NOTEBOOK:
        return notebooks.LONGEST
    return _LONGEST if _is_python(name) else 0


def _is_python(path: str) -> bool:
    return _suffix(path) in _SUFFIXES


def _is_notebook(model: Model, path: str) -> bool:
    """Tell a notebook that is at hand: nothing loads one, and pictures make it long."""
    return _suffix(path) == _NOTEBOOK and is_local(model, path)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _file(place: str) -> str:
    return place.partition(SEPARATOR)[0]


def _set(name: str, value: frozenset[str], evidence: list[Evidence]) -> Fact:
    return Fact(name, value, Basis.MEASURED, tuple(evidence[:_MOST_EVIDENCE]))
