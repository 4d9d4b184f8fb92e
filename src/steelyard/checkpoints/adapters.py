"""Read the settings of a parameter-efficient adapter (`adapter_config.json`).

An adapter is a small weights set that changes a base model: its tensors come from the usual
readers, this module reads only what it says of itself. Fields and types are those of
`PeftConfig` and `LoraConfig` of the PEFT library. Unknown fields are left alone: each kind of
adapter has its own, and they grow with every release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steelyard.checkpoints.documents import JsonValue, shown
from steelyard.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What an adapter says of itself. None and empty mean that it does not say."""

    peft_type: str | None = None
    """The kind of adapter, in capitals: `LORA`, `IA3`, `PREFIX_TUNING`, ..."""
    base_model_name_or_path: str | None = None
    """The model that it changes: a repository's name, or a path on its maker's machine."""
    r: int | None = None
    """Rank of a LoRA's update."""
    lora_alpha: float | None = None
    """Scale of a LoRA's update: it is multiplied by `lora_alpha / r`."""
    target_modules: tuple[str, ...] = ()
    """Modules that it changes: name endings, or a single regular expression."""
    task_type: str | None = None
    """What it is for: `CAUSAL_LM`, `SEQ_CLS`, ..."""
    modules_to_save: tuple[str, ...] = ()
    """Modules of the base that it replaces whole."""


def read_config(value: JsonValue, file: str) -> AdapterConfig:
    """Take an adapter's settings from its parsed document.

    Raises:
        CheckpointError: If the document is not an object, or a field has a wrong type.
    """
    if not isinstance(value, dict):
        raise _wrong("the document", "an object", value, file)
    return AdapterConfig(
        peft_type=_text(value, "peft_type", file),
        base_model_name_or_path=_text(value, "base_model_name_or_path", file),
        r=_rank(value, file),
        lora_alpha=_number(value, "lora_alpha", file),
        target_modules=_texts(value, "target_modules", file),
        task_type=_text(value, "task_type", file),
        modules_to_save=_texts(value, "modules_to_save", file),
    )


def _text(config: Mapping[str, JsonValue], key: str, file: str) -> str | None:
    value = config.get(key)
    if value is None or isinstance(value, str):
        return value
    raise _wrong(f"`{key}`", "a text", value, file)


def _rank(config: Mapping[str, JsonValue], file: str) -> int | None:
    value = config.get("r")
    if value is None or (type(value) is int and value >= 0):
        return value
    raise _wrong("`r`", "a whole number from 0 up", value, file)


def _number(config: Mapping[str, JsonValue], key: str, file: str) -> float | None:
    value = config.get(key)
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise _wrong(f"`{key}`", "a number", value, file)


def _texts(config: Mapping[str, JsonValue], key: str, file: str) -> tuple[str, ...]:
    """Take a list of texts; a single text stands for a list of one."""
    value = config.get(key)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    texts = (
        tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
    )
    if isinstance(value, list) and len(texts) == len(value):
        return texts
    raise _wrong(f"`{key}`", "a text or a list of texts", value, file)


def _wrong(what: str, wanted: str, value: JsonValue, file: str) -> CheckpointError:
    return CheckpointError(
        f"{what} is not {wanted}",
        why=f"it is {_kind(value)}",
        fix="correct the adapter's settings, or ask its maker to",
        file=file,
    )


def _kind(value: JsonValue) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, (int, float)):
        return shown(str(value))[1:-1]
    if isinstance(value, str):
        return shown(value)
    return "a list" if isinstance(value, list) else "an object"
