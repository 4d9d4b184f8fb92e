"""Read figures about training from a sentence: tokens, FLOP, hours, accelerators, precision.

Only plain statements count. A figure is taken when its sentence speaks of training and nothing
around it says that it is about something else: a batch, a context, a tokenizer, a threshold.
Every figure is rounded, so it is read as a range. Every pattern runs in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from steelyard.facts import Interval, Value

TOKENS: Final = "training.tokens"
DATASET: Final = "training.dataset_tokens"
FLOP: Final = "training.compute"
HOURS: Final = "training.hardware.total_hours"
UNITS: Final = "training.hardware.units"
CLOCK: Final = "training.hardware.hours"
KIND: Final = "training.hardware.type"
FORMAT: Final = "training.hardware.format"
USED: Final = "training.hardware.utilization"
SEQUENCE: Final = "training.sequence_length"
EPOCHS: Final = "training.epochs"

_CAP: Final = 30
"""A whole number such as 15T is seldom off by more than a thirtieth."""
_OPEN: Final = 1.1
""""15T+" says at least; a tenth more is the most that it can honestly hide."""
_UP_TO: Final = 0.9
_SMALL: Final = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)  # fmt: skip
_SCALE: Final = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9,
          "billion": 1e9, "t": 1e12, "trillion": 1e12}  # fmt: skip
_LONG_UNIT: Final = {"hour": 1, "day": 24, "week": 168, "month": 730.5}
_NUMBER: Final = r"\d{1,12}(?:,\d{3}){0,4}(?:\.\d{1,6})?"
_COUNT: Final = rf"(?<![\w.,$/-])({_NUMBER}|{'|'.join(_SMALL)})"

_TRAINED = re.compile(r"\b(?:pre-?)?(?:trained|training|trains?)\b|\bpretrains?\b", re.IGNORECASE)
_OTHER = re.compile(
    r"\b(?:unlike|compar(?:ed|ison)|contrast|whereas|than|teacher|student|distill\w*|tokenizer"
    r"|reward model|benchmarks?|evaluat\w+|at inference|inference)\b",
    re.IGNORECASE,
)
_BASED = re.compile(
    r"\b(?:based|built|builds|build|initiali[sz]ed|fine-?tuned?|finetune|derived|starting|version"
    r"|base model)\b.{0,200}?\b(?:which|that|itself)\b.{0,40}?\b(?:pre-?)?trained\b",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    rf"{_COUNT}[ -]?(\+|plus )?[ -]?(trillion|billion|million|[TBM])\b(\s?\+| plus)?"
    r"(?:,? (?!param|model|vari|version|size)[a-z-]{2,20}){0,5}? tokens?\b",
    re.IGNORECASE,
)
_LABELED = re.compile(
    rf"\btokens?(?: count| seen)?\W{{1,8}}{_COUNT}[ -]?(\+|plus )?[ -]?"
    r"(trillion|billion|million|[TBM])\b(\s?\+| plus)?",
    re.IGNORECASE,
)
_NOT_TRAINING = re.compile(
    r"\b(?:batch\w*|context|windows?|length|sequences?|vocab\w*|generat\w+|outputs?|throughput"
    r"|thinking|reasoning budget|max\w*|rate|per|chunks?|limit|supports?|extend\w*)\b[^.,;]{0,40}$",
    re.IGNORECASE,
)
_NOT_AFTER = re.compile(
    r"\s?(?:/|per\b|each\b|a (?:second|day|step)\b|in (?:a|the|each|every) batch|batch|context"
    r"|window|long\b|length|vocab|sequences?\b|of context)",
    re.IGNORECASE,
)
_DATA = re.compile(r"\b(?:corpus|corpora|data ?sets?|data)\b", re.IGNORECASE)
_STAGE = re.compile(
    r"\b(?:then|further|subsequent\w*|additional|anneal\w*|mid-?training|sft|rlhf|dpo|stage|phase"
    r"|followed by|fine-?tun\w+|post-?training|continued|cooldown|instruction)\b",
    re.IGNORECASE,
)
_ALL_SIZES = re.compile(r"\b(?:cumulative|all (?:the )?models|altogether)\b", re.IGNORECASE)
_FLOP = re.compile(
    rf"(?<![\w.,$/-])({_NUMBER})\s?(?:[\u00d7x*]\s?10\s?(?:\^|\*\*)?\s?\{{?(\d{{2}})\}}?"
    r"|e\+?(\d{2})|(zetta|yotta))[ -]?FLOPs?\b(?!\s?(?:/|per\b))",
    re.IGNORECASE,
)
_DAYS = re.compile(
    rf"(?<![\w.,$/-])({_NUMBER})\s?(?:petaflops?(?:/s)?|PF)[- ]?(?:/s[- ])?days?\b", re.IGNORECASE
)
_NOT_SPENT = re.compile(
    r"\b(?:threshold|limit|below|less than|under|exceed\w*|AI Act|regulation|indicator|forward"
    r"|budget of|per|up to|at least|more than)\b",
    re.IGNORECASE,
)
_ACCELERATOR: Final = (
    r"(?:(?:NVIDIA|AMD|Google|Cloud|Tesla|Instinct)[ -]){0,3}"
    r"(?:[AHBVPL][1-8]\d{1,2}(?-i:[SX]?)|GH200|GB[23]00|H20|TPU[ -]?v\d[ep]?|MI\d{3}[XA]?"
    r"|Gaudi[ -]?[23]|Trainium[12]?)(?:[ -](?:SXM\d?|PCIe|NVL))?"
)
_MEMORY: Final = r"(?:[ -]?\(?\d{2,3}[ -]?GB\)?)?"
_HOURS = re.compile(
    rf"(?<![\w.,$/-])({_NUMBER})\s?(K|M|thousand|million)?\b[ -]?(?:cumulative )?"
    rf"({_ACCELERATOR})?{_MEMORY}[ -]?(GPU|TPU|chip|accelerator|device)?s?[ -]?hours?\b"
    r"(?!\s?(?:of (?:audio|speech|video|music|footage|recording)"
    r"|/|(?:on |for )?(?:per|each|every)\b))",
    re.IGNORECASE,
)
_UNITS = re.compile(
    rf"{_COUNT}\s?[x\u00d7]?\s?(?:of )?({_ACCELERATOR}){_MEMORY}\w?\b"
    r"(?![ -]?(?:GPU|TPU|chip)?s?[ -]?hour)",
    re.IGNORECASE,
)
_KIND = re.compile(rf"\b({_ACCELERATOR})(?=\b|s\b)", re.IGNORECASE)
_CLOCK = re.compile(
    rf"\b(?:for|in|over|took|takes?|within|lasted|about|around|approximately|~)\s?{_COUNT}"
    r"[ -]?(hour|day|week|month)s?\b",
    re.IGNORECASE,
)
_NODES = re.compile(r"\b(?:nodes?|servers?|pods?|machines?|slices?)\b", re.IGNORECASE)
_FORMATS: Final = {
    "bf16": "BF16", "bfloat16": "BF16", "fp16": "FP16", "float16": "FP16", "fp8": "FP8",
    "fp32": "FP32", "float32": "FP32", "tf32": "TF32",
}  # fmt: skip
_FORMAT = re.compile(
    rf"\b({'|'.join(_FORMATS)})[ -](?:\w+[ -]){{0,2}}precision\b"
    rf"|\b(?:trained|training|regime|precision)[ :*]{{1,4}}"
    rf"(?:(?:in|with|using|at|was|is|done) ){{0,2}}({'|'.join(_FORMATS)})\b",
    re.IGNORECASE,
)
_USED = re.compile(
    r"\b(?:MFU|model FLOPs? utili[sz]ation)\W{0,3}(?:\w+ ){0,4}?(\d{2}(?:\.\d{1,2})?)\s?%"
    r"|(?<![\w.-])(\d{2}(?:\.\d{1,2})?)\s?% (?:MFU|model FLOPs? utili[sz]ation)\b",
    re.IGNORECASE,
)
_SEQUENCE = re.compile(
    rf"\bsequences? (?:length )?(?:of |is |was |[:=] ?)(?:length )?({_NUMBER})\s?(k?)\b"
    rf"|\btrain\w* sequence length\W{{1,5}}({_NUMBER})\s?(k?)\b",
    re.IGNORECASE,
)
_EPOCHS = re.compile(rf"{_COUNT} (?:full |complete )?(?:epochs?|passes over the)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mention:
    """One figure in a sentence."""

    name: str
    """The fact that it is about."""
    value: Value
    start: int
    """Where it starts in the sentence."""
    label: str = ""
    """The words between the figure before it and this one: whose figure it may be."""
    is_stage: bool = False
    """It is a later stage of training, to be added to the first."""
    is_sum: bool = False
    """It is a sum over several models."""


def mentions(sentence: str, *, trained: bool = False) -> Iterator[Mention]:
    """Yield each figure about training in a sentence.

    Args:
        sentence: Plain words, without markup.
        trained: The sentence is known to be about training, whatever its words.
    """
    if not any(character.isdigit() for character in sentence) and "illion" not in sentence:
        yield from _formats(sentence) if _TRAINED.search(sentence) else ()
        return
    if _BASED.search(sentence):
        return
    trained = trained or _TRAINED.search(sentence) is not None
    yield from _tokens(sentence, trained)
    yield from _hours(sentence, trained)
    if not trained:
        return
    yield from _compute(sentence)
    yield from _machines(sentence)
    yield from _formats(sentence)
    yield from _manner(sentence)


def _tokens(sentence: str, trained: bool) -> Iterator[Mention]:
    end = 0
    for match in (*_TOKENS.finditer(sentence), *_LABELED.finditer(sentence)):
        before, label = sentence[: match.start()], sentence[end : match.start()]
        if not trained or _OTHER.search(before[-200:]) or _NOT_TRAINING.search(before[-60:]):
            continue
        if _NOT_AFTER.match(sentence[match.end() : match.end() + 40]):
            continue
        value = rounded(match[1], match[3])
        if value is None:
            continue
        near = before[-25:].lower()
        if match[2] or match[4] or re.search(r"\b(?:over|than|least)\s*~?$", near):
            value = Interval(value.low, value.high * _OPEN)
        if re.search(r"\bup to\s*~?$", near):
            value = Interval(value.low * _UP_TO, value.high)
        by_epoch = _EPOCHS.search(sentence) and _DATA.search(sentence)
        yield Mention(DATASET if by_epoch else TOKENS, value, match.start(), label, _later(label))
        end = match.end()


def _later(label: str) -> bool:
    return _STAGE.search(label[-80:]) is not None


def _compute(sentence: str) -> Iterator[Mention]:
    for match in _FLOP.finditer(sentence):
        exponent = {"zetta": 21, "yotta": 24}.get((match[4] or "").lower())
        if exponent is None:
            exponent = int(match[2] or match[3])
        before = sentence[: match.start()]
        value = rounded(match[1], "")
        if value is None or exponent >= 30 or _OTHER.search(before) or _NOT_SPENT.search(before):
            continue
        yield Mention(FLOP, value * 10.0**exponent, match.start(), before, _later(before))
    for match in _DAYS.finditer(sentence):
        value = rounded(match[1], "")
        if value is not None and not _OTHER.search(sentence[: match.start()]):
            yield Mention(FLOP, value * (1e15 * 86400), match.start())


def _hours(sentence: str, trained: bool) -> Iterator[Mention]:
    end = 0
    for match in _HOURS.finditer(sentence):
        before, label = sentence[: match.start()], sentence[end : match.start()]
        of_accelerators = match[3] or match[4]
        value = rounded(match[1], match[2] or "")
        if value is None or not of_accelerators or _OTHER.search(before):
            continue
        if not (trained or match[3]):
            continue
        is_sum = _ALL_SIZES.search(sentence) is not None
        yield Mention(HOURS, value, match.start(), label, _later(label), is_sum)
        end = match.end()


def _machines(sentence: str) -> Iterator[Mention]:
    kinds = list(dict.fromkeys(_tidy(match[1]) for match in _KIND.finditer(sentence)))
    if not kinds or _OTHER.search(sentence):
        return
    yield Mention(KIND, " and ".join(kinds[:4]), 0)
    units = _UNITS.search(sentence)
    if units is None or _NODES.search(sentence) or len(kinds) > 1:
        return
    count = rounded(units[1], "")
    if count is not None:
        yield Mention(UNITS, round(count.middle), units.start())
    clock = _CLOCK.search(sentence)
    if clock is not None:
        length = rounded(clock[1], "", cap=4)
        if length is not None:
            yield Mention(CLOCK, length * _LONG_UNIT[clock[2].lower()], clock.start())


def _tidy(kind: str) -> str:
    words = kind.replace("-", " ").split()
    kept = [w for w in words if w.lower() not in {"nvidia", "amd", "google", "cloud", "tesla"}]
    return " ".join(kept)


def _formats(sentence: str) -> Iterator[Mention]:
    found = {_FORMATS[(match[1] or match[2]).lower()] for match in _FORMAT.finditer(sentence)}
    if len(found) == 1 and not _OTHER.search(sentence):
        yield Mention(FORMAT, found.pop(), 0)


def _manner(sentence: str) -> Iterator[Mention]:
    if _OTHER.search(sentence):
        return
    for match in _USED.finditer(sentence):
        share = rounded(match[1] or match[2], "")
        if share is not None and share.high <= 100:
            yield Mention(USED, share * 0.01, match.start())
    for match in _SEQUENCE.finditer(sentence):
        figure, kilo = (match[1], match[2]) if match[1] else (match[3], match[4])
        length = float(figure.replace(",", ""))
        if kilo:
            yield Mention(SEQUENCE, Interval(round(length * 1000), round(length * 1024)), 0)
        elif 0 < length < 1e8:
            yield Mention(SEQUENCE, round(length), match.start())
    for match in _EPOCHS.finditer(sentence):
        if not _OTHER.search(sentence[: match.start()]):
            yield Mention(EPOCHS, _whole(match[1]), match.start())


def _whole(figure: str) -> float:
    lowered = figure.lower()
    if lowered in _SMALL:
        return float(_SMALL.index(lowered) + 1)
    return float(figure.replace(",", ""))


def rounded(figure: str, unit: str, *, cap: float = _CAP) -> Interval | None:
    """Read a figure as the range that it is rounded from: half a unit of its last digit.

    Args:
        figure: Digits, perhaps with separators and decimals, or a word such as `fifteen`.
        unit: `K`, `M`, `B`, `T`, such a word, or nothing.
        cap: The range is at most this part of the figure to each side (30 for a thirtieth).

    Returns:
        None for nothing and less.
    """
    plain = figure.replace(",", "")
    decimals = len(plain.partition(".")[2]) if plain[0].isdigit() else 0
    scale = _SCALE[unit.lower()]
    value = _whole(figure) * scale
    half = min(0.5 * 10.0**-decimals * scale, value / cap)
    return Interval(value - half, value + half) if value > 0 else None
