"""Published facts about notable models, looked up by repository id or name; never by likeness."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval, Value
from steelyard.knowledge import load
from steelyard.sources.hub.spec import HubSpec

_LOOKED_UP = frozenset(
    {"release.date", "training.tokens", "training.compute", "data.public", "code.public"}
)
"""What the base adds about a model whose files are at hand: only what files do not show."""
_PUBLIC = {"weights": "weights.public", "data": "data.public", "code": "code.public"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A published value and where it was published."""

    value: float | str
    source: str
    """Key of the table of sources."""
    confidence: str = ""
    """For compute: `confident`, `likely` or `speculative`."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What is published about a model; None where nothing is."""

    name: str
    developer: str
    released: date
    ids: tuple[str, ...]
    """Repositories on the Hub."""
    parameters: Figure | None
    active: Figure | None
    tokens: Figure | None
    compute: Figure | None
    license: Figure
    input: frozenset[str]
    output: frozenset[str]
    public: Mapping[str, bool]
    """Whether weights, data and code are public, where that is known."""

    @property
    def compute_range(self) -> Interval | None:
        """Return the published compute as the range that it is taken to stand for."""
        if self.compute is None or not isinstance(self.compute.value, float):
            return None
        band = load("models")["bands"][self.compute.confidence]
        return Interval(self.compute.value * band["low"], self.compute.value * band["high"])


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Return every model of the base."""
    return tuple(_model(entry) for entry in load("models")["models"])


def find(name: str) -> KnownModel | None:
    """Find a model by a repository id (`org/name`) or by its exact name.

    Case and separators do not matter; a likeness of names is never enough.
    """
    return _index().get(_key(name))


@cache
def _index() -> Mapping[str, KnownModel]:
    found: dict[str, KnownModel] = {}
    for model in known_models():
        for name in (model.name, *model.ids):
            found.setdefault(_key(name), model)
    return found


def _key(name: str) -> str:
    organization, _, own = name.strip().lower().rpartition("/")
    plain = re.sub(r"[^a-z0-9.]+", "", own)
    return f"{organization}/{plain}" if organization else plain


def facts_of(known: KnownModel) -> Iterable[Fact]:
    """Yield what is published about a model, as declarations with their source."""
    yield Fact("release.date", known.released, Basis.DECLARED, evidence_of(known, "card"))
    for name, figure in (
        ("model.parameters.total", known.parameters),
        ("model.parameters.active", known.active or known.parameters),
        ("training.tokens", known.tokens),
    ):
        if figure is not None and isinstance(figure.value, float):
            whole = name.startswith("model.")
            value: Value = round(figure.value) if whole else figure.value
            yield Fact(name, value, Basis.DECLARED, evidence_of(known, figure.source))
    compute = known.compute_range
    if compute is not None and known.compute is not None:
        band = load("models")["bands"][known.compute.confidence]
        evidence = evidence_of(known, known.compute.source)
        note = f"published as {known.compute.value:.3g} FLOP; {band['reason']}"
        yield Fact("training.compute", compute, Basis.DECLARED, evidence, note)
    evidence = evidence_of(known, known.license.source)
    yield Fact("license.effective", str(known.license.value), Basis.DECLARED, evidence)
    yield Fact("model.modalities.input", known.input, Basis.DECLARED, evidence)
    yield Fact("model.modalities.output", known.output, Basis.DECLARED, evidence)
    for key, public in known.public.items():
        yield Fact(_PUBLIC[key], public, Basis.DECLARED, evidence)


def evidence_of(known: KnownModel, source: str) -> tuple[Evidence, ...]:
    """Return where something is published about a model, by a key of the table of sources."""
    title = load("models")["sources"][source]["title"]
    return (Evidence(field=f"{title} ({known.name})"),)


def _model(entry: Mapping[str, Any]) -> KnownModel:
    released = entry["released"]
    return KnownModel(
        name=str(entry["name"]),
        developer=str(entry["developer"]),
        released=released if isinstance(released, date) else date.fromisoformat(str(released)),
        ids=tuple(str(name) for name in entry.get("ids", ())),
        parameters=_figure(entry.get("parameters")),
        active=_figure(entry.get("active")),
        tokens=_figure(entry.get("tokens")),
        compute=_figure(entry.get("compute")),
        license=Figure(str(entry["license"]["value"]), entry["license"]["source"]),
        input=frozenset(entry["input"]),
        output=frozenset(entry["output"]),
        public={key: bool(value) for key, value in entry["public"].items()},
    )


def _figure(entry: Mapping[str, Any] | None) -> Figure | None:
    if entry is None:
        return None
    # YAML 1.1 reads `1e25` as text.
    return Figure(float(entry["value"]), entry["source"], entry.get("confidence", ""))


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what is published about a model that is read from its own repository on the Hub.

    A folder that bears a model's name proves nothing, so it is not looked up.
    """
    if model.source.kind != "hub":
        return
    known = find(HubSpec.parse(model.source.spec).repo)
    if known is not None:
        yield from (fact for fact in facts_of(known) if fact.name in _LOOKED_UP)


def derive(book: FactBook) -> Iterable[Fact]:
    """Yield the published training compute of the declared base, or of all parents of a merge.

    Parents may share a base, which counts once: a merge has at least what its largest parent has,
    and at most the sum. One parent without a figure leaves it unknown. What the weights refute
    counts for nothing.
    """
    bases = book.value("lineage.declared_base")
    if "training.compute.base" in book or not isinstance(bases, frozenset):
        return
    gone = book.value("lineage.declared_refuted")
    bases = bases - gone if isinstance(gone, frozenset) else bases
    if len(bases) != 1 and book.value("lineage.declared_relation") != "merge":
        return
    found = [(find(base), base) for base in sorted(bases)]
    known = [model for model, _ in found if model is not None and model.compute_range is not None]
    ranges = [model.compute_range for model in known if model.compute_range is not None]
    if not known or len(known) < len(bases):
        return
    compute = Interval(max(one.low for one in ranges), sum(one.high for one in ranges))
    names = " and ".join(model.name for model in known)
    evidence = [item for model in known for item in evidence_of(model, _compute_source(model))]
    note = f"published for {names}, which the documents name as the base"
    if len(known) > 1:
        note += "; between the largest and the sum, as parents may share a base"
    yield Fact("training.compute.base", compute, Basis.DECLARED, tuple(evidence), note)


def _compute_source(known: KnownModel) -> str:
    return known.compute.source if known.compute is not None else ""
