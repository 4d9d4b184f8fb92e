"""Secrets that were left in files: tokens, keys, passwords. What they are is never repeated.

Texts are searched for the forms that issuers give their tokens (`knowledge/secrets.yaml`), and for
assignments of something random to a name like `password`. A report tells the kind, the first four
characters and the length. Over a network only what was read with the model is searched.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.code.reading import is_local, riders
from steelyard.analyzers.code.remarks import Located, Remark, fact_of
from steelyard.checkpoints.model import Model
from steelyard.facts import Fact
from steelyard.knowledge import load

_LONGEST: Final = 2_000_000
_MOST: Final = 100
_SHOWN: Final = 4
_LEAST_ENTROPY: Final = 3.3
"""Bits for each character below which a text is words rather than random."""
_SUFFIXES: Final = frozenset(
    {"", ".py", ".ipynb", ".sh", ".bash", ".env", ".cfg", ".conf", ".ini", ".toml", ".yaml", ".yml",
     ".json", ".jsonl", ".md", ".txt", ".rst", ".html", ".js", ".ts", ".xml", ".properties", ".pem",
     ".key", ".log", ".csv", ".tsv", ".jinja", ".dockerfile", ".tf", ".r", ".rb", ".go", ".rs"}
)  # fmt: skip
_PAGES: Final = frozenset({".html", ".htm", ".js"})
_VOCABULARIES: Final = frozenset({"tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"})
_NOT_REAL: Final = re.compile(
    r"(?i)example|placeholder|change_?me|your|xxxx|dummy|sample|redacted|\*\*|\.\.\.|[<>{}$]|%\(|test"
)


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the secrets that lie in files, by kind, place, first characters and length."""
    found: list[Located] = []
    searched: set[str] = set()
    for rider in riders(model, lambda path: is_local(model, path) and _is_text(path), _LONGEST):
        searched.add(rider.path)
        if rider.data and b"\0" not in rider.data[:4096]:
            found += _located(rider.path, rider.data.decode("utf-8", "replace"))
    for path, text in model.texts.items():
        found += _located(path, text) if path not in searched else ()
    for path, document in model.json.items():
        found += _located(path, json.dumps(document)[:_LONGEST]) if path not in searched else ()
    for weights in model.weights:
        for key, value in weights.metadata.items():
            if isinstance(value, str):
                for _, remark in _located(weights.files[0], value[:_LONGEST]):
                    found.append((weights.files[0], Remark("secret", remark.what, field=key)))
    yield fact_of("code.secrets", found[:_MOST])


def search(text: str, *, is_page: bool = False) -> Iterator[Remark]:
    """Yield each secret in a text, without saying it.

    Args:
        text: What is searched.
        is_page: Whether it is a web page, where some keys stand for everyone to see.
    """
    for name, hint, pattern, random, in_pages in _patterns():
        if (hint and hint not in text) or (is_page and in_pages):
            continue
        for found in pattern.finditer(text):
            secret = found[1] if pattern.groups else found[0]
            if _is_real(secret, random):
                line = text.count("\n", 0, found.start()) + 1
                shown = "" if name == "private key" else f" {secret[:_SHOWN]}…"
                length = "" if name == "private key" else f" ({len(secret)} characters)"
                yield Remark("secret", f"line {line} holds a {name}{shown}{length}", line=line)


def _located(path: str, text: str) -> list[Located]:
    is_page = PurePosixPath(path).suffix.lower() in _PAGES
    return [(path, remark) for remark in search(text, is_page=is_page)]


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str], bool, bool], ...]:
    """Give name, hint and pattern of each form, whether it must be random, and be no page's."""
    return tuple(
        (
            item["name"],
            item["hint"],
            re.compile(item["pattern"]),
            bool(item.get("random")),
            bool(item.get("pages")),
        )
        for item in load("secrets")
    )


def _is_real(secret: str, random: bool) -> bool:
    """Tell a secret from what stands for one in documentation."""
    if random:
        mixed = any(map(str.isdigit, secret)) and any(map(str.isalpha, secret))
        return mixed and not _NOT_REAL.search(secret) and _entropy(secret) >= _LEAST_ENTROPY
    return _entropy(secret) >= 2 and not re.search(r"(?i)example|xxxx", secret)


def _entropy(text: str) -> float:
    """Measure how even the characters of a text are, in bits for each."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def _is_text(path: str) -> bool:
    name = PurePosixPath(path)
    if name.name.lower() in _VOCABULARIES:
        return False
    return name.suffix.lower() in _SUFFIXES or name.name.startswith(".")
