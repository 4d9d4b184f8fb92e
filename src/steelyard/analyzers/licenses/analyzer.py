"""Which license governs the weights: what the texts are, what the documents state.

A text is stronger than a statement. Only a text beside the weights or at the source's root
governs them (one in a package's own metadata does where no card states a license); texts of
third parties are listed and decide nothing. Where text and statement can both be true they are
given the same value; where they cannot, the two claims contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from steelyard.analyzers.card.document import anchor, find_card, root
from steelyard.analyzers.licenses.claims import OTHER, Claim, claims, distribution
from steelyard.analyzers.licenses.texts import Recognized, recognize
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact
from steelyard.sources.base import SINGLE_KINDS

_LICENSE_NAME = re.compile(
    r"(?:un)?licen[sc]es?(?:\b|[-_])|copying|(?:[a-z]+[-_])?terms(?:\b|[-_]of[-_](?:use|service))",
    re.IGNORECASE,
)
_NO_LICENSE_NAME = re.compile(
    r".*notice|authors|contributors|changelog|changes|readme|credits|thanks", re.IGNORECASE
)
_OF_THE_WEIGHTS = re.compile(r"model|weights", re.IGNORECASE)
_OF_SOMETHING_ELSE = re.compile(
    r"code|data|docs?\b|third|3rd|sources|tokenizer|vendor|font|software|notebook", re.IGNORECASE
)
_MOST_CHARACTERS = 4_000_000
_MOST_EVIDENCE = 50


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what is stated and what is found about the license of the weights.

    Of a source that is a single file nothing is said about license files: those that lie beside
    it are not seen.
    """
    stated = claims(model)
    for claim in stated:
        if not claim.from_card:
            yield claim.fact("license.declared")
    yield from _header_names(model)
    texts = _recognized(model)
    if texts or model.source.kind not in SINGLE_KINDS:
        yield from _found(texts)
    yield from _effective(model, stated, texts)


def license_files(model: Model) -> Sequence[str]:
    """Name the files that hold a license text, by their names and folders."""
    return sorted(path for path in model.texts if _is_license_file(PurePosixPath(path)))


def _is_license_file(path: PurePosixPath) -> bool:
    if _NO_LICENSE_NAME.match(path.name):
        return False
    in_folder = path.parent.name.lower() == "licenses"
    return in_folder or _LICENSE_NAME.match(path.name) is not None


def _recognized(model: Model) -> Mapping[str, Recognized]:
    """Recognize each license text once; beyond a bound they are listed and not looked at."""
    known: dict[str, Recognized] = {}
    results: dict[str, Recognized] = {}
    left = _MOST_CHARACTERS
    for path in license_files(model):
        text = model.texts[path]
        if text not in known:
            left -= len(text)
            known[text] = (
                recognize(text) if left >= 0 else Recognized(how="not looked at: too much")
            )
        results[path] = known[text]
    return results


def _found(texts: Mapping[str, Recognized]) -> Iterator[Fact]:
    yield Fact("license.files", frozenset(texts), Basis.MEASURED, _places(texts))
    known = {path: text for path, text in texts.items() if text.ids}
    ids = frozenset(name for text in known.values() for name in text.ids)
    yield Fact("license.detected", ids, Basis.MEASURED, _places(known))
    unknown = {path: text for path, text in texts.items() if not text.ids}
    yield Fact("license.unrecognized", frozenset(unknown), Basis.MEASURED, _places(unknown))


def _places(texts: Mapping[str, Recognized]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(file=path, quote=f"{', '.join(text.ids)}: {text.how}" if text.ids else text.how)
        for path, text in list(texts.items())[:_MOST_EVIDENCE]
    )


def _effective(
    model: Model, stated: Sequence[Claim], texts: Mapping[str, Recognized]
) -> Iterator[Fact]:
    """Yield the claims about the license of the weights, so that they agree where they can."""
    card_states = any(claim.from_card and claim.stated.known for claim in stated)
    governing = {path: texts[path] for path in _governing(model, texts, card_states)}
    ids = tuple(dict.fromkeys(name for text in governing.values() for name in text.ids))
    unread = any(not text.ids for text in governing.values())
    understood = [claim for claim in stated if claim.stated.known]
    if not ids:
        for claim in understood or stated:
            if claim.stated.value != OTHER:
                yield claim.fact("license.effective")
        return
    clear = len(ids) == 1 and not unread
    names = [own for claim in understood for found in ids if (own := claim.stated.covering(found))]
    measured = (names or ids)[0] if len(ids) == 1 else " AND ".join(ids)
    if clear or not (names or unread):
        note = "" if clear else "texts side by side"
        yield Fact("license.effective", measured, Basis.MEASURED, _places(governing), note)
    for claim in understood:
        own = next((own for found in ids if (own := claim.stated.covering(found))), None)
        if own is not None and clear:
            note = "" if measured == claim.stated.value else f"stated as {claim.stated.value}"
            yield claim.fact("license.effective", measured, note)
        else:
            yield claim.fact("license.effective")


def _governing(model: Model, texts: Mapping[str, Recognized], card_states: bool) -> Sequence[str]:
    """Choose the texts that govern the weights, from the nearest folder that has one."""
    folders = [anchor(model).parent, root(model)]
    package = distribution(model)
    if package is not None and not card_states:
        folders += [PurePosixPath(package), PurePosixPath(package) / "licenses"]
    for folder in folders:
        here = [
            path
            for path, text in texts.items()
            if PurePosixPath(path).parent == folder and not text.is_policy
        ]
        named = [p for p in here if _OF_THE_WEIGHTS.search(PurePosixPath(p).name)]
        plain = [p for p in here if not _OF_SOMETHING_ELSE.search(PurePosixPath(p).name)]
        if folder.name.lower() == "licenses" and len(here) > 1:
            continue
        if named or plain:
            return named or plain
    return ()


def _header_names(model: Model) -> Iterator[Fact]:
    """Yield the license's name and link from a GGUF header, where no card gives them."""
    if model.main is None:
        return
    card = find_card(model)
    file = model.main.files[0]
    for name, key, given in (
        ("license.name", "general.license.name", "license_name"),
        ("license.link", "general.license.link", "license_link"),
    ):
        value = model.main.metadata.get(key)
        if isinstance(value, str) and value.strip() and not (card and given in card.fields):
            yield Fact(name, clean(value), Basis.DECLARED, (Evidence(file=file, field=key),))
