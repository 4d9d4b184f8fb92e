"""What a tokenizer does to a text that its reader would not expect.

A tokenizer may rewrite text before a model sees it and after it answers (`Replace` in normalizer
and decoder), and its added tokens are cut out of any text, special ones are dropped from answers.
Ordinary tokenizers do both with spaces and markers. Told are rewritten words, added tokens that
are words, phrases, addresses or invisible, and two tokens of one id. The vocabulary itself is
walked over, not built: it may be as long as a book. Of a GGUF file, the tokens that it marks as
control or user-defined are asked the same.

Source: the Tokenizers library, https://huggingface.co/docs/tokenizers/api/normalizers and
`tokenizer.json` as it writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from steelyard.analyzers.code.hidden import addresses, invisible
from steelyard.analyzers.code.reading import is_local, objects, riders
from steelyard.analyzers.code.remarks import Located, Remark, fact_of
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue, parse_json
from steelyard.checkpoints.gguf.tokens import TOKENS, special_tokens
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.facts import Fact

_LONGEST: Final = 64_000_000
_PREFIX: Final = 8_000_000
_MODEL: Final = re.compile(rb',\s*"model"\s*:\s*\{')
_CANDIDATES: Final = 5
_AGAIN: Final = (b'"added_tokens"', b'"normalizer"', b'"decoder"')
_ENTRY: Final = re.compile(rb'"((?:[^"\\]|\\.){1,200})"\s*:\s*(\d{1,9})(?=\s*[,}])')
_MOST_TOKENS: Final = 300_000
_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_ESCAPE: Final = re.compile(r"\\[pPxuU]\{?\w*\}?|\\\w|\[:\^?\w+:\]|\(\?\w*[:=!<>)]")
_PHRASE: Final = re.compile(r"[^\W\d_]{2,}[^\S\n]+[^\W\d_]{2,}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MARKER: Final = re.compile(r"<\|[^|]{1,60}\|>|</?s>|\[(?:CLS|SEP|PAD|MASK|UNK|INST|/INST)\]")
_PLAIN: Final = re.compile(r"<[\w|.-]{1,60}>", re.ASCII)
"""Most control tokens, of which there may be thousands: no phrase, word or address."""
_MOST_ESCAPES: Final = 200_000
_MOST: Final = 200
_DEEPEST: Final = 20


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what tokenizers rewrite, and which added tokens are surprising."""
    found: dict[str, list[Located]] = {"rewrites": [], "odd": [], "unread": []}
    for rider in riders(model, lambda path: _is_tokenizer(model, path), _LONGEST, _LONGEST):
        try:
            if rider.unread:
                raise CheckpointError(rider.unread)
            remarks = examine(rider.data, rider.path)
        except CheckpointError as error:
            found["unread"].append((rider.path, Remark("unread", error.what)))
            continue
        for remark in remarks:
            found[remark.kind].append((rider.path, remark))
    for path, document in objects(model, "tokenizer_config.json"):
        decoder = document.get("added_tokens_decoder")
        tokens = [
            {**value, "id": int(key)}
            for key, value in (decoder.items() if isinstance(decoder, dict) else ())
            if isinstance(value, dict) and key.isdecimal() and len(key) < 10
        ]
        for remark in _added(tokens, "added_tokens_decoder"):
            found[remark.kind].append((path, remark))
    for path, remark in _of_gguf(model):
        found[remark.kind].append((path, remark))
    for kind, located in found.items():
        yield fact_of(f"code.tokenizer.{kind}", located)


def _of_gguf(model: Model) -> Iterator[Located]:
    """Ask the same of the vocabulary in a GGUF file that is at hand."""
    for weights in model.weights:
        if weights.format != "gguf" or not is_local(model, weights.files[0]):
            continue
        place = weights.arrays.get(TOKENS)
        path = place.file if place is not None else weights.files[0]
        told = 0
        try:
            with model.source.open(path) as reader:
                for token in special_tokens(reader, weights):
                    if token.is_control and _PLAIN.fullmatch(token.text):
                        continue
                    # Pieces of words have a mark of SentencePiece's in place of a space.
                    text = token.text.replace("\u2581", " ")
                    for kind, what in _judged(text, special=token.is_control):
                        said = f"the token {clean(text, 60)!r} {what}"
                        yield path, Remark(kind, said, field=f"{TOKENS}.{token.number}")
                        told += 1
                    if told >= _MOST:
                        break
        except CheckpointError as error:
            yield path, Remark("unread", error.what)


def _is_tokenizer(model: Model, path: str) -> bool:
    """Tell a tokenizer that is at hand: a vocabulary is too long to be fetched for this alone."""
    return path.rpartition("/")[2] == "tokenizer.json" and is_local(model, path)


def examine(data: bytes, file: str) -> list[Remark]:
    """Say what is of note in a `tokenizer.json`.

    Raises:
        CheckpointError: If it cannot be read.
    """
    document, rest = _without_vocabulary(data, file)
    listed = document.get("added_tokens")
    tokens = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    found = [*_rewrites(document.get("normalizer"), "normalizer")]
    found += _rewrites(document.get("decoder"), "decoder")
    found += _added(tokens, "added_tokens")
    found += _of_one_id(tokens, rest)
    return found[:_MOST]


def _without_vocabulary(data: bytes, file: str) -> tuple[Mapping[str, JsonValue], bytes]:
    """Parse all but the model, which the library writes last; give the rest as bytes.

    A file that says anything behind its model is parsed whole: the later word may count.
    """
    for found, _ in zip(_MODEL.finditer(data[:_PREFIX]), range(_CANDIDATES), strict=False):
        rest = data[found.start() :]
        if any(key in rest for key in _AGAIN):
            continue
        try:
            document = parse_json(data[: found.start()] + b"}", file)
        except CheckpointError:
            continue
        if isinstance(document, dict):
            return document, rest
    document = parse_json(data, file)
    if not isinstance(document, dict):
        raise CheckpointError("is not a JSON object", file=file)
    return document, data


def _rewrites(value: JsonValue, field: str, depth: int = 0) -> Iterator[Remark]:
    """Yield the steps of a normalizer or decoder that put words in, or take words out."""
    if not isinstance(value, dict) or depth > _DEEPEST:
        return
    for key in ("normalizers", "decoders"):
        steps = value.get(key)
        for index, step in enumerate(steps if isinstance(steps, list) else ()):
            yield from _rewrites(step, f"{field}.{key}.{index}", depth + 1)
    if value.get("type") == "Replace":
        pattern, content = value.get("pattern"), value.get("content")
        texts = list(pattern.values()) if isinstance(pattern, dict) else [pattern]
        old = next((text for text in texts if isinstance(text, str)), "")
        new = content if isinstance(content, str) else ""
        if _WORD.search(_ESCAPE.sub(" ", old)) or _WORD.search(new):
            what = (
                f"the {field.partition('.')[0]} rewrites {clean(old, 60)!r} as {clean(new, 60)!r}"
            )
            yield Remark("rewrites", what, field=field)
    elif value.get("type") in ("Prepend", "Append"):
        text = value.get("prepend") or value.get("append")
        if isinstance(text, str) and _WORD.search(text):
            what = f"the {field.partition('.')[0]} adds {clean(text, 60)!r} to every text"
            yield Remark("rewrites", what, field=field)


def _added(tokens: Sequence[Mapping[str, JsonValue]], field: str) -> Iterator[Remark]:
    """Yield the added tokens that are surprising, and those of one id."""
    by_id: dict[int, str] = {}
    for index, token in enumerate(tokens[:_MOST_TOKENS]):
        content, number = token.get("content"), token.get("id")
        if not isinstance(content, str):
            continue
        for kind, what in _judged(content, special=token.get("special") is True):
            yield Remark(
                kind, f"the added token {clean(content, 60)!r} {what}", field=f"{field}.{index}"
            )
        if isinstance(number, int):
            other = by_id.setdefault(number, content)
            if other != content:
                what = (
                    f"the added tokens {clean(other, 40)!r} and {clean(content, 40)!r} have one id"
                )
                yield Remark("odd", f"{what} ({number})", field=f"{field}.{index}")


def _judged(content: str, *, special: bool) -> Iterator[tuple[str, str]]:
    if any(addresses(content)):
        yield "rewrites", "is an address"
    elif _CONTROL.search(content) or (any(invisible(content)) and _WORD.search(content)):
        yield "rewrites", "holds characters that nobody sees"
    elif _PHRASE.search(content) and not _MARKER.search(content):
        yield "odd", "is a phrase"
    elif special and _WORD.fullmatch(content):
        yield "odd", "is an ordinary word, and special: answers leave it out"
    elif not special and _MARKER.fullmatch(content):
        yield "odd", "looks like a marker but is not special: any text can hold it"


def _of_one_id(tokens: Sequence[Mapping[str, JsonValue]], rest: bytes) -> Iterator[Remark]:
    """Yield the added tokens whose id the vocabulary gives to another token."""
    wanted: dict[int, str] = {}
    for token in tokens:
        number, content = token.get("id"), token.get("content")
        if isinstance(number, int) and isinstance(content, str):
            wanted.setdefault(number, content)
    if not wanted:
        return
    if rest.count(b'\\"') > _MOST_ESCAPES:
        raise LimitExceeded("escapes more quotation marks than a vocabulary has")
    start = max(rest.find(b'"vocab"'), 0)
    for found, _ in zip(_ENTRY.finditer(rest, start), range(_MOST_TOKENS), strict=False):
        content = wanted.get(int(found[2]))
        if content is None:
            continue
        try:
            other = json.loads(b'"' + found[1] + b'"')
        except ValueError:
            continue
        if other != content:
            what = f"the added token {clean(content, 40)!r} has the id of {clean(other, 40)!r}"
            yield Remark("odd", f"{what} ({int(found[2])})")
