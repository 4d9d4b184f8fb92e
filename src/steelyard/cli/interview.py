"""`--interview`: ask for what no file shows, the most useful first, and keep the answers."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.main import printable
from steelyard.errors import ConfigError, FactError

if TYPE_CHECKING:
    from steelyard.facts import Value
    from steelyard.obligations.questions import Question

_MOST_RULES = 4


@dataclass(slots=True)
class Interview:
    """Asks a person, question by question. An empty answer skips, `q` ends, `?` explains."""

    answers: dict[str, Value] = field(default_factory=dict)
    ended: bool = False
    greeted: bool = False

    def ask(self, question: Question, left: int) -> Value | None:
        """Ask one question until the answer fits; None where the person does not know."""
        if self.ended:
            return None
        if not self.greeted:
            _say("Answer what you know. Enter skips a question, ? explains it, q ends.")
            self.greeted = True
        term, settles = question.term, question.settles
        named = ", ".join(settles[:_MOST_RULES])
        more = f" and {len(settles) - _MOST_RULES} more" if len(settles) > _MOST_RULES else ""
        _say(f"\n{term.question}  ({left} left; for {named}{more})")
        while True:
            click.echo(f"  {term.expects}: ", nl=False, err=True)
            line = sys.stdin.readline()
            text = line.strip()
            # The end of the input is the end of the interview, not of the audit.
            self.ended = not line or text.lower() in ("q", "quit")
            if self.ended or not text:
                return None
            if text == "?":
                _say(f"  {term.name}: {term.meaning}")
                continue
            try:
                value = term.parse(text)
            except FactError as error:
                _say(f"  {printable(error.what)}")
                continue
            self.answers[term.name] = value
            return value


def _say(text: str) -> None:
    click.echo(text, err=True)


def keep(answers: Mapping[str, Value], folder: Path) -> Path:
    """Write answers to the `[facts]` table of the model's own `steelyard.toml`.

    What stands in the file stays as it is, comments included.

    Raises:
        ConfigError: If the file does not parse or cannot be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = folder / "steelyard.toml"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        document = tomlkit.parse(text)
        if "facts" not in document:
            document["facts"] = tomlkit.table()
        facts: Any = document["facts"]
        for name, value in answers.items():
            facts[name] = _written(value)
        path.write_text(tomlkit.dumps(document), encoding="utf-8")
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the answers cannot be kept", why=str(error), fix="repair the file", file=str(path)
        ) from None
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError("the answers cannot be kept", why=why, file=str(path)) from None
    return path


def _written(value: Value) -> bool | int | float | str | date | list[str]:
    """Turn a value into what TOML holds and `read_value` reads back."""
    from steelyard.facts import Interval

    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Interval):
        return f"{value.low!r}..{value.high!r}"
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value
