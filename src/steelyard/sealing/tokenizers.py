"""What a tokenizer is: its tokens by number, and which of them are special."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.lineage.reading.tokens import Tokenizer
from steelyard.sealing.lock_document import LockedTokenizer

_GGUF: Final = "tokenizer.ggml."
_KEYS: Final = ("token_id", "add_bos_token", "add_eos_token")
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class TokenizerAtHand:
    """A tokenizer, read."""

    tokens: tuple[str, ...] | None
    """By number; None where no document tells."""
    special: Mapping[str, str]

    @property
    def locked(self) -> LockedTokenizer:
        """Return what a lock keeps of it."""
        if self.tokens is None:
            return LockedTokenizer(tokens=None, digest=None, special=dict(self.special))
        # As JSON, so that no token can stand for two.
        written = json.dumps(self.tokens, separators=(",", ":")).encode()
        count = sum(1 for token in self.tokens if token)
        digest = f"sha256:{hashlib.sha256(written).hexdigest()}"
        return LockedTokenizer(tokens=count, digest=digest, special=dict(self.special))


def read_tokenizer(model: Model) -> TokenizerAtHand | None:
    """Read a model's tokenizer; None when there is none.

    Raises:
        SourceError: If a file cannot be read.
    """
    tokens = Tokenizer(model).tokens
    special = dict(sorted(_special(model)))
    return None if tokens is None and not special else TokenizerAtHand(tokens, special)


def _special(model: Model) -> Iterator[tuple[str, str]]:
    """Yield the special tokens that a configuration or a header names."""
    config = model.config("tokenizer_config.json")
    for key, value in config[1].items() if config else ():
        if key.endswith("_token") and (text := _content(value)) is not None:
            yield key, text
        elif key == "added_tokens_decoder" and isinstance(value, dict):
            for number, item in value.items():
                if isinstance(item, dict) and item.get("special") is True:
                    yield f"added token {number[:20]}", _content(item) or ""
    main = model.main
    for key, held in main.metadata.items() if main is not None else ():
        name = key.removeprefix(_GGUF)
        if name != key and name.endswith(_KEYS) and isinstance(held, int | str):
            yield f"{PurePosixPath(name)}", str(held)[:_LONGEST]


def _content(value: JsonValue) -> str | None:
    """Return a token's text, however it is written."""
    if isinstance(value, dict):
        value = value.get("content")
    return value[:_LONGEST] if isinstance(value, str) else None
