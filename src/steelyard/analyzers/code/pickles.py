"""What pickles would import and call.

Every file is examined by content, whatever it is called and wherever the pickle hides
(`checkpoints/examining`); nothing is run or imported. Three grades, by an allowlist and never by a
blocklist alone: what only rebuilds tensors and plain values is silent, what is known to run
commands is dangerous, and whatever is neither is unknown, so that `code.unsafe` stays unsettled
and the names are shown. So it does when some file could not be read, or not examined to its end,
and when there is nothing to load.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from steelyard.analyzers.base import few, shortened
from steelyard.analyzers.code.grades import DANGEROUS, REBUILDS, grade
from steelyard.checkpoints.examining import Examination, examine
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint, PickleImport, Problem, ProblemKind
from steelyard.facts import Basis, Evidence, Fact

_MOST_EVIDENCE = 50
_SCRIPT_MODULE = "__torch__."
_UNREAD = frozenset({ProblemKind.NOT_FULLY_READ, ProblemKind.UNREADABLE})


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what would be imported or run if the model were loaded."""
    loaded = [weights for weights in model.weights if weights.format == "pytorch"]
    files = {path for weights in loaded for path in weights.files}
    found = examine(model.source, known=files)
    names = frozenset(file.path for file in model.source.files)
    imports = _imports(model, found, names)
    pickles = sorted({*files, *(_outer(place, names) for place in found.pickles)})
    pickled = bool(pickles or imports)
    evidence = tuple(Evidence(file=path) for path in pickles[:_MOST_EVIDENCE])
    yield Fact("code.pickle", pickled, Basis.MEASURED, evidence)
    scripts = _scripts(loaded)
    strange = _strange(imports, scripts, names)
    dangerous = [item for item in strange if grade(item.name) == DANGEROUS]
    first = (*dangerous, *(item for item in strange if grade(item.name) != DANGEROUS))
    shown = _show(first, names)
    yield Fact("code.imports", few(item.name for item in first), Basis.MEASURED, shown)
    yield Fact("code.calls", few(map(_told, first)), Basis.MEASURED, shown)
    unread = found.problems
    yield Fact("code.unread", few(map(_what, unread)), Basis.MEASURED, _show_unread(unread, names))
    if dangerous:
        yield Fact("code.unsafe", True, Basis.MEASURED, _show(dangerous, names))
    elif (model.weights or pickled) and not (strange or unread or scripts or _unread(model)):
        yield Fact("code.unsafe", False, Basis.MEASURED, _show(imports[:1], names))


def _imports(model: Model, found: Examination, names: Set[str]) -> list[PickleImport]:
    """Join what was examined and, for files that were not, what reading the weights found."""
    examined = {_outer(place, names) for place in found.pickles}
    others = {
        item
        for weights in model.weights
        for item in weights.imports
        if _outer(item.file, names) not in examined
    }
    return sorted({*found.imports, *others}, key=lambda item: (item.file, item.offset, item.name))


def _strange(imports: Iterable[PickleImport], own: Set[str], names: Set[str]) -> list[PickleImport]:
    """Leave out what only rebuilds, and the classes of TorchScript that a file carries itself."""
    return [
        item
        for item in imports
        if grade(item.name) != REBUILDS
        and not (_outer(item.file, names) in own and item.name.startswith(_SCRIPT_MODULE))
    ]


def _unread(model: Model) -> bool:
    """Tell whether some file or pickle was not read to its end, so that nothing clears it."""
    if any(problem.kind in _UNREAD for problem in model.problems):
        return True
    return any(
        problem.kind in _UNREAD
        for weights in model.weights
        if weights.format in ("pytorch", "numpy")
        for problem in weights.problems
    )


def _scripts(pickles: Iterable[Checkpoint]) -> frozenset[str]:
    """Name the TorchScript files: their classes are code that they carry, not imports.

    Loading runs that code, so nothing clears it here; what it calls is another question.
    """
    return frozenset(
        path
        for weights in pickles
        if weights.metadata.get("layout") == "torchscript"
        for path in weights.files
    )


def _outer(place: str, names: Set[str]) -> str:
    """Name the file of the source that a place lies in; its own name may hold a `!`."""
    while place not in names and "!" in place:
        place = place.rpartition("!")[0]
    return place


def _told(item: PickleImport) -> str:
    """Say what would be called, and where that is written."""
    return f"{item.chain or item.name} in {item.file} at byte {item.offset}"


def _what(problem: Problem) -> str:
    place = problem.file if problem.offset is None else f"{problem.file} at byte {problem.offset}"
    return f"{place}: {problem.what}"


def _show(found: Iterable[PickleImport], names: Set[str]) -> tuple[Evidence, ...]:
    return tuple(
        _evidence(item.file, item.offset, _quote(item), names)
        for item in list(found)[:_MOST_EVIDENCE]
    )


def _evidence(place: str, offset: int | None, quote: str, names: Set[str]) -> Evidence:
    """Name the file, and where in it: an offset within something in a file is none of the file."""
    file = _outer(place, names)
    inner = place[len(file) + 1 :]
    if not inner:
        return Evidence(file=file, offset=offset, quote=quote)
    within = inner if offset is None else f"{inner} at byte {offset}"
    return Evidence(file=file, field=shortened(within), quote=quote)


def _quote(item: PickleImport) -> str:
    name = shortened(item.name)
    if not item.called:
        return f"{name}, {item.chain}" if item.chain else name
    return f"{name} is called: {item.chain}" if item.chain else f"{name} is called"


def _show_unread(problems: Iterable[Problem], names: Set[str]) -> tuple[Evidence, ...]:
    return tuple(
        _evidence(problem.file, problem.offset, shortened(problem.what), names)
        for problem in list(problems)[:_MOST_EVIDENCE]
    )
