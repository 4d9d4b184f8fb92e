"""What the model card says, and what it leaves out.

The front matter is read as the Hub reads it and checked against its specification; the body is
compared with the sections of the Hub's template. What a card states about the model (license,
base, size) is a declaration, to be set beside what was measured; what it holds and lacks is
measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from steelyard.analyzers.card import prose as card_prose
from steelyard.analyzers.card.base_model import base_facts, listed
from steelyard.analyzers.card.document import Card, find_card, spacy_meta
from steelyard.analyzers.card.fields import faults
from steelyard.analyzers.card.prose import Found
from steelyard.analyzers.card.results import FIELD, result_facts, results
from steelyard.analyzers.card.sections import Outline, expected_sections, outline
from steelyard.analyzers.licenses.claims import claims
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact
from steelyard.knowledge import load
from steelyard.sources.base import SINGLE_KINDS

_MOST_EVIDENCE = 50
_CARD_WORDS = re.compile(
    r"^model card (?:for|of)\b[: ]*|^model card\s?[:–-]|[: -]*\bmodel card$",  # noqa: RUF001  titles use the dash
    re.IGNORECASE,
)
_SECURITY = re.compile(r"security(?:\.[a-z]+)?", re.IGNORECASE)


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what the card and the documents around it state.

    Of a source that is a single file nothing is said about a card: what lies beside the file is
    not seen.
    """
    card = find_card(model)
    sketch = outline(card) if card is not None else None
    name = _name(model, card, sketch)
    if name is not None:
        yield name
    yield from base_facts(model, card, None if name is None else str(name.value))
    yield from _spacy_sources(model)
    if card is not None and sketch is not None:
        yield from _front_matter(card)
        yield from (claim.fact("license.declared") for claim in claims(model) if claim.from_card)
        yield from _body(model, card, sketch)
    elif model.source.kind not in SINGLE_KINDS:
        yield Fact("card.present", False, Basis.MEASURED)
        yield _contact(model)


def _front_matter(card: Card) -> Iterator[Fact]:
    note = "only the start of the card was read: it is too long" if card.cut else ""
    yield Fact("card.present", True, Basis.MEASURED, (Evidence(file=card.path),), note)
    error = card.error
    broken = () if error is None else (Evidence(card.path, line=error.line, quote=error.what),)
    yield Fact("card.valid", error is None, Basis.MEASURED, broken)
    wrong = faults(card)
    where = tuple(card.at(fault.field, fault.why) for fault in wrong[:_MOST_EVIDENCE])
    found = frozenset(clean(fault.field) for fault in wrong)
    yield Fact("card.invalid_fields", found, Basis.MEASURED, where)
    for field, name in (("language", "card.languages"), ("datasets", "card.datasets")):
        values = listed(card.fields.get(field))
        if values:
            yield Fact(name, values, Basis.DECLARED, (card.at(field),))
    for field, name in (
        ("pipeline_tag", "card.pipeline_tag"),
        ("library_name", "card.library"),
        ("new_version", "card.new_version"),
        ("license_name", "license.name"),
        ("license_link", "license.link"),
    ):
        value = card.fields.get(field)
        if isinstance(value, str) and clean(value):
            where = (card.at(field, clean(value)),)
            yield Fact(name, clean(value), Basis.DECLARED, where)
    yield from _modalities(card)
    yield from result_facts(card)


def _modalities(card: Card) -> Iterator[Fact]:
    """Yield what goes in and comes out, from the task that the card names."""
    tag = card.fields.get("pipeline_tag")
    task = load("card_template")["tasks"].get(tag) if isinstance(tag, str) else None
    if task is not None:
        where = (card.at("pipeline_tag", tag if isinstance(tag, str) else None),)
        for side in ("input", "output"):
            values = frozenset(task[side])
            yield Fact(f"model.modalities.{side}", values, Basis.DECLARED, where)


def _body(model: Model, card: Card, sketch: Outline) -> Iterator[Fact]:
    found = card_prose.passages(sketch.prose())
    filled = sketch.filled()
    contact = _contact(model, card, card_prose.contact(found), filled.get("model_card_contact"))
    yield contact
    said = {"model_card_contact": bool(contact.value)}
    for name, section, sentence in (
        ("card.out_of_scope", "out_of_scope_use", card_prose.out_of_scope),
        ("card.limitations", "bias_risks_limitations", card_prose.limitations),
    ):
        if section in filled:
            place: Found | None = Found(filled[section], section.replace("_", " "))
        else:
            place = sentence(found)
        said[section] = place is not None
        yield Fact(name, place is not None, Basis.MEASURED, _at(card, place))
    yield from _sections(card, sketch, said)
    size = card_prose.stated_size(found)
    if size is not None:
        where = _at(card, size.found)
        yield Fact("model.parameters.total", size.value, Basis.DECLARED, where)


def _sections(card: Card, sketch: Outline, said: Mapping[str, bool]) -> Iterator[Fact]:
    """Compare the card with the template.

    What a sentence says or the metadata holds (`said`) need not have a section of its own.
    """
    filled = sketch.filled()
    elsewhere = {
        "model_details": sketch.introduced(),
        "evaluation": next(results(card), None) is not None,
        "environmental_impact": card.fields.get("co2_eq_emissions") is not None,
        **said,
    }
    present = filled.keys() | {name for name, there in elsewhere.items() if there}
    note = "only the first headings were looked at: there are too many" if sketch.cut else ""
    yield Fact("card.sections", frozenset(present), Basis.MEASURED, _lines(card, filled), note)
    missing = frozenset(expected_sections()) - present
    yield Fact("card.sections.missing", missing, Basis.MEASURED, (Evidence(file=card.path),), note)
    empty = sketch.placeholders()
    names = frozenset(clean(name, 80) for name in empty if name not in present)
    yield Fact("card.placeholders", names, Basis.MEASURED, _lines(card, empty), note)


def _lines(card: Card, places: Mapping[str, int]) -> tuple[Evidence, ...]:
    ordered = sorted(places.items(), key=lambda item: item[1])
    return tuple(
        Evidence(file=card.path, line=line, quote=clean(name, 80))
        for name, line in ordered[:_MOST_EVIDENCE]
    )


def _at(card: Card, found: Found | None) -> tuple[Evidence, ...]:
    if found is None:
        return (Evidence(file=card.path),)
    return (Evidence(file=card.path, line=found.line, quote=found.quote),)


def _contact(
    model: Model,
    card: Card | None = None,
    said: Found | None = None,
    section: int | None = None,
) -> Fact:
    """Tell whether the card, or a security policy beside it, says how to reach the publisher.

    Args:
        model: The model.
        card: Its card.
        said: Words of the card that name a way.
        section: Line of a section of the card about it.
    """
    for path, text in sorted(model.texts.items()):
        if _SECURITY.fullmatch(PurePosixPath(path).name) and text.strip():
            return Fact("card.contact", True, Basis.MEASURED, (Evidence(file=path),))
    if card is None:
        return Fact("card.contact", False, Basis.MEASURED)
    if said is None and section is not None:
        said = Found(section, "contact section")
    return Fact("card.contact", said is not None, Basis.MEASURED, _at(card, said))


def _name(model: Model, card: Card | None, sketch: Outline | None) -> Fact | None:
    """Take the model's name from its title, its metadata or its header, the first that has one."""
    for text, where in _names(model, card, sketch):
        name = clean(_CARD_WORDS.sub("", clean(text)).strip(" :-"), 120)
        if len(name) > 1 and name.lower() not in load("card_template")["unnamed"]:
            return Fact("model.name", name, Basis.DECLARED, (where,))
    return None


def _names(
    model: Model, card: Card | None, sketch: Outline | None
) -> Iterator[tuple[str, Evidence]]:
    if card is not None and sketch is not None:
        for section in sketch.sections[1:2]:  # after what stands before the first heading
            if section.level == 1 and not section.ids:
                yield section.title, Evidence(file=card.path, line=section.line)
        index = card.fields.get(FIELD)
        for entry in index[:1] if isinstance(index, list) else ():
            name = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(name, str):
                yield name, card.at(f"{FIELD}.0.name")
    if model.main is not None:
        header = model.main.metadata.get("general.name")
        if isinstance(header, str):
            yield header, Evidence(file=model.main.files[0], field="general.name")
    path, meta = spacy_meta(model) or (None, {})
    if isinstance(meta.get("name"), str):
        yield f"{meta.get('lang', '')}_{meta['name']}".strip("_"), Evidence(path, field="name")


def _spacy_sources(model: Model) -> Iterator[Fact]:
    """Yield the data that a spaCy pipeline names as its sources."""
    path, meta = spacy_meta(model) or (None, {})
    sources = meta.get("sources")
    names = frozenset(
        clean(name)
        for source in (sources if isinstance(sources, list) else ())
        if isinstance(name := source.get("name") if isinstance(source, dict) else source, str)
    )
    if names:
        yield Fact("card.datasets", names, Basis.DECLARED, (Evidence(path, field="sources"),))
