"""Which model this one says it is made from: card, adapter settings, headers, configuration.

Nothing here is measured. A name counts when it looks like a repository (`org/name`, or the hub's
address of one); a path on the maker's machine names nothing that others could find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from steelyard.analyzers.adapter import settings_of
from steelyard.analyzers.card.document import Card
from steelyard.analyzers.card.fields import HUB_ID, texts
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import MetadataValue
from steelyard.facts import Basis, Evidence, Fact
from steelyard.knowledge import load

_ADDRESS = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/\s]+/[^/\s?#]+)/?")
_PATH_STARTS = ("/", "./", "../", "~", "\\", "models/", "outputs/", "output/", "checkpoints/")
_MOST_BASES = 64
_NOT_ALNUM = re.compile(r"[\W_]+")
_FROM_CONFIG = "`_name_or_path` says where the configuration was loaded from: most likely the base"
_FROM_SOURCE = "what the file was converted from"


def repository(text: str, *, alone: bool = False) -> str | None:
    """Return the repository that a text names, `org/name`; None when it names none.

    Args:
        text: A name or an address on the Hub.
        alone: Take a name without an organization, too (`gpt2`).
    """
    text = text.strip()
    match = _ADDRESS.fullmatch(text)
    name = match[1] if match else text
    if not HUB_ID.fullmatch(name) or name.startswith(_PATH_STARTS) or ".." in name:
        return None
    return name if alone or "/" in name else None


def base_facts(model: Model, card: Card | None, own_name: str | None) -> Iterator[Fact]:
    """Yield every base that is named or hinted at, and how the model was made from it."""
    if card is not None:
        yield from _from_card(card)
    yield from _from_adapter(model, card)
    if model.main is not None:
        yield from _from_header(model.main.files[0], model.main.metadata)
    yield from _from_config(model, own_name)


def _from_card(card: Card) -> Iterator[Fact]:
    value = card.fields.get("base_model")
    names = [repository(name, alone=True) or clean(name) for name in texts(value)]
    yield Fact("card.base_model", bool(names), Basis.MEASURED, _where(card, "base_model"))
    if names:
        yield _base(names, card.at("base_model", clean(", ".join(names[:20]))))
    relation = card.fields.get("base_model_relation")
    if isinstance(relation, str) and relation in load("card_template")["relations"]:
        where = (card.at("base_model_relation", relation),)
        yield Fact("lineage.declared_relation", relation, Basis.DECLARED, where)
    elif relation is None and len(names) > 1:
        note = "several bases are named, which on the Hub means a merge"
        where = (card.at("base_model"),)
        yield Fact("lineage.declared_relation", "merge", Basis.DECLARED, where, note)


def _where(card: Card, name: str) -> tuple[Evidence, ...]:
    return (card.at(name),) if name in card.fields else (Evidence(file=card.path),)


def _from_adapter(model: Model, card: Card | None) -> Iterator[Fact]:
    found = settings_of(model)
    if found is None:
        return
    path, settings = found
    name = repository(settings.base_model_name_or_path or "", alone=True)
    if name is not None:
        yield _base([name], Evidence(file=path, field="base_model_name_or_path", quote=name))
    if settings.peft_type and not (card and "base_model_relation" in card.fields):
        where = (Evidence(file=path, field="peft_type"),)
        yield Fact("lineage.declared_relation", "adapter", Basis.DECLARED, where)


def _from_header(file: str, metadata: Mapping[str, MetadataValue]) -> Iterator[Fact]:
    """Read GGUF's general keys: the bases by number, and what the file was converted from."""
    count = metadata.get("general.base_model.count")
    for number in range(min(count, _MOST_BASES) if isinstance(count, int) else 1):
        key = f"general.base_model.{number}"
        name = _base_of_header(metadata, key)
        if name is not None:
            yield _base([name], Evidence(file=file, field=key, quote=name))
    for key in ("url", "repo_url", "huggingface.repository"):
        value = metadata.get(f"general.source.{key}")
        name = repository(value) if isinstance(value, str) else None
        if name is not None:
            where = Evidence(file=file, field=f"general.source.{key}", quote=name)
            yield _base([name], where, _FROM_SOURCE)


def _base_of_header(metadata: Mapping[str, MetadataValue], key: str) -> str | None:
    for part in ("repo_url", "url"):
        address = metadata.get(f"{key}.{part}")
        found = repository(address) if isinstance(address, str) else None
        if found is not None:
            return found
    name, maker = metadata.get(f"{key}.name"), metadata.get(f"{key}.organization")
    if not isinstance(name, str) or not name.strip():
        return None
    if not isinstance(maker, str) or not maker.strip():
        return clean(name)
    return clean(f"{maker.strip()}/{name.strip()}".replace(" ", "-"))


def _from_config(model: Model, own_name: str | None) -> Iterator[Fact]:
    found = model.config()
    value = found[1].get("_name_or_path") if found is not None else None
    name = repository(value) if isinstance(value, str) else None
    if found is None or name is None or not own_name or _same(name, own_name, model):
        return
    where = Evidence(file=found[0], field="_name_or_path", quote=name)
    yield Fact("lineage.base_hint", frozenset({name}), Basis.DECLARED, (where,), _FROM_CONFIG)


def _same(name: str, own_name: str, model: Model) -> bool:
    """Tell whether a repository is most likely this model itself."""
    last = _folded(PurePosixPath(name).name)
    spec = _folded(model.source.spec)
    return last == _folded(PurePosixPath(own_name).name) or last in spec


def _folded(text: str) -> str:
    return _NOT_ALNUM.sub("", text.lower())


def _base(names: list[str], where: Evidence, note: str = "") -> Fact:
    return Fact("lineage.declared_base", frozenset(names), Basis.DECLARED, (where,), note)


def listed(value: JsonValue) -> frozenset[str]:
    """Take a text or a list of texts as a set, each on one line."""
    return frozenset(clean(text) for text in texts(value))
