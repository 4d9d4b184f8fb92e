"""The story: open the source, read the checkpoint, gather facts, apply rules, return the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.analyzers import stated
from steelyard.analyzers.topics import Scope, scope_of
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.errors import SourceNotFound, SteelyardError
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
    PRACTICE,
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
from steelyard.version import VERSION

if TYPE_CHECKING:
    # Imported when it is asked for: an audit without it need not wait.
    from steelyard.analyzers.lineage.analyzer import Told
    from steelyard.checkpoints.digest_cache import DigestCache
    from steelyard.checkpoints.digests import Digests
    from steelyard.lineage.known.registry import Registry

Ask = Callable[[Question, int], Value | None]
"""Answer a question, told how many are left; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an audit does beyond reading headers and documents."""

    only: Sequence[str] = ()
    """Topics to ask about, as named in `analyzers.topics.TOPICS`; empty for all. Where some are
    named, they decide about digests and lineage."""
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
        ConfigError: If there is no topic of some name.
    """
    options = options or Options()
    scope = scope_of(options.only)
    if not isinstance(source, str | Path):
        return _audit(source, as_of, options, scope)
    opened = open_source(str(source), network=options.network)
    try:
        return _audit(opened, as_of, options, scope)
    finally:
        opened.close()


def _audit(source: Source, as_of: date, options: Options, scope: Scope) -> Report:
    model = read_model(source)
    book = FactBook(stated.by_user(_stated(options)))
    for _, analyze in scope.analyzers:
        book.extend(analyze(model))
    if not (options.allow_empty or _holds_something(model, book)):
        raise SourceNotFound(
            f"there is no model in {source.spec}",
            why=f"none of its {len(source.files)} files is weights, a configuration or a card",
            fix="name the folder that holds them, or say --allow-empty",
        )
    bytes_read = source.bytes_read
    digests = _weigh_bytes(model, book, options, scope)
    read = source.bytes_read
    origin = _lineage(model, book, options) if scope.does("lineage", options.lineage) else None
    if origin is not None:
        book.extend(origin.facts)
        bytes_read += source.bytes_read - read
    loaded = shipped_packs(scope) if options.packs is None else tuple(options.packs)
    packs = tuple(_concerned(loaded, book))
    rulebook = _within(rules_on(packs, as_of), scope)
    said = _conclude(rulebook, book, options.ask, scope)
    findings, ignored, notices = apply_ignores(
        said.findings, _relevant(options.ignores, rulebook, scope),
        source=source.spec, as_of=as_of,
    )  # fmt: skip
    return Report(
        version=VERSION,
        as_of=as_of,
        source=SourceInfo(source.spec, source.kind, source.revision, bytes_read),
        packs=tuple(_pack_infos(packs, rulebook)),
        book=said.book,
        findings=findings,
        ignored=ignored,
        notices=(
            *_partial(scope, options, said.book),
            *(digests.notes if digests else ()),
            *(origin.notices if origin else ()),
            *notices,
        ),
        files=tuple(_file_infos(model, digests)),
        tensors=tuple(_tensor_infos(model, digests)) if options.tensors else (),
        thresholds=tuple(_thresholds(loaded, as_of)),
        only=scope.only,
    )


def _holds_something(model: Model, book: FactBook) -> bool:
    """Say whether there is something to report on: a model, a part of one, or a pickle."""
    return bool(
        model.weights
        or model.json
        or model.texts
        or model.problems
        or book.value("code.pickle")
        or book.value("code.unread")
    )


def _weigh_bytes(model: Model, book: FactBook, options: Options, scope: Scope) -> Digests | None:
    """Do what takes every byte, as far as it is wanted, and add what it finds to the book."""
    if options.scan_values and scope.does("scan"):
        from steelyard.analyzers.integrity import value_scan

        book.extend(value_scan(options.progress)(model))
    digests = None
    if scope.does("digest", options.digest):
        from steelyard.analyzers.identity import identity_facts, measure

        digests = measure(model, cache=options.cache, progress=options.progress)
        book.extend(identity_facts(model, digests))
    if scope.does("signature"):
        from steelyard.analyzers.signature import signature_facts

        book.extend(signature_facts(model, digests))
    return digests


def shipped_packs(scope: Scope) -> tuple[Pack, ...]:
    """Read the packs that ship; those that say nothing about what is asked are not even parsed.

    Raises:
        PackError: If one is wrong.
    """
    if scope.does("law") or scope.does("law_values"):
        return load_packs()
    return load_packs(under=PRACTICE, naming=scope.about)


def _within(rulebook: Rulebook, scope: Scope) -> Rulebook:
    """Keep the rules that belong to what is asked."""
    kept = tuple(
        item for item in rulebook.rules if scope.asks(item.rule.names, law=item.rule.is_law)
    )
    return replace(rulebook, rules=kept)


def _relevant(ignores: Sequence[Ignore], rulebook: Rulebook, scope: Scope) -> Sequence[Ignore]:
    """Leave out ignores of rules that were not asked: that they match nothing means nothing."""
    if not scope.only:
        return ignores
    asked = {item.rule.id for item in rulebook.rules}
    return [item for item in ignores if item.rule in asked]


def _partial(scope: Scope, options: Options, book: FactBook) -> Iterable[str]:
    """Say that the audit is not a whole one, and what it says nothing about."""
    if options.scan_values and not scope.does("scan"):
        yield "values were not looked at: integrity was not asked for"
    if "law" in scope.only and MARKETS not in book:
        yield "law was asked for and no market was named, so none was applied"
    if scope.only:
        yield (
            f"only {_joined(scope.only)} {'was' if len(scope.only) == 1 else 'were'} asked for; "
            f"nothing was looked for about {_joined(scope.left_out)}"
        )


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _lineage(model: Model, book: FactBook, options: Options) -> Told:
    """Tell where the weights come from, and what became of the chat template of the base.

    That is the base that was given, or else the declared one, where it lies on this machine. It is
    open for as long as it takes.
    """
    from steelyard.analyzers.code import templates
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
        if theirs is None and book.value("code.template"):
            theirs = _declared_base(book, options.network, stack)
        changed = () if theirs is None else templates.against(model, theirs)
        return replace(told, facts=(*told.facts, *changed))


def _declared_base(book: FactBook, network: Network, stack: ExitStack) -> Model | None:
    """Open the base that documents name, if the hub's cache on this machine holds it."""
    named = book.value("lineage.declared_base")
    for repository in sorted(named) if isinstance(named, frozenset) else ():
        with suppress(SteelyardError):
            base = open_source(f"hf://{repository}", network=replace(network, offline=True))
            stack.callback(base.close)
            return read_model(base)
    return None


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


def _conclude(rulebook: Rulebook, book: FactBook, ask: Ask | None, scope: Scope) -> Conclusions:
    """Apply the rules; ask what would settle most, again and again, where somebody answers."""
    asked: set[str] = set()
    while True:
        known = book.copy()
        if scope.does("derives"):
            from steelyard.analyzers.derived import derive

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


def _pack_infos(packs: Iterable[Pack], rulebook: Rulebook) -> Iterable[PackInfo]:
    """Yield the packs that were applied, with the number of their rules that were asked."""
    asked = Counter(item.pack.id for item in rulebook.rules)
    for pack in packs:
        if asked[pack.id]:
            reviewed = max(rule.reviewed for rule in pack.rules)
            yield PackInfo(pack.id, pack.title, asked[pack.id], reviewed, pack.digest)


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
