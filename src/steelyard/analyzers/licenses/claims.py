"""Every place where a model's files state a license: card, headers, package metadata.

A statement is only as near to the weights as the document that makes it, so the order counts:
the card first, then the headers of the weights, then the package around them. Where one names a
family (`bsd`) and another a member of it, they agree and both read as the member.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from steelyard.analyzers.card.document import Card, anchor, find_card, spacy_meta
from steelyard.analyzers.licenses.names import Stated, read_license
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact

OTHER = "other"
_ONNX_KEYS = ("license", "License", "LICENSE")
_CLASSIFIER = "License ::"
_MOST_HEADER_LINES = 2000


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of a license."""

    stated: Stated
    evidence: tuple[Evidence, ...]
    note: str = ""
    from_card: bool = False

    def fact(self, name: str, value: str | None = None, note: str = "") -> Fact:
        """Make a fact of it; `value` overrides how it is written."""
        notes = "; ".join(part for part in (self.note, note) if part)
        return Fact(name, value or self.stated.value, Basis.DECLARED, self.evidence, notes)


def claims(model: Model) -> Sequence[Claim]:
    """Collect what the documents state, the nearest to the weights first, families resolved."""
    card = find_card(model)
    found = list(card_claims(card)) if card is not None else []
    found += _header_claims(model)
    found += _package_claims(model)
    return _resolved(found)


def card_claims(card: Card) -> Iterator[Claim]:
    """Yield what a card's front matter states."""
    value = card.fields.get("license")
    names = value if isinstance(value, list) else [value]
    texts = [name for name in names if isinstance(name, str) and name.strip()]
    if not texts:
        return
    if len(texts) == 1 and texts[0].strip().lower() == OTHER:
        name = card.fields.get("license_name")
        named = isinstance(name, str) and read_license(name)
        where = [card.at("license", OTHER)]
        if named:
            where.append(card.at("license_name", clean(str(name))))
        yield Claim(named or Stated(OTHER), tuple(where), from_card=True)
        return
    stated = read_license(texts[0]) if len(texts) == 1 else _any_of(texts)
    if stated is not None:
        where = [card.at("license", clean(", ".join(texts[:20])))]
        yield Claim(stated, tuple(where), from_card=True)


def _any_of(texts: Sequence[str]) -> Stated | None:
    """Read a list of licenses, which the Hub shows side by side without saying how they join."""
    each = [stated for stated in map(read_license, texts[:20]) if stated is not None]
    if not each:
        return None
    if not all(stated.known for stated in each):
        return Stated(", ".join(stated.value for stated in each))
    return Stated(
        ", ".join(stated.value for stated in each),
        tuple(found for stated in each for found in stated.ids),
        tuple(start for stated in each for start in stated.prefixes),
    )


def _header_claims(model: Model) -> Iterator[Claim]:
    """Yield what the headers of the main weights state (GGUF, ONNX)."""
    if model.main is None:
        return
    file, metadata = model.main.files[0], model.main.metadata
    keys = [f"metadata_props.{key}" for key in _ONNX_KEYS]
    for key in ("general.license", *keys):
        text = metadata.get(key)
        if not isinstance(text, str):
            continue
        name = metadata.get("general.license.name")
        if text.strip().lower() == OTHER and isinstance(name, str) and name.strip():
            key, text = "general.license.name", name
        stated = read_license(text)
        if stated is not None:
            yield Claim(stated, (Evidence(file=file, field=key, quote=clean(text)),))


def _package_claims(model: Model) -> Iterator[Claim]:
    """Yield what the package around the weights states (Python, npm, spaCy)."""
    package = model.beside(str(anchor(model)), "package.json")
    spacy = spacy_meta(model)
    for path in (spacy[0] if spacy else None, package):
        text = _license_field(model.json.get(path) if path is not None else None)
        stated = read_license(text) if text is not None else None
        if stated is not None and text is not None:
            yield Claim(stated, (Evidence(file=path, field="license", quote=clean(text)),))
    path = distribution(model)
    if path is not None:
        yield from _distribution_claims(path + "/METADATA", model.texts[path + "/METADATA"])


def distribution(model: Model) -> str | None:
    """Return the `*.dist-info` folder that the weights belong to; None if it is not clear."""
    above = anchor(model).parents
    folders = [
        str(PurePosixPath(path).parent)
        for path in model.texts
        if path.endswith(".dist-info/METADATA") and PurePosixPath(path).parent.parent in above
    ]
    return folders[0] if len(folders) == 1 else None


def _distribution_claims(path: str, text: str) -> Iterator[Claim]:
    """Read the core metadata of a Python package: an expression, else a name, else classifiers."""
    fields: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(text[:200_000].splitlines()[:_MOST_HEADER_LINES], 1):
        if not line.strip():
            break
        key, colon, value = line.partition(": ")
        if colon and not line[0].isspace():
            fields.setdefault(key.lower(), []).append((number, value.strip()))
    classifiers = [
        (number, value.rsplit("::", 1)[-1].strip())
        for number, value in fields.get("classifier", ())
        if value.startswith(_CLASSIFIER) and not value.endswith(":: OSI Approved")
    ]
    for key, entries in (
        ("License-Expression", fields.get("license-expression", [])),
        ("License", fields.get("license", [])),
        ("Classifier", classifiers if len(classifiers) == 1 else []),
    ):
        for number, value in entries[:1]:
            stated = read_license(value)
            if stated is not None:
                where = Evidence(file=path, line=number, field=key, quote=clean(value))
                yield Claim(stated, (where,))
                return


def _license_field(document: JsonValue) -> str | None:
    """Take `license` of a JSON document: a text, or an object with a `type` (old npm)."""
    if not isinstance(document, dict):
        return None
    value = document.get("license")
    if isinstance(value, dict):
        value = value.get("type")
    return value if isinstance(value, str) else None


def _resolved(found: Iterable[Claim]) -> Sequence[Claim]:
    """Let a family read as the member of it that another claim names."""
    all_claims = list(found)
    return [_as_member(claim, all_claims) for claim in all_claims]


def _as_member(claim: Claim, others: Sequence[Claim]) -> Claim:
    if not claim.stated.prefixes or claim.stated.ids:
        return claim
    for other in others:
        same = other.stated.prefixes == claim.stated.prefixes
        member = next((i for i in other.stated.ids if claim.stated.covering(i)), None)
        if member is not None or same:
            stated = other.stated
            if stated.value == claim.stated.value:
                continue
            note = f"stated as {claim.stated.value}"
            return replace(claim, stated=stated, note=note)
    return claim
