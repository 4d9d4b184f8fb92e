"""Training compute as a model's own files tell it: its card, and the state that trainers leave.

Only sentences and tables that speak of training count, and of this model. A card often speaks of a
whole family: the row or the sentence that names this model, or its size, is taken; where none
does, the figure is the range over all of them, and says so. What follows from the figures is
computed in `steelyard.compute`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Final

from steelyard.analyzers.card.document import Card, find_card
from steelyard.analyzers.card.prose import passages
from steelyard.analyzers.card.sections import Outline, outline
from steelyard.analyzers.known_models import known_models
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.compute import reading
from steelyard.compute.hardware import accelerator
from steelyard.compute.markup import Row, plain, rows
from steelyard.compute.reading import Mention, mentions
from steelyard.facts import Basis, Evidence, Fact, Interval

_MOST_FLOP: Final = 1e30
_LONGEST_PASSAGE: Final = 20_000
_MOST_SENTENCES: Final = 5_000
_MOST_FIGURES: Final = 50
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z*])")
_WORDS = re.compile(r"[a-z]+|\d+(?:\.\d+)?[bm]?")
_SIZE = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d{1,3})?)\s?([BMT])\b(?![ -]?token)")
_NAME_SIZE = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d{1,3})?)\s?([BM])(?![a-z])", re.IGNORECASE)
_SUM = re.compile(r"\W*(?:sub|grand )?(?:total|sum|all|cumulative)\b", re.IGNORECASE)
_GENERIC: Final = frozenset(
    {"a", "the", "model", "models", "card", "details", "information", "overview", "introduction"}
    | {"readme", "meta", "summary", "description"}
)
_HEADS: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = (
    (re.compile(r"(?:pre-?)?(?:training )?tokens?(?: count| trained| seen)?", re.I),
     reading.TOKENS, "tokens"),
    (re.compile(r"(?:training )?(?:time )?\(?(?:gpu|tpu|chip|accelerator)[ -]hours\)?", re.I),
     reading.HOURS, "GPU hours"),
    (re.compile(r"(?:pre-?)?training (?:compute|flops?)(?: \(flops?\))?", re.I),
     reading.FLOP, "FLOP"),
)  # fmt: skip
"""Heads of columns that hold a figure of each model, the fact, and the unit that they imply."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A figure, where it stands, and the words that say whose it is."""

    mention: Mention
    line: int
    quote: str
    label: str


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what the card and the trainer's state say of training."""
    card = find_card(model)
    if card is not None:
        yield from _card(model, card)
    state = model.config("trainer_state.json")
    if state is not None:
        yield from _trainer(*state)


def _card(model: Model, card: Card) -> Iterator[Fact]:
    sketch = outline(card)
    tables, text = rows(sketch.prose())
    found = [*_in_prose(text), *_in_tables(tables)]
    found = [item for item in found if not _is_foreign(item.label, model, card, sketch)]
    names: dict[str, list[_Found]] = {}
    for item in found:
        names.setdefault(item.mention.name, []).append(item)
    for name, items in names.items():
        fact = _chosen(name, items[:_MOST_FIGURES], model)
        if fact is not None:
            yield _of_file(fact, card.path)


def _of_file(fact: Fact, path: str) -> Fact:
    return replace(fact, evidence=tuple(replace(item, file=path) for item in fact.evidence))


def _in_prose(text: Iterable[tuple[int, str]]) -> Iterator[_Found]:
    left = _MOST_SENTENCES
    for passage in passages(text):
        start = 0
        for sentence in _SENTENCE_END.split(passage.text[:_LONGEST_PASSAGE]):
            start = passage.text.find(sentence, start)
            words = plain(sentence)
            for mention in mentions(words):
                line = passage.line(min(start + mention.start, start + len(sentence) - 1))
                label = words[: mention.start] if not mention.label else mention.label
                yield _Found(mention, line, clean(words), label)
            start += len(sentence)
            left -= 1
            if left == 0:
                return


def _in_tables(tables: Iterable[Row]) -> Iterator[_Found]:
    """Read columns whose head names a figure, else rows of two cells as `name: figure`."""
    for row in tables:
        found = list(_in_row(row))
        if not found and len(row.cells) == 2:
            quote = clean(" | ".join(row.cells))
            told = mentions(": ".join(row.cells))
            found = [_Found(mention, row.line, quote, "") for mention in told]
        yield from found


def _in_row(row: Row) -> Iterator[_Found]:
    label = " ".join(row.cells[:1])
    if len(row.cells) != len(row.head) or _SUM.match(label):
        return
    columns = list(zip(row.head, row.cells, strict=True))
    size = next((cell for head, cell in columns if head.lower().startswith("param")), "")
    for head, cell in columns:
        for mention in _in_column(head, cell):
            yield _Found(mention, row.line, clean(" | ".join(row.cells)), f"{label} {size}")


def _in_column(head: str, cell: str) -> Iterator[Mention]:
    for pattern, name, unit in _HEADS:
        if pattern.fullmatch(head.strip()):
            of_cell = list(mentions(cell, trained=True)) or list(
                mentions(f"{cell} {unit}", trained=True)
            )
            yield from _added([mention for mention in of_cell if mention.name == name])


def _added(found: list[Mention]) -> list[Mention]:
    """Add up the stages that one cell lists."""
    amounts = [mention.value for mention in found if isinstance(mention.value, Interval)]
    if len(found) < 2 or not all(mention.is_stage for mention in found):
        return found
    whole = amounts[0]
    for amount in amounts[1:]:
        whole = whole + amount
    return [replace(found[0], value=whole, is_stage=False)]


def _chosen(name: str, found: Sequence[_Found], model: Model) -> Fact | None:
    """Choose the figures that are this model's; join those that cannot be told apart."""
    if not isinstance(found[0].mention.value, Interval):
        return _agreed(name, found)
    alone = [item for item in found if not item.mention.is_sum]
    ours = _ours(alone, model)
    if alone and not ours:
        return None
    ours = ours or [item for item in found if item.mention.is_sum]
    later = [item for item in ours if item.mention.is_stage]
    first = [item for item in ours if not item.mention.is_stage] or later
    value, note = _range(first), ""
    if len(first) > 1 and value.factor > 1.25:
        note = "the card names several figures, and not which is this model's or whether they add"
    if later and first is not later:
        more = [item for item in later if all(_amount(item) != _amount(one) for one in first)]
        value = Interval(value.low, value.high + sum(_amount(item).high for item in more))
    evidence = tuple(Evidence(line=item.line, quote=item.quote) for item in _each(ours))
    return Fact(name, value, Basis.DECLARED, evidence, note)


def _amount(item: _Found) -> Interval:
    value = item.mention.value
    return value if isinstance(value, Interval) else Interval(0, 0)


def _range(found: Sequence[_Found]) -> Interval:
    """Return the hull; where every figure is a stage, up to their sum."""
    amounts = list(dict.fromkeys(_amount(item) for item in found))
    hull = Interval.hull(*amounts)
    if all(item.mention.is_stage for item in found):
        return Interval(hull.low, sum(amount.high for amount in amounts))
    return hull


def _each(found: Iterable[_Found]) -> Iterator[_Found]:
    """Yield one for each line, at most five."""
    lines = dict.fromkeys(item.line for item in found)
    for line in list(lines)[:5]:
        yield next(item for item in found if item.line == line)


def _agreed(name: str, found: Sequence[_Found]) -> Fact | None:
    """Return what all mentions say; kinds of accelerators are joined, else nothing is said."""
    values = list(dict.fromkeys(item.mention.value for item in found))
    if name == reading.KIND:
        kinds = {str(value) for value in values}
        known = [accelerator(kind) for kind in kinds if " and " not in kind]
        names = sorted({kind.name for kind in known if kind is not None})
        values = [" and ".join(names)] if names else []
    if len(values) != 1:
        return None
    evidence = tuple(Evidence(line=item.line, quote=item.quote) for item in _each(found))
    return Fact(name, values[0], Basis.DECLARED, evidence)


# --- whose figure it is -------------------------------------------------------------------


def _ours(found: Sequence[_Found], model: Model) -> Sequence[_Found]:
    """Keep the figures whose label names this model, else those that name its size, else all."""
    labels = {item.label for item in found}
    if len(found) < 2 or len(labels) < 2:
        return [item for item in found if _may_fit(item.label, model)]
    own = _own_words(model)
    common = frozenset.intersection(*(frozenset(_words(label)) for label in labels))
    special = {label: frozenset(_names(label)) - common for label in labels}
    named = [item for item in found if special[item.label] and special[item.label] <= own]
    if named:
        most = max(len(special[item.label]) for item in named)
        return [item for item in named if len(special[item.label]) == most]
    sized = [item for item in found if _sizes(item.label)]
    size = _parameters(model)
    if not sized or size is None:
        return found
    fits = [item for item in sized if _fits(item.label, size, 1.35)]
    shortest = min((len(_words(item.label)) for item in fits), default=0)
    fits = [item for item in fits if len(_words(item.label)) == shortest]
    return fits or [item for item in found if not _sizes(item.label)]


def _may_fit(label: str, model: Model) -> bool:
    """Tell whether a figure may be this model's: no other size is named with it."""
    size = _parameters(model) if _sizes(label) else None
    return size is None or _fits(label, size, 2.5)


def _fits(label: str, size: float, factor: float) -> bool:
    return any(1 / factor <= named / size <= factor for named in _sizes(label))


def _sizes(label: str) -> list[float]:
    """Return the sizes that a label names, nearest to the figure first."""
    scale = {"B": 1e9, "M": 1e6, "T": 1e12}
    found = [float(m[1]) * scale[m[2]] for m in _SIZE.finditer(label[-200:])]
    return [size for size in reversed(found) if size > 0][:1]


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())


def _names(label: str) -> list[str]:
    """Return the words of a label that are part of names: with a capital or a digit."""
    words = label.rpartition(": ")[2].split()
    return _words(" ".join(w for w in words if w[:1].isupper() or any(c.isdigit() for c in w)))


def _own_words(model: Model) -> frozenset[str]:
    """Return the words of the name under which the model was opened."""
    return frozenset(_words(model.source.spec.rstrip("/").rpartition("/")[2].partition("@")[0]))


def _parameters(model: Model) -> float | None:
    """Return the elements of the weights: near enough to the parameters to tell sizes apart."""
    if model.main is None:
        return None
    count = sum(prod(tensor.shape) for tensor in model.main.tensors)
    return float(count) if count >= 1e6 else None


@cache
def _families() -> frozenset[str]:
    """Return the names of families of models, as they are written."""
    first = (re.match(r"[A-Za-z]{2,}", known.name) for known in known_models())
    return frozenset(match[0] for match in first if match)


@cache
def _family_pattern() -> re.Pattern[str]:
    """Match the name of a family with what is written together with it (`Llama-3`, `GPT4`)."""
    return re.compile(rf"\b({'|'.join(sorted(_families(), key=len, reverse=True))})(?![a-z])")


def _is_foreign(label: str, model: Model, card: Card, sketch: Outline) -> bool:
    """Tell whether the words before a figure name another family of models than the card's."""
    named = {match[1].lower() for match in _family_pattern().finditer(label[-200:])}
    return bool(named) and not named & _own_families(model, card, sketch)


def _own_families(model: Model, card: Card, sketch: Outline) -> frozenset[str]:
    """Return the families that the model's name or title names, else the card's most frequent."""
    titles = [section.title for section in sketch.sections if section.level == 1]
    title = next(iter(titles), "")
    families = {family.lower() for family in _families()}
    words = re.findall(r"[a-z]+", f"{title} {model.source.spec}".lower())
    own = families.intersection(words)
    if own or not set(re.findall(r"[a-z]+", title.lower())) <= _GENERIC:
        return frozenset(own)
    counts = Counter(m[1].lower() for line in card.body
                     for m in _family_pattern().finditer(line[:2000]))  # fmt: skip
    most = max(counts.values(), default=0)
    return frozenset(family for family, count in counts.items() if count == most)


# --- what trainers leave ------------------------------------------------------------------


def _trainer(path: str, state: Mapping[str, JsonValue]) -> Iterator[Fact]:
    """Read what the Transformers trainer counted: for this training, not for the base.

    Its count of operations is six for each parameter and token, without embeddings and attention.
    """
    for key, name, most in (
        ("total_flos", "training.compute.own", _MOST_FLOP),
        ("num_input_tokens_seen", "training.own_tokens", 1e18),
    ):
        value = state.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 < value < most:
            note = "counted by the trainer, without what it does not see"
            yield Fact(name, float(value), Basis.DECLARED, (Evidence(path, field=key),), note)
