"""What pickles would import and call.

Nothing is run or imported here. Three grades, by an allowlist and never by a blocklist alone:
what only rebuilds tensors is silent, what is known to run commands is dangerous, and whatever
is neither is unknown, so that `code.unsafe` stays unsettled and the names are shown. So it does
when some file could not be read, and when there are no weights to load.
"""

from __future__ import annotations

from collections.abc import Iterable

from steelyard.analyzers.base import few, shortened
from steelyard.analyzers.code.grades import grade
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint, PickleImport, ProblemKind
from steelyard.facts import Basis, Evidence, Fact

_MOST_EVIDENCE = 50
_SCRIPT_MODULE = "__torch__."
_UNREAD = frozenset({ProblemKind.NOT_FULLY_READ, ProblemKind.UNREADABLE})


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what would be imported or run if the model were loaded."""
    pickles = [weights for weights in model.weights if weights.format == "pytorch"]
    imports = sorted(
        {found for weights in model.weights for found in weights.imports},
        key=lambda found: (found.file, found.offset, found.name),
    )
    files = sorted({path for weights in pickles for path in weights.files})
    holds_pickle = bool(pickles or imports)
    evidence = tuple(Evidence(file=path) for path in files[:_MOST_EVIDENCE])
    yield Fact("code.pickle", holds_pickle, Basis.MEASURED, evidence)
    own = _scripts(pickles)
    grades = {name: grade(name) for name in {found.name for found in imports}}
    strange = [
        found
        for found in imports
        if grades[found.name] != "rebuilds"
        and not (found.file in own and found.name.startswith(_SCRIPT_MODULE))
    ]
    dangerous = [found for found in strange if grades[found.name] == "dangerous"]
    names = few(found.name for found in (*dangerous, *strange))
    yield Fact("code.imports", names, Basis.MEASURED, _show(strange))
    if dangerous:
        yield Fact("code.unsafe", True, Basis.MEASURED, _show(dangerous))
    elif model.weights and not strange and not _unread(model):
        yield Fact("code.unsafe", False, Basis.MEASURED, _show(imports[:1]))


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

    That this code was not read is a problem of the checkpoint, so nothing clears it either.
    """
    return frozenset(
        path
        for weights in pickles
        if weights.metadata.get("layout") == "torchscript"
        for path in weights.files
    )


def _show(found: Iterable[PickleImport]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            file=item.file,
            offset=item.offset,
            quote=f"{shortened(item.name)}{' is called' if item.called else ''}",
        )
        for item in list(found)[:_MOST_EVIDENCE]
    )
