"""What `config.json` and GGUF metadata state about a model's architecture.

Families call the same width by different names, and multimodal models keep the language model's
configuration in a part of their own. `knowledge/architectures.yaml` says which field means what;
here the fields are read, and nothing is concluded. A field that is absent, of the wrong type or
not the same in every layer states nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steelyard import knowledge
from steelyard.analyzers.base import shortened
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import MetadataValue
from steelyard.facts import Evidence

_LARGEST = 2**53
_EXPERT_SIZE = "expert_intermediate_size"
_DOCUMENT = "config.json"


@dataclass(frozen=True, slots=True)
class Stated:
    """What one document states."""

    family: str | None
    """As `model_type` has it; None when the document names none that is known."""
    family_evidence: Evidence
    inner_family: str | None = None
    """The family of the language model within; the same as `family` where there is no other."""
    sizes: Mapping[str, tuple[int, Evidence]] = field(default_factory=dict)
    """By fact name without `model.`: `hidden_size`, `experts.active`, ..."""


def knowledge_of(section: str) -> Any:
    """Return one section of the table of architectures."""
    return knowledge.load("architectures")[section]


def family_of(model_type: str) -> str:
    """Return the usual spelling of a `model_type`."""
    spelling: str = knowledge_of("aliases").get(model_type, model_type)
    return spelling


def is_config(content: Mapping[str, JsonValue]) -> bool:
    """Tell whether a `config.json` is one of Transformers; other tools use the name too."""
    return isinstance(content.get("model_type"), str) or isinstance(
        content.get("architectures"), list
    )


def read_config(model: Model) -> Stated | None:
    """Read the `config.json` that belongs to the weights; None when there is none."""
    found = model.config(_DOCUMENT)
    if found is None or not is_config(found[1]):
        return None
    path, content = found
    prefix, inner = language_part(content)
    family, inner_family = _family(content), _family(inner)
    fields = dict(knowledge_of("fields"))
    special = knowledge_of("family_fields")
    fields.update(special.get(inner_family or family, special.get(family, {})))
    sizes: dict[str, tuple[int, Evidence]] = {}
    for name, candidates in fields.items():
        for candidate in candidates:
            value = _uniform(_lookup(inner, candidate))
            if value is not None:
                sizes[name] = (value, Evidence(file=path, field=f"{prefix}{candidate}"))
                break
    positions = knowledge_of("positions").get(inner_family or family)
    if positions and "context_length" in sizes:
        value, evidence = sizes["context_length"]
        sizes["context_length"] = (max(value - positions["config"], 1), evidence)
    main = model.main
    if main is not None and main.format == "gguf":
        # llama.cpp's converter cuts rows that no token uses: the file has fewer than this says.
        sizes.pop("vocabulary_size", None)
    evidence = Evidence(file=path, field="model_type")
    return Stated(family, evidence, inner_family or family, _experts_settled(sizes))


def language_part(content: Mapping[str, JsonValue]) -> tuple[str, Mapping[str, JsonValue]]:
    """Find the language model's part of a configuration; return its prefix and its fields."""
    for path in knowledge_of("nested"):
        part = _lookup(content, path)
        if isinstance(part, dict):
            return f"{path}.", part
    return "", content


def read_gguf(model: Model) -> Stated | None:
    """Read the metadata of a GGUF file; None when the main weights are in another format."""
    main = model.main
    if main is None or main.format != "gguf":
        return None
    architecture = main.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        return None
    file, table = main.files[0], knowledge_of("gguf")
    skipped = table["skip"].get(architecture, [])
    layers = main.metadata.get(f"{architecture}.{table['keys']['layers']}")
    sizes: dict[str, tuple[int, Evidence]] = {}
    for name, suffix in table["keys"].items():
        key = f"{architecture}.{suffix}"
        value = _uniform(main.metadata.get(key), layers)
        if value is not None and name not in skipped:
            sizes[name] = (value, Evidence(file=file, field=key))
    if any(f"{architecture}.{key}" in main.metadata for key in table["several_head_sizes"]):
        sizes.pop("head_size", None)
    # Layers that predict further tokens are counted with the others.
    extra = _uniform(main.metadata.get(f"{architecture}.nextn_predict_layers"))
    if extra is not None and "layers" in sizes and sizes["layers"][0] > extra:
        sizes["layers"] = (sizes["layers"][0] - extra, sizes["layers"][1])
    family = _gguf_family(model, architecture)
    evidence = Evidence(file=file, field="general.architecture")
    return Stated(family, evidence, family, _experts_settled(sizes))


def _family(content: Mapping[str, JsonValue]) -> str | None:
    model_type = content.get("model_type")
    return family_of(shortened(model_type)) if isinstance(model_type, str) and model_type else None


def _gguf_family(model: Model, architecture: str) -> str | None:
    """Tell which family a GGUF architecture stands for, minding a `config.json` beside it."""
    candidates = knowledge_of("gguf")["families"].get(architecture)
    found = model.config(_DOCUMENT)
    if found is not None and is_config(found[1]):
        stated = (_family(found[1]), _family(language_part(found[1])[1]))
        if candidates is None or any(family in candidates for family in stated):
            return stated[0]
    return candidates[0] if candidates else None


def _experts_settled(sizes: dict[str, tuple[int, Evidence]]) -> dict[str, tuple[int, Evidence]]:
    """Take the width of one expert for the intermediate size where there are experts."""
    expert = sizes.pop(_EXPERT_SIZE, None)
    if "experts" not in sizes:
        sizes.pop("experts.active", None)
    elif expert is not None:
        sizes["intermediate_size"] = expert
    return sizes


def _lookup(content: Mapping[str, JsonValue], path: str) -> JsonValue:
    value: JsonValue = dict(content)
    for word in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(word)
    return value


def _uniform(value: JsonValue | MetadataValue, layers: MetadataValue = None) -> int | None:
    """Return a positive whole number, or the one that all layers share; None for all else."""
    if isinstance(value, list | tuple):
        cut = len(value) >= DEFAULT_LIMITS.kept_items and len(value) != layers
        if not value or cut or any(item != value[0] for item in value):
            return None
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= _LARGEST else None
