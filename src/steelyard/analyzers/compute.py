"""Training compute as a model's own files tell it: cards, and the state that trainers leave.

Only sentences that speak of training count, and of this model: a context of 128k tokens, a dataset
of somebody else, or a benchmark's tokens are no training tokens. Figures are rounded, so they are
ranges. What follows from the figures is computed in `steelyard.compute`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from steelyard.checkpoints.model import Model
from steelyard.compute.hardware import accelerator
from steelyard.facts import Basis, Evidence, Fact, Interval, Value

_MOST_LINES = 5000
_LONGEST_LINE = 2000
_MOST_FLOP = 1e30
_NUMBER = r"(\d{1,4}(?:,\d{3})*(?:\.\d{1,6})?)"
_TRAINED = re.compile(
    r"\b(?:(?:pre-?)?trained|(?:pre-?)?training|trains?|pretrains?)\b", re.IGNORECASE
)
_OTHER_MODEL = re.compile(
    r"\b(?:unlike|compared (?:to|with)|in contrast|teacher|tokenizer|vocabulary|context|window"
    r"|sequence length|generate|output|tokens per (?:second|batch|sample|expert)|batch size)\b",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    _NUMBER + r"\s*(\+|plus)?\s*(T|trillion|B|billion|M|million)\s*\+?\s*"
    r"(?:[a-z-]{2,20}\s+){0,4}tokens?\b",
    re.IGNORECASE,
)
_FLOP = re.compile(
    r"(\d(?:\.\d{1,4})?)\s*(?:[\u00d7x*]\s*10\s*(?:\^|\*\*)?\s*\{?(\d{2})\}?|e\+?(\d{2}))\s*FLOPs?\b",
    re.IGNORECASE,
)
_HOURS = re.compile(
    _NUMBER + r"\s*(K|M|thousand|million)?\s*(?:cumulative\s+)?"
    r"((?:NVIDIA\s+)?(?:[AHBVPL]\d{2,4}[A-Z]?|GH200|TPU\s?v\d[ep]?|MI\d{3}X?))?"
    r"(?:[- ]\d{2}GB)?[- ]?(?:GPU|TPU|chip|accelerator)?[- ]?hours?\b",
    re.IGNORECASE,
)
_SCALE = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9,
          "t": 1e12, "trillion": 1e12}  # fmt: skip


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what cards and trainer states say of training."""
    for path, text in model.texts.items():
        if PurePosixPath(path).name.lower() in ("readme.md", "model_card.md"):
            yield from _card(path, text)
    for path, value in model.json.items():
        if PurePosixPath(path).name == "trainer_state.json" and isinstance(value, dict):
            yield from _trainer(path, value)


def _card(path: str, text: str) -> Iterator[Fact]:
    """Take the first figure of each kind: cards name the whole before its parts."""
    found: set[str] = set()
    for number, line in enumerate(text.splitlines()[:_MOST_LINES], 1):
        for sentence in _sentences(line[:_LONGEST_LINE]):
            for name, value in _figures(sentence):
                if name not in found:
                    found.add(name)
                    evidence = (Evidence(path, line=number, quote=_short(sentence)),)
                    yield Fact(name, value, Basis.DECLARED, evidence)


def _sentences(line: str) -> Iterable[str]:
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", line)


def _figures(sentence: str) -> Iterator[tuple[str, Value]]:
    trained = _TRAINED.search(sentence) is not None
    other = _OTHER_MODEL.search(sentence) is not None
    tokens = _TOKENS.search(sentence)
    if tokens and trained and not other:
        value = _rounded(tokens[1], tokens[3])
        more = tokens[2] or sentence[tokens.start() : tokens.end()].count("+")
        if value is not None:
            # "15T+ tokens" says at least; a tenth more is the most that it can honestly hide.
            yield "training.tokens", Interval(value.low, value.high * 1.1) if more else value
    flop = _FLOP.search(sentence)
    if flop and trained and not other:
        exponent = int(flop[2] or flop[3])
        mantissa = _rounded(flop[1], "")
        if mantissa is not None and exponent < 30:
            yield "training.compute", mantissa * 10.0**exponent
    hours = _HOURS.search(sentence)
    if hours and not other and (trained or hours[3]):
        value = _rounded(hours[1], hours[2] or "")
        kind = hours[3] and accelerator(hours[3])
        if value is not None and kind:
            yield "training.hardware.total_hours", value
            yield "training.hardware.type", kind.name


def _rounded(number: str, unit: str) -> Interval | None:
    """Read a figure as the range that it is rounded from: half a unit of its last digit."""
    plain = number.replace(",", "")
    decimals = len(plain.partition(".")[2])
    scale = _SCALE[unit.lower()]
    value, half = float(plain) * scale, 0.5 * 10.0**-decimals * scale
    # A whole number such as 15T is seldom off by more than a thirtieth.
    half = min(half, value / 30)
    return Interval(value - half, value + half) if value > 0 else None


def _trainer(path: str, state: Mapping[str, object]) -> Iterator[Fact]:
    """Read what the Transformers trainer counted: for this training, not for the base."""
    for key, name in (
        ("total_flos", "training.compute.own"),
        ("num_input_tokens_seen", "training.own_tokens"),
    ):
        value = state.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 < value < _MOST_FLOP:
            note = "counted by the trainer, without what it does not see"
            yield Fact(name, float(value), Basis.DECLARED, (Evidence(path, field=key),), note)


def _short(sentence: str) -> str:
    words = " ".join(sentence.split())
    return words if len(words) <= 200 else words[:199] + "…"
