"""The story: open the source, read the checkpoint, gather facts, apply rules, return the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.analyzers import (
    adapter,
    architecture,
    card,
    code,
    compute,
    contents,
    integrity,
    known_models,
    licenses,
    openness,
    parameters,
    stated,
)
from steelyard.analyzers.base import Analyzer
from steelyard.analyzers.derived import derive
from steelyard.analyzers.identity import identity_facts, measure
from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digests import Digests
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.errors import SourceNotFound
from steelyard.facts import Basis, Fact, FactBook, Value
from steelyard.obligations.questions import Question, open_questions
from steelyard.progress import NoProgress, Progress
from steelyard.reports.report import (
    FileInfo,
    PackInfo,
    Report,
    SourceInfo,
    TensorInfo,
    Threshold,
)
from steelyard.rules import (
    Conclusions,
    Pack,
    Rulebook,
    Topic,
    conclude,
    load_packs,
    rules_on,
)
from steelyard.rules.evaluation import MARKETS, ROLE
from steelyard.rules.ignores import Ignore, apply_ignores
from steelyard.sources import Network, Source, open_source

if TYPE_CHECKING:
    # Imported when it is asked for: an audit without it need not wait.
    from steelyard.analyzers.lineage.analyzer import Told
    from steelyard.lineage.known.registry import Registry

ANALYZERS: Mapping[str, Analyzer] = {
    "contents": contents.analyze,
    "stated": stated.analyze,
    "architecture": architecture.analyze,
    "parameters": parameters.analyze,
    "adapter": adapter.analyze,
    "card": card.analyze,
    "licenses": licenses.analyze,
    "integrity": integrity.analyze,
    "code": code.analyze,
    "openness": openness.analyze,
    "compute": compute.analyze,
    "known_models": known_models.analyze,
}
"""The questions that headers and documents answer, in the order in which they are asked."""


Ask = Callable[[Question, int], Value | None]
"""Answer a question, told how many are left; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an audit does beyond reading headers and documents."""

    digest: bool = True
    """Compute the identity and the SHA-256 of the weights files (reads every byte)."""
    scan_values: bool = False
    """Look for NaN and infinity (reads every byte)."""
    allow_empty: bool = False
    """Report on a source that holds no model, too."""
    tensors: bool = False
    """List every tensor of the main weights in the report."""
    markets: Sequence[str] = ()
    """Where the model is or will be offered or used, as codes of jurisdictions (`eu`, `us-ca`);
    law is applied only for these, and not at all if neither this nor a fact names any."""
    roles: Sequence[str] = ()
    """What the reader does with the model (`provider`, `adopter`), as in `actor.role`."""
    lineage: bool = True
    """Look for the origin of the weights (reads samples: a few megabytes, on this machine more)."""
    registries: Sequence[Registry] | None = None
    """Known bases among which to look; None for those that ship with Steelyard."""
    base: str | Path | Source | None = None
    """A model to compare with in full, taken for the base."""
    lineage_budget: int | None = None
    """Most bytes to read for lineage beyond a sketch; None for what suits the place of the bytes:
    over a network nothing, but for `base`."""
    facts: Mapping[str, Value] = field(default_factory=dict)
    """What the user states, by name of the vocabulary."""
    ask: Ask | None = None
    """Who answers the questions that would settle what is undetermined."""
    ignores: Sequence[Ignore] = ()
    packs: Sequence[Pack] | None = None
    """Rules to apply; None for all that ship with Steelyard."""
    network: Network = field(default_factory=Network)
    cache: DigestCache | None = None
    progress: Progress = field(default_factory=NoProgress)


def audit(source: str | Path | Source, *, as_of: date, options: Options | None = None) -> Report:
    """Weigh one model: read it, gather facts, apply the rules as of a day.

    Args:
        source: A folder, a file, `https://...`, `hf://org/name[@revision][/file]`, or a source
            that is already open (it stays open).
        as_of: The day as of which rules are applied.
        options: What to do beyond reading headers and documents.

    Raises:
        SourceError: If the source cannot be opened or read.
        CheckpointError: If there are weights and none of them can be read.
        PackError: If a rule pack is wrong.
        FactError: If a stated fact does not fit the vocabulary.
    """
    options = options or Options()
    if not isinstance(source, str | Path):
        return _audit(source, as_of, options)
    opened = open_source(str(source), network=options.network)
    try:
        return _audit(opened, as_of, options)
    finally:
        opened.close()


def _audit(source: Source, as_of: date, options: Options) -> Report:
    model = read_model(source)
    if not (options.allow_empty or model.weights or model.json or model.texts or model.problems):
        raise SourceNotFound(
            f"there is no model in {source.spec}",
            why=f"none of its {len(source.files)} files is weights, a configuration or a card",
            fix="name the folder that holds them, or say --allow-empty",
        )
    book = FactBook(stated.by_user(_stated(options)))
    for analyze in ANALYZERS.values():
        book.extend(analyze(model))
    bytes_read = source.bytes_read
    if options.scan_values:
        book.extend(integrity.value_scan(options.progress)(model))
    digests = (
        measure(model, cache=options.cache, progress=options.progress) if options.digest else None
    )
    book.extend(identity_facts(model, digests))
    read = source.bytes_read
    origin = _lineage(model, book, options) if options.lineage else None
    if origin is not None:
        book.extend(origin.facts)
        bytes_read += source.bytes_read - read
    loaded = load_packs() if options.packs is None else tuple(options.packs)
    packs = tuple(_concerned(loaded, book))
    said = _conclude(rules_on(packs, as_of), book, options.ask)
    findings, ignored, notices = apply_ignores(
        said.findings, options.ignores, source=source.spec, as_of=as_of
    )
    return Report(
        version=version("steelyard"),
        as_of=as_of,
        source=SourceInfo(source.spec, source.kind, source.revision, bytes_read),
        packs=tuple(_pack_info(pack) for pack in packs),
        book=said.book,
        findings=findings,
        ignored=ignored,
        notices=(
            *(digests.notes if digests else ()),
            *(origin.notices if origin else ()),
            *notices,
        ),
        files=tuple(_file_infos(model, digests)),
        tensors=tuple(_tensor_infos(model, digests)) if options.tensors else (),
        thresholds=tuple(_thresholds(loaded, as_of)),
    )


def _lineage(model: Model, book: FactBook, options: Options) -> Told:
    """Tell where the weights come from, and what became of the chat template of a given base.

    The base is open for as long as it takes.
    """
    from steelyard.analyzers.lineage import analyzer as lineage
    from steelyard.lineage.known.registry import shipped_registry

    registries = options.registries
    if registries is None:
        registries = (shipped_registry(),)
    with ExitStack() as stack:
        base = options.base
        if isinstance(base, str | Path):
            base = open_source(str(base), network=options.network)
            stack.callback(base.close)
        theirs = None if base is None else read_model(base)
        if theirs is not None and not theirs.weights:
            raise SourceNotFound(
                f"there are no weights in {theirs.source.spec}, which is given as the base",
                fix="name the folder or file that holds them",
            )
        wanted = lineage.Wanted(tuple(registries), theirs, options.lineage_budget)
        told = lineage.analyze(model, book, wanted)
        if theirs is None:
            return told
        changed = code.templates.against(model, theirs)
        return replace(told, facts=(*told.facts, *changed))


def _thresholds(packs: Iterable[Pack], day: date) -> Iterable[Threshold]:
    """Yield the thresholds for training compute that stand on a day, the lowest first."""
    found = {
        (value, pack.jurisdiction)
        for pack in packs
        for parameter in pack.parameters
        if parameter.topic is Topic.COMPUTE_THRESHOLD and parameter.values[0].since <= day
        for value in (parameter.on(day),)
        if not isinstance(value, date)
    }
    for value, jurisdiction in sorted(found):
        yield Threshold(jurisdiction, value)


def _conclude(rulebook: Rulebook, book: FactBook, ask: Ask | None) -> Conclusions:
    """Apply the rules; ask what would settle most, again and again, where somebody answers."""
    asked: set[str] = set()
    while True:
        known = book.copy()
        known.extend(derive(known))
        said = conclude(rulebook, known)
        waiting = [q for q in open_questions(said.findings) if q.term.name not in asked]
        if ask is None or not waiting:
            return said
        asked.add(waiting[0].term.name)
        value = ask(waiting[0], len(waiting))
        if value is not None:
            book.extend(stated.by_user({waiting[0].term.name: value}))


def _stated(options: Options) -> dict[str, Value]:
    """Join what the user states as facts, and as markets and roles."""
    facts = dict(options.facts)
    for name, values in ((MARKETS, options.markets), (ROLE, options.roles)):
        if values:
            facts[name] = frozenset(values)
    return facts


def _concerned(packs: Iterable[Pack], book: FactBook) -> Iterable[Pack]:
    """Yield the packs to ask: those of law only once somebody has said which markets matter."""
    asked = MARKETS in book
    if asked and ROLE not in book:
        note = "nobody said what the reader does with the model"
        book.add(Fact(ROLE, frozenset({"adopter"}), Basis.ASSUMED, note=note))
    for pack in packs:
        if asked or not any(rule.is_law for rule in pack.rules):
            yield pack


def _pack_info(pack: Pack) -> PackInfo:
    return PackInfo(
        pack.id, pack.title, len(pack.rules), max(r.reviewed for r in pack.rules), pack.digest
    )


def _tensor_infos(model: Model, digests: Digests | None) -> Iterable[TensorInfo]:
    """Yield the tensors of the main weights set, with their digest where it is known."""
    known = {item.name: item.text for item in digests.tensors} if digests else {}
    for tensor in model.main.tensors if model.main else ():
        yield TensorInfo(tensor, known.get(tensor.name))


def _file_infos(model: Model, digests: Digests | None) -> Iterable[FileInfo]:
    """Yield the files of the source with their role and the digest that is known of them."""
    weights = {path for part in model.weights for path in part.files}
    documents = model.json.keys() | model.texts.keys()
    for file in model.source.files:
        known = digests.files.get(file.path) if digests else None
        sha256, basis = (known.sha256, known.basis) if known else (file.sha256, Basis.DECLARED)
        yield FileInfo(
            path=file.path,
            size=file.size,
            role=(
                "weights"
                if file.path in weights
                else "document"
                if file.path in documents
                else "other"
            ),
            sha256=sha256,
            sha256_basis=basis.value if sha256 else None,
        )
