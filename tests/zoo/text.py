"""Text that is on every machine with a Python: the standard library's own sources."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

SPECIAL = ("<pad>", "<s>", "</s>", "<mask>")
MASK = SPECIAL.index("<mask>")
CORPORA: Mapping[str, tuple[str, ...]] = {
    "library": ("[a-f]*.py", "[m-p]*.py"),
    "other": ("[g-l]*.py", "[q-z]*.py"),
    "prose": ("pydoc_data/*.py",),
    "mail": ("email/**/*.py", "http/*.py", "urllib/*.py", "html/*.py"),
    "loops": ("asyncio/*.py", "concurrent/**/*.py", "multiprocessing/**/*.py"),
    "markup": ("xml/**/*.py", "logging/*.py", "importlib/**/*.py"),
}
"""Patterns of files of the standard library."""
_MOST = 500_000
_WORD = re.compile(r" ?[A-Za-z]+|\d+| +|\n+ *|[^\sA-Za-z\d]+|\s")


@cache
def corpus(name: str) -> str:
    """Return the text of a corpus, files in the order of their names.

    Raises:
        FileNotFoundError: If this Python came without those files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    parts: list[str] = []
    for pattern in CORPORA[name]:
        paths = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
        parts += ((root / path).read_text(encoding="utf-8", errors="replace") for path in paths)
    text = "".join(parts)[:_MOST]
    if len(text) < 10_000:
        raise FileNotFoundError(
            f"this Python lacks the sources of the corpus {name!r}; use one with its whole library"
        )
    return text


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Frequent words as tokens, bytes for all else."""

    tokens: tuple[str, ...]

    def encode(self, text: str) -> Ids:
        """Return token numbers."""
        number = {token: row for row, token in enumerate(self.tokens)}
        first = len(SPECIAL)
        found: list[int] = []
        for word in _WORD.findall(text):
            row = number.get(word)
            found += [row] if row is not None else [first + byte for byte in word.encode()]
        return np.array(found, np.int64)


def train_tokenizer(size: int, corpora: Iterable[str]) -> Tokenizer:
    """Take the most frequent words of some corpora, up to `size` tokens, bytes included."""
    counts: Counter[str] = Counter()
    for name in corpora:
        counts.update(_WORD.findall(corpus(name)))
    ranked = sorted((-count, word) for word, count in counts.items())
    fixed = (*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)))
    words = [word for _, word in ranked if word not in fixed]
    return Tokenizer((*fixed, *words[: size - len(fixed)]))
