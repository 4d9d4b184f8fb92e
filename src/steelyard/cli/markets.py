"""Markets and roles as they are written on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from steelyard.errors import ConfigError
from steelyard.facts import term
from steelyard.rules.jurisdictions import jurisdictions, read_market


def read_markets(texts: Iterable[str]) -> tuple[str, ...]:
    """Read codes of markets; `all` stands for every jurisdiction.

    Raises:
        ConfigError: If Steelyard has no rules for one of them.
    """
    found: dict[str, None] = {}
    for text in texts:
        if text.strip().lower() == "all":
            found |= dict.fromkeys(jurisdictions())
        else:
            found[read_market(text)] = None
    return tuple(found)


def read_roles(texts: Iterable[str]) -> tuple[str, ...]:
    """Read roles.

    Raises:
        ConfigError: If there is no such role.
    """
    choices = term("actor.role").choices
    roles = tuple(dict.fromkeys(text.strip().lower().replace("-", "_") for text in texts))
    for role in roles:
        if role not in choices:
            near = difflib.get_close_matches(role, choices, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"there is no role {role!r}", fix=f"{hint}one of {', '.join(choices)}"
            )
    return roles
