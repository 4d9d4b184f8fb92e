"""Which questions an audit asks: all, or those of the topics that somebody names.

A topic has its analyzers and the facts that it is about. Its rules are those whose conditions name
such a fact and nothing that its analyzers do not give, so that what a rule says about a topic is
what it says in a whole audit. Analyzers are imported when they are asked, so that an audit of one
topic starts without what the others need.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from steelyard.errors import ConfigError

if TYPE_CHECKING:
    # The shell's completion reads the names alone, and must not wait for the readers.
    from steelyard.analyzers.base import Analyzer

ANALYZERS: Final[Mapping[str, str]] = {
    "contents": "steelyard.analyzers.contents",
    "stated": "steelyard.analyzers.stated",
    "architecture": "steelyard.analyzers.architecture",
    "parameters": "steelyard.analyzers.parameters",
    "adapter": "steelyard.analyzers.adapter",
    "card": "steelyard.analyzers.card",
    "licenses": "steelyard.analyzers.licenses",
    "integrity": "steelyard.analyzers.integrity",
    "code": "steelyard.analyzers.code",
    "openness": "steelyard.analyzers.openness",
    "compute": "steelyard.analyzers.compute",
    "known_models": "steelyard.analyzers.known_models",
}
"""The questions that headers and documents answer, in the order in which they are asked: each
one's module, which has an `analyze`."""

_EVERY: Final = tuple(ANALYZERS)
_SHAPE: Final = ("contents", "stated", "architecture", "parameters", "adapter")
_ORIGIN: Final = ("lineage.declared_base", "lineage.declared_relation", "lineage.base_hint")


@dataclass(frozen=True, slots=True)
class AuditTopic:
    """A part of an audit that can be asked for alone."""

    meaning: str
    analyzers: tuple[str, ...]
    about: tuple[str, ...]
    """Facts that its rules are about; one that ends in a dot stands for all that begin so."""
    beside: tuple[str, ...] = ()
    """Further facts that its analyzers give and its rules may ask about."""
    without: tuple[str, ...] = ()
    """Facts that are named like those it is about, and are given by others."""
    derives: bool = False
    """Compute facts from facts, too."""
    digest: bool = False
    """Read every byte for the identity."""
    scan: bool = False
    """Look at every element, where that is wanted."""
    signature: bool = False
    """Set the signature beside the files."""
    lineage: bool = False
    """Sample the weights for their origin."""
    law: bool = False
    """Apply law, where markets are named."""
    law_values: bool = False
    """Tell the thresholds that law sets."""


TOPICS: Final[Mapping[str, AuditTopic]] = {
    "code": AuditTopic(
        "what opening the files, or using them, would run; files that hide from that question",
        ("contents", "stated", "integrity", "code"),
        (
            "code.",
            "files.escaping",
            "files.skipped",
            "integrity.not_fully_read",
            "integrity.tensors.unread",
            "integrity.unreadable",
        ),
        beside=("model.formats",),
        without=("code.public",),
    ),
    "integrity": AuditTopic(
        "whether files and tensors are whole, and signed",
        (*_SHAPE, "integrity"),
        ("integrity.", "files.", "signature.", "weights.nonfinite"),
        beside=("weights.present",),
        scan=True,
        signature=True,
    ),
    "identity": AuditTopic(
        "the digest of the weights and of each file; reads every byte",
        ("contents", "stated"),
        ("model.identity",),
        digest=True,
    ),
    "architecture": AuditTopic(
        "architecture and parameters as counted and as declared",
        (*_SHAPE, "card", "known_models"),
        ("model.", "adapter."),
        without=("model.identity",),
        derives=True,
    ),
    "card": AuditTopic(
        "what the model card says, and what it lacks",
        (*_SHAPE, "card", "known_models"),
        ("card.",),
        beside=("weights.present", "model.modalities.output", "model.architecture", *_ORIGIN),
    ),
    "license": AuditTopic(
        "licenses as declared and as their texts lie there",
        (*_SHAPE, "card", "licenses", "known_models"),
        ("license.",),
        beside=("weights.present",),
        derives=True,
    ),
    "lineage": AuditTopic(
        "where the weights come from; reads samples of them",
        _EVERY,
        ("lineage.",),
        beside=("card.", "measures."),
        derives=True,
        lineage=True,
    ),
    "compute": AuditTopic(
        "training compute, by each method that applies",
        _EVERY,
        ("training.",),
        derives=True,
        law_values=True,
    ),
    "openness": AuditTopic(
        "which parts are public, and under which terms",
        _EVERY,
        ("openness.",),
        beside=("license.", "usage_info."),
        derives=True,
    ),
    "law": AuditTopic(
        "what law says in the markets that are named",
        _EVERY,
        (),
        derives=True,
        law=True,
        law_values=True,
    ),
}
"""Every topic by name, in the order of the documentation."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an audit asks: everything, or some topics."""

    only: tuple[str, ...] = ()
    """The topics, in the order of `TOPICS`; empty for everything."""

    @property
    def analyzers(self) -> Iterable[tuple[str, Analyzer]]:
        """Yield the analyzers to ask, each imported when its turn comes."""
        wanted = {name for topic in self._topics for name in topic.analyzers}
        for name, module in ANALYZERS.items():
            if not self.only or name in wanted:
                yield name, cast("Analyzer", import_module(module).analyze)

    @property
    def about(self) -> tuple[str, ...]:
        """Return the facts that rules of the topics are about, as `AuditTopic.about` has them."""
        return tuple(name for topic in self._topics for name in topic.about)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Name the topics that nobody asked for."""
        return tuple(name for name in TOPICS if self.only and name not in self.only)

    def does(self, what: str, otherwise: bool = True) -> bool:
        """Tell whether some topic wants a further step (`digest`, `lineage`, `derives`, `law`).

        Args:
            what: A field of `AuditTopic`.
            otherwise: What holds where no topic is named.
        """
        if not self.only:
            return otherwise
        return any(getattr(topic, what) for topic in self._topics)

    def asks(self, names: Iterable[str], *, law: bool) -> bool:
        """Tell whether a rule whose conditions name these facts belongs to what is asked."""
        if not self.only:
            return True
        if law:
            return self.does("law")
        named = tuple(names)
        return any(_belongs(named, topic) for topic in self._topics)

    @property
    def _topics(self) -> tuple[AuditTopic, ...]:
        return tuple(TOPICS[name] for name in self.only)


def _belongs(names: tuple[str, ...], topic: AuditTopic) -> bool:
    given = (*topic.about, *topic.beside)
    asked = _any(names, topic.about) and all(_any((name,), given) for name in names)
    return asked and not _any(names, topic.without)


def _any(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(
        name.startswith(pattern) if pattern.endswith(".") else name == pattern
        for name in names
        for pattern in patterns
    )


def scope_of(names: Iterable[str]) -> Scope:
    """Return the scope of the named topics; of everything if none is named.

    Raises:
        ConfigError: If there is no topic of some name.
    """
    wanted = set(names)
    for name in sorted(wanted - TOPICS.keys()):
        near = difflib.get_close_matches(name, TOPICS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"there is no topic {name[:80]!r}", fix=f"{hint}topics: {', '.join(TOPICS)}"
        )
    return Scope(tuple(name for name in TOPICS if name in wanted))
