"""Which architecture is it: family, design, sizes, what goes in and what comes out?

Three witnesses are heard apart: `config.json` and GGUF metadata (declared), and the names and
shapes of the tensors (measured). Where they disagree the fact book shows a contradiction, so each
speaks only of what it surely means. Counts of heads, which shapes alone seldom show, are derived
from a declared count and a measured width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from steelyard.analyzers.configurations import (
    Stated,
    is_config,
    knowledge_of,
    language_part,
    read_config,
    read_gguf,
)
from steelyard.analyzers.shapes import Shapes, measure
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.grouping import is_adapter
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint, ProblemKind, Tensor
from steelyard.facts import Basis, Evidence, Fact

_SENTENCE_MODULES = "modules.json"
_INCOMPLETE = (ProblemKind.MISSING_SHARD, ProblemKind.UNREADABLE)


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what each witness says about the architecture.

    Facts: `model.architecture`, `.design`, `.layers`, `.hidden_size`, `.intermediate_size`,
    `.heads`, `.kv_heads`, `.head_size`, `.experts`, `.experts.active`, `.vocabulary_size`,
    `.context_length`, `.tied_embeddings`, `.modalities.input` and `.modalities.output`.
    """
    config, gguf = read_config(model), read_gguf(model)
    for stated in (config, gguf):
        if stated is not None:
            yield from _stated(stated)
    yield from _inputs(model, config or gguf)
    yield from _outputs(model, config or gguf)
    yield from _design(config or gguf)
    main = model.main
    if main is None or is_adapter(main):
        return
    shapes = measure(main, _extra_rows(main, config))
    yield from _measured(main, shapes)
    yield from _derived(shapes, config or gguf)
    yield from _tied(model, main, shapes, config or gguf)


def is_complete(checkpoint: Checkpoint) -> bool:
    """Tell whether every part of a weights set was found and read."""
    return not any(problem.kind in _INCOMPLETE for problem in checkpoint.problems)


def at(tensor: Tensor) -> Evidence:
    """Point at a tensor."""
    return Evidence(file=tensor.file, field=tensor.name)


def _stated(stated: Stated) -> Iterator[Fact]:
    if stated.family is not None:
        evidence = (stated.family_evidence,)
        yield Fact("model.architecture", stated.family, Basis.DECLARED, evidence)
    for name, (value, evidence_of) in stated.sizes.items():
        yield Fact(f"model.{name}", value, Basis.DECLARED, (evidence_of,))


def _measured(main: Checkpoint, shapes: Shapes) -> Iterator[Fact]:
    family = _signature(main)
    if family is not None:
        name, tensor = family
        note = "only this family names its tensors so"
        yield Fact("model.architecture", name, Basis.MEASURED, (at(tensor),), note)
    if is_complete(main):
        for short, size in shapes.sizes.items():
            yield Fact(f"model.{short}", size.value, Basis.MEASURED, (at(size.tensor),))
    if shapes.crossed is not None:
        note = "blocks of a decoder that attend to an encoder beside it"
        evidence = (at(shapes.crossed),)
        yield Fact("model.design", "encoder-decoder", Basis.MEASURED, evidence, note)
    if len(shapes.inputs) > 1 and "text" in shapes.inputs:
        found = tuple(at(tensor) for tensor in shapes.inputs.values())
        kinds = frozenset(shapes.inputs)
        note = "each kind has a stack or an embedding of its own"
        yield Fact("model.modalities.input", kinds, Basis.MEASURED, found, note)


def _signature(main: Checkpoint) -> tuple[str, Tensor] | None:
    """Name the family whose tensors alone are called so."""
    for family, endings in knowledge_of("signatures").items():
        shown = [
            next((t for t in main.tensors if f".{t.name}".endswith(f".{ending}")), None)
            for ending in endings
        ]
        if shown[0] is not None and all(shown):
            return family, shown[0]
    return None


def _extra_rows(main: Checkpoint, config: Stated | None) -> int | None:
    if main.format == "gguf":
        return 0  # the converter drops the rows that are not positions
    family = config.inner_family if config else None
    positions = knowledge_of("positions").get(family)
    rows: int | None = positions["rows"] if positions else None
    return rows


def _derived(shapes: Shapes, stated: Stated | None) -> Iterator[Fact]:
    """Divide the measured width of all heads by the declared number of heads."""
    if stated is None or "heads" not in stated.sizes or "heads" in shapes.sizes:
        return
    heads, evidence = stated.sizes["heads"]
    if shapes.queries is None or shapes.queries % heads:
        return
    head_size = shapes.queries // heads
    parents = Evidence(parents=("model.heads", "model.hidden_size"))
    note = f"queries are {shapes.queries} wide"
    yield Fact("model.head_size", head_size, Basis.DERIVED, (parents, evidence), note)
    if shapes.keys is not None and shapes.keys % head_size == 0:
        kv_heads = shapes.keys // head_size
        note = f"keys are {shapes.keys} wide, queries {shapes.queries}"
        yield Fact("model.kv_heads", kv_heads, Basis.DERIVED, (parents, evidence), note)


def _design(stated: Stated | None) -> Iterator[Fact]:
    for design in knowledge_of("designs"):
        if _designed(stated, design):
            parents = (Evidence(parents=("model.architecture",)),)
            yield Fact("model.design", design, Basis.DERIVED, parents)


def _tied(model: Model, main: Checkpoint, shapes: Shapes, stated: Stated | None) -> Iterator[Fact]:
    """Tell whether the output head is the embedding.

    A head that is stored may be a copy, so it is held against tying only where the
    configuration denies it too, or the shapes differ. A head that is not stored may belong to a
    model without one, so that is held for tying only in a model that writes text.
    """
    path, content = _transformers_config(model)
    declared = content.get("tie_word_embeddings")
    if isinstance(declared, bool) and not language_part(content)[0]:
        evidence = Evidence(file=path, field="tie_word_embeddings")
        yield Fact("model.tied_embeddings", declared, Basis.DECLARED, (evidence,))
    embedding, head = shapes.embedding, shapes.head
    if embedding is None or not is_complete(main):
        return
    answer: tuple[bool, Basis, Tensor, str] | None = None
    if head is None:
        family = stated.inner_family if stated else None
        by_default = main.format == "gguf" or family in knowledge_of("tied")
        if declared is not False and by_default and _writes_text(content, main, stated):
            note = "there is no output head among the tensors"
            answer = True, Basis.DERIVED, embedding, note
    elif same_bytes(head, embedding):
        answer = True, Basis.MEASURED, head, "both are the same bytes"
    elif head.elements != embedding.elements:
        answer = False, Basis.MEASURED, head, "the output head has another shape"
    elif declared is False:
        answer = False, Basis.DERIVED, head, "the output head is stored apart"
    if answer is not None:
        value, basis, tensor, note = answer
        yield Fact("model.tied_embeddings", value, basis, (at(tensor),), note)


def same_bytes(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors are two names for the same stored values."""
    return storage(a) == storage(b)


def storage(tensor: Tensor) -> tuple[object, ...]:
    """Return what two names for the same stored values share, and other tensors do not."""
    if tensor.offset is None and tensor.member is None:
        return (tensor.file, tensor.name)
    return (tensor.file, tensor.offset, tensor.member, tensor.nbytes, tensor.elements)


def _transformers_config(model: Model) -> tuple[str, Mapping[str, JsonValue]]:
    found = model.config()
    return found if found is not None and is_config(found[1]) else ("", {})


def _writes_text(content: Mapping[str, JsonValue], main: Checkpoint, stated: Stated | None) -> bool:
    if content:
        return "text" in _class_outputs(content)
    return main.format == "gguf" and _designed(stated, "decoder") and not _pooled(main)


def _designed(stated: Stated | None, design: str) -> bool:
    return stated is not None and stated.family in knowledge_of("designs")[design]


def _pooled(main: Checkpoint) -> bool:
    """Tell whether a GGUF model's output is pooled to one vector."""
    key = f"{main.metadata.get('general.architecture')}.pooling_type"
    return main.metadata.get(key) not in (None, 0)


def _class_outputs(content: Mapping[str, JsonValue]) -> frozenset[str]:
    classes = content.get("architectures")
    found: set[str] = set()
    for name in classes[:8] if isinstance(classes, list) else ():
        for ending, outputs in knowledge_of("class_outputs").items():
            if isinstance(name, str) and name.endswith(ending):
                found.update(outputs)
                break
    return frozenset(found)


def _inputs(model: Model, stated: Stated | None) -> Iterator[Fact]:
    if stated is None or not any(_designed(stated, d) for d in knowledge_of("designs")):
        return
    _, content = _transformers_config(model)
    kinds = set(knowledge_of("inputs").get(stated.family, ["text"]))
    kinds |= {kind for key, kind in knowledge_of("input_configs").items() if content.get(key)}
    evidence = (Evidence(parents=("model.architecture",)), stated.family_evidence)
    yield Fact("model.modalities.input", frozenset(kinds), Basis.DERIVED, evidence)


def _outputs(model: Model, stated: Stated | None) -> Iterator[Fact]:
    path, content = _transformers_config(model)
    main = model.main
    modules = model.beside(main.files[0], _SENTENCE_MODULES) if main else None
    if modules is not None and isinstance(model.json.get(modules), list):
        kinds, basis, evidence = {"embedding"}, Basis.DECLARED, Evidence(file=modules)
    elif main is not None and main.format == "gguf" and _pooled(main):
        kinds, basis, evidence = {"embedding"}, Basis.DECLARED, Evidence(file=main.files[0])
    elif outputs := _class_outputs(content):
        kinds, basis = set(outputs), Basis.DECLARED
        evidence = Evidence(file=path, field="architectures")
    elif not content and _designed(stated, "decoder"):
        kinds, basis = {"text"}, Basis.DERIVED
        evidence = Evidence(parents=("model.architecture",))
    else:
        return
    yield Fact("model.modalities.output", frozenset(kinds), basis, (evidence,))
