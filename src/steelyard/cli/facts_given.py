"""Facts from settings and from `--fact NAME=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from steelyard.errors import ConfigError

if TYPE_CHECKING:
    from steelyard.cli.settings import Settings
    from steelyard.facts import Value


def facts_given(settings: Settings, stated: Iterable[str]) -> dict[str, Value]:
    """Read what settings and the command line state; the command line wins.

    Raises:
        ConfigError: If a text is not `NAME=VALUE`.
        FactError: If a name or a value does not fit the vocabulary.
    """
    from steelyard.analyzers.stated import read_value

    facts = {name: read_value(name, value) for name, value in settings.facts.items()}
    for text in stated:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--fact wants NAME=VALUE, not {text!r}", fix="see: steelyard facts")
        facts[name.strip()] = read_value(name.strip(), value)
    return facts
