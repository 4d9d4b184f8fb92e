"""What a stated license means: `apache-2.0`, `Apache License 2.0` and `Apache-2.0` are one.

Cards use the Hub's identifiers, packages SPDX expressions, classifiers or free words. All are
read into SPDX identifiers where SPDX has one, into a `LicenseRef-...` where our tables do. Some
names leave open which license is meant (`bsd`, `gemma`, "Apache Software License"): these cover
every license that they may mean, so that they contradict none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from steelyard.analyzers.quoting import clean
from steelyard.knowledge import load

if TYPE_CHECKING:
    from license_expression import Licensing

_LONGEST = 300
_IGNORED = frozenset({"the", "license", "licence", "licensed", "under", "version"})
_WORDS = re.compile(r"[^\W_][^\W_.+]*(?:[.+]+[^\W_]+)*\+*")
_ADDRESS = re.compile(r"\(?https?://\S*")
_NO_SLUG = re.compile(r"[^A-Za-z0-9.]+")
_SUFFIXES = ("-only", "-or-later")


@dataclass(frozen=True, slots=True)
class Stated:
    """A license as somebody states it."""

    value: str
    """An SPDX expression where it is one, else as written."""
    ids: tuple[str, ...] = ()
    """The licenses in it, as SPDX identifiers or LicenseRefs; empty when it is not understood."""
    prefixes: tuple[str, ...] = ()
    """For a name that leaves open which license is meant: how each of them starts."""

    @property
    def known(self) -> bool:
        """Tell whether it is understood, so that a text can contradict it."""
        return bool(self.ids or self.prefixes)

    def covering(self, license_id: str) -> str | None:
        """Return what the license of a text is called here; None when it is not meant.

        The texts of `GPL-3.0-only` and `GPL-3.0-or-later` are one, so each covers the other.
        """
        for own in self.ids:
            if _core(own) == _core(license_id):
                return own
        return license_id if self.prefixes and license_id.startswith(self.prefixes) else None


def read_license(text: str) -> Stated | None:
    """Read a stated license; None when it says nothing (`unknown`, an empty text)."""
    text = clean(text, _LONGEST)
    key = _key(text)
    if not text or key in _empty():
        return None
    if not key:
        return Stated(text) if "://" in text else None
    known = _single(text)
    if known is not None:
        return known
    expression = _expression(text)
    return expression if expression is not None else Stated(text)


def is_hub_license(text: str) -> bool:
    """Tell whether the Hub lists a license under exactly this identifier."""
    table = load("hub_licenses")
    return text in table["licenses"] or text in table["families_on_hub"] or text == "unknown"


def license_id(found: str) -> str:
    """Give the current SPDX identifier for one that may be deprecated (`GPL-3.0`)."""
    stated = _single(found) or _expression(found)
    return stated.ids[0] if stated is not None and len(stated.ids) == 1 else found


def license_ref(text: str) -> str:
    """Make a `LicenseRef-` identifier from a name."""
    return "LicenseRef-" + (_NO_SLUG.sub("-", text).strip("-.")[:80] or "unnamed")


def _single(text: str) -> Stated | None:
    """Look up one license or family by any of its names."""
    table = load("hub_licenses")
    target = text if text in table["licenses"] else _names().get(_key(text))
    if target is None:
        return None
    if target in table["families"]:
        return Stated(text, prefixes=tuple(table["families"][target]))
    found = table["licenses"].get(target, target)
    return Stated(found, (found,))


def _expression(text: str) -> Stated | None:
    """Read an SPDX expression; each name in it may also be one of ours."""
    from license_expression import ExpressionError, LicenseSymbol  # takes 40 ms

    licensing = _licensing()
    try:
        parsed = licensing.parse(text.replace("/", " OR ") if " " not in text else text)
        symbols: list[Any] = [] if parsed is None else licensing.license_symbols(parsed)
    except (ExpressionError, AssertionError, IndexError, RecursionError):
        # The library's parser stumbles over some unbalanced texts: `( ) mit mit`, `( or mit`.
        return None
    if not symbols:
        return None
    table = load("hub_licenses")
    replaced: dict[Any, Any] = {}
    for symbol in symbols:
        stated = _single(symbol.key)
        if stated is not None and stated.ids:
            replaced[symbol] = LicenseSymbol(stated.ids[0])
        elif symbol.key not in licensing.known_symbols and symbol.key not in _values(table):
            return None
    parsed = parsed.subs(replaced) if replaced else parsed
    ids = tuple(dict.fromkeys(str(replaced.get(symbol, symbol).key) for symbol in symbols))
    return Stated(str(parsed), ids)


@cache
def _licensing() -> Licensing:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@cache
def _names() -> Mapping[str, str]:
    """Map the key of every name to an id of the hub, a family, or an SPDX identifier."""
    table = load("hub_licenses")
    names = {_key(spdx): hub for hub, spdx in table["licenses"].items()}
    names |= {_key(name): name for name in (*table["families"], *table["licenses"])}
    for target, spellings in table["names"].items():
        names |= dict.fromkeys((_key(name) for name in (target, *spellings)), target)
    return names


@cache
def _empty() -> frozenset[str]:
    return frozenset(_key(word) for word in load("hub_licenses")["empty"])


def _values(table: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(table["licenses"].values())


def _key(text: str) -> str:
    """Reduce a name to what tells it from others: `Apache License, v2.0` to `apache 2.0`."""
    words = (word.rstrip(".") for word in _WORDS.findall(_ADDRESS.sub(" ", text.lower())))
    kept = (word for word in words if word not in _IGNORED)
    return " ".join(re.sub(r"^v(?=\d)", "", word) for word in kept)


def _core(license_id: str) -> str:
    for suffix in _SUFFIXES:
        license_id = license_id.removesuffix(suffix)
    return license_id.lower()
