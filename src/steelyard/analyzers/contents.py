"""What lies there: files, sizes, formats, and which weights set is the model."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import PurePosixPath

from steelyard.analyzers.base import few
from steelyard.checkpoints.grouping import is_adapter
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint
from steelyard.facts import Basis, Evidence, Fact
from steelyard.knowledge import load
from steelyard.sources.base import SkipReason

SIGNATURE_SUFFIXES = (".sig", ".sigstore", ".sigstore.json")
"""How detached signatures of a model are named (OpenSSF model signing uses `model.sig`)."""

FILE_TYPE = "general.file_type"
"""The GGUF key that numbers the mixture of encodings of a file."""

_MOST_EVIDENCE = 50


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what the listing and the headers show."""
    files = model.source.files
    yield Fact("files.count", len(files), Basis.MEASURED)
    yield Fact("files.bytes", sum(file.size for file in files), Basis.MEASURED)
    yield from _skipped(model)
    signatures = [file.path for file in files if file.path.endswith(SIGNATURE_SUFFIXES)]
    yield Fact("signature.present", bool(signatures), Basis.MEASURED, _files(signatures))
    yield Fact("weights.present", any(w.tensors for w in model.weights), Basis.MEASURED)
    formats = {weights.format: weights.files[0] for weights in reversed(model.weights)}
    if formats:
        yield Fact(
            "model.formats", frozenset(formats), Basis.MEASURED, _files(sorted(formats.values()))
        )
    if model.main is not None:
        yield from _main(model.main)
    others = [weights for weights in model.weights[1:] if weights.tensors]
    if others:
        names = [set_name(weights) for weights in others]
        yield Fact("weights.other", few(names), Basis.MEASURED, _files(names))
    adapters = [weights.files[0] for weights in model.weights if is_adapter(weights)]
    if model.weights:
        yield Fact("adapter.present", bool(adapters), Basis.MEASURED, _files(adapters))


def set_name(weights: Checkpoint) -> str:
    """Name a weights set for a person: its file, or its first file and how many follow."""
    first = weights.files[0]
    return first if len(weights.files) == 1 else f"{first} and {len(weights.files) - 1} more"


def encodings(weights: Checkpoint) -> dict[str, int]:
    """Count the bytes of a weights set by encoding (the element type where that is plain)."""
    sizes: dict[str, int] = {}
    for tensor in weights.tensors:
        key = tensor.encoding if tensor.quantized else tensor.dtype
        sizes[key] = sizes.get(key, 0) + tensor.nbytes
    return sizes


def _main(weights: Checkpoint) -> Iterable[Fact]:
    evidence = _files(weights.files[:1])
    sizes = encodings(weights)
    yield Fact("weights.main", set_name(weights), Basis.MEASURED, evidence)
    yield Fact("weights.bytes", sum(sizes.values()), Basis.MEASURED, evidence)
    yield Fact("weights.format", weights.format, Basis.MEASURED, evidence)
    mixture = load("gguf_file_types").get(weights.metadata.get(FILE_TYPE))
    if mixture is not None and weights.format == "gguf":
        # A mixture of encodings is known by its name; most bytes may be of another.
        where = Evidence(file=weights.files[0], field=FILE_TYPE)
        yield Fact("weights.encoding", mixture, Basis.DECLARED, (where,))
    elif sizes:
        most = max(sorted(sizes), key=sizes.__getitem__)
        yield Fact("weights.encoding", most, Basis.MEASURED, evidence)
    if sizes:
        yield Fact("model.encodings", frozenset(sizes), Basis.MEASURED, evidence)


def _skipped(model: Model) -> Iterable[Fact]:
    escaping = [s for s in model.source.skipped if s.reason is SkipReason.ESCAPES]
    others = [s for s in model.source.skipped if s.reason is not SkipReason.ESCAPES]
    for name, skipped in (("files.escaping", escaping), ("files.skipped", others)):
        yield Fact(
            name,
            few(s.path for s in skipped),
            Basis.MEASURED,
            tuple(Evidence(file=s.path, quote=s.detail or s.reason.value) for s in skipped[:20]),
        )


def _files(paths: Iterable[str]) -> tuple[Evidence, ...]:
    return tuple(Evidence(file=str(PurePosixPath(path))) for path in islice(paths, _MOST_EVIDENCE))
