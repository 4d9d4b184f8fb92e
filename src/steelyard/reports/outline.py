"""What a report for people says, in the reader's order, before it is drawn.

What is wrong, what it is, where it is from, under which terms, what is open, what follows, what to
do next.
The terminal and Markdown renderers draw the same outline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from steelyard.facts import Basis, Contradiction, Fact, FactBook
from steelyard.reports.claims import fact_text, places, value_text
from steelyard.reports.descriptions import Statement, compute, openness
from steelyard.reports.law import LawOutline, law_outline
from steelyard.reports.origin import origin
from steelyard.reports.report import Report, deciding
from steelyard.reports.text import counted, plain, size
from steelyard.rules import Finding, Severity

_MOST_CLAIMS = 4
_MOST_RULES = 3
_UNREAD = ("integrity.not_fully_read", "integrity.tensors.unread", "integrity.unreadable")


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong."""

    severity: str
    rule: str
    message: str
    location: str
    contradiction: bool = False
    """Claims about one fact cannot all be true."""
    claims: tuple[Statement, ...] = ()
    """Those claims, unless the message has them."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Everything that a report for people says."""

    title: str
    headline: str
    weighed: bool
    """Weights were read, so that finding nothing wrong means something."""
    issues: tuple[Issue, ...]
    statements: tuple[Statement, ...]
    law: LawOutline | None
    questions: tuple[str, ...]
    ignored: tuple[str, ...]
    notices: tuple[str, ...]
    next_steps: tuple[str, ...]
    footer: str


def outline(report: Report) -> Outline:
    """Arrange a report in the order in which a person reads it."""
    return Outline(
        title=title(report),
        headline=" · ".join(_headline(report)),
        weighed=report.book.value("weights.present") is not False,
        issues=tuple(_issues(report)),
        statements=tuple(_statements(report)),
        law=law_outline(report.findings, report.book),
        questions=tuple(
            f"{question.term.question} (--fact {question.term.name}=…; settles "
            f"{_settled(question.settles)})"
            for question in report.questions
        ),
        ignored=tuple(
            f"{item.finding.rule} until {item.ignore.expires}: {plain(item.ignore.reason)}"
            for item in report.ignored
        ),
        notices=tuple(map(plain, report.notices)),
        next_steps=tuple(plain(step) for step in report.next_steps()),
        footer=_footer(report),
    )


def _settled(rules: Sequence[str]) -> str:
    return counted(len(rules), "rule") if len(rules) > _MOST_RULES else ", ".join(rules)


def title(report: Report) -> str:
    """Name the model as its source does, and as its own files do where that says more."""
    spec = plain(report.source.spec.rstrip("/"), 120)
    own = spec.removeprefix("hf://") if spec.startswith("hf://") else spec.rsplit("/", 1)[-1]
    own = own if own.strip(".") else spec
    name = report.book.value("model.name")
    if not isinstance(name, str) or plain(name).lower() in own.lower():
        return own
    joined = "renamed" if "lineage.renamed" in report.book else "in"
    return f"{plain(name, 80)}, {joined} {own}"


def _headline(report: Report) -> Iterable[str]:
    book = report.book
    kind = [book.value("model.architecture"), book.value("model.design")]
    named = " ".join(plain(part, 40) for part in kind if isinstance(part, str) and part != "other")
    if named:
        yield named
    total = book.resolve("model.parameters.total") or book.resolve("model.parameters.adapter")
    if total is not None:
        kind_of = "adapter parameters" if total.name.endswith("adapter") else "parameters"
        active = book.value("model.parameters.active")
        moe = book.value("model.experts") is not None and active is not None
        suffix = f" ({value_text(active)} active)" if moe and active is not None else ""
        yield f"{value_text(total.value)} {kind_of}{suffix}"
    if book.value("weights.present") is False:
        unread = any(map(book.value, _UNREAD))
        yield "no weights could be read" if unread else "no weights were found"
    container = [book.value("weights.format"), book.value("weights.encoding")]
    weights = book.value("weights.bytes")
    if isinstance(weights, int) and weights:
        yield f"{' '.join(str(part) for part in container if part)}, {size(weights)}"


def _issues(report: Report) -> list[Issue]:
    """Return what is wrong, the gravest first; a contradiction that no rule tells is a warning."""
    torn = {found.name: found for found in report.contradictions}
    issues = []
    for finding in report.failing:
        names = sorted(deciding(finding) & torn.keys())
        torn_claims = [claim for name in names for claim in _claims(torn[name])]
        told_already = all(claim.text in finding.message for claim in torn_claims)
        issues.append(
            Issue(
                severity=finding.severity.value,
                rule=finding.rule,
                message=plain(finding.message, 400),
                location=_spot(finding),
                contradiction=bool(names),
                claims=() if told_already else tuple(torn_claims),
            )
        )
    for found in report.untold:
        message = contradiction_words(found)
        claims = tuple(_claims(found))
        issues.append(Issue("warning", "", message, "", contradiction=True, claims=claims))
    return sorted(issues, key=lambda issue: Severity(issue.severity).rank)


def contradiction_words(found: Contradiction) -> str:
    """Say that claims about a fact cannot all be true."""
    name = found.name.removeprefix("model.").replace("_", " ").replace(".", " ")
    return f"The files contradict each other about {name}."


def _claims(found: Contradiction) -> list[Statement]:
    said: dict[tuple[str, str], Fact] = {}
    for claim in found.claims:
        said.setdefault((fact_text(claim), claim.basis.value), claim)
    rows = [Statement("", text, basis, places(claim)) for (text, basis), claim in said.items()]
    return rows[:_MOST_CLAIMS]


def _spot(finding: Finding) -> str:
    spot = finding.location
    if spot is None:
        return ""
    if spot.line is not None:
        return plain(f"{spot.file}:{spot.line}", 100)
    return plain(spot.file if spot.offset is None else f"{spot.file} at byte {spot.offset}", 100)


def _statements(report: Report) -> Iterable[Statement]:
    book = report.book
    yield from _shape(book)
    yield from _single(book, "Context", "model.context_length")
    if "weights.other" in book:
        yield from _single(book, "Weights", "weights.main")
        yield Statement("Also there", value_text(book.value("weights.other") or ""), "measured")
    yield from origin(book)
    yield from _license(book)
    yield from compute(report)
    yield from openness(book)
    yield from _loading(book)
    identity = book.resolve("model.identity")
    if identity is not None:
        yield Statement("Identity", fact_text(identity), identity.basis.value)


_SHAPE = (
    ("model.layers", "{} layers"),
    ("model.hidden_size", "width {}"),
    ("model.heads", "{} heads"),
    ("model.kv_heads", "{} for keys and values"),
    ("model.experts", "{} experts"),
    ("model.experts.active", "{} used per token"),
    ("model.vocabulary_size", "vocabulary {}"),
)


def _shape(book: FactBook) -> Iterable[Statement]:
    parts, bases = [], set()
    for name, words in _SHAPE:
        fact = book.resolve(name)
        if fact is None or (name == "model.kv_heads" and fact.value == book.value("model.heads")):
            continue
        parts.append(words.format(value_text(fact.value)))
        bases.add(fact.basis)
    if parts:
        basis = ", ".join(item.value for item in Basis if item in bases)
        yield Statement("Shape", ", ".join(parts), basis)


def _single(book: FactBook, heading: str, name: str) -> Iterable[Statement]:
    fact = book.resolve(name)
    if fact is not None:
        where = "" if fact_text(fact) == places(fact, 1) else places(fact, 1)
        yield Statement(heading, fact_text(fact), fact.basis.value, where)


def _license(book: FactBook) -> Iterable[Statement]:
    fact = book.resolve("license.effective") or book.resolve("license.detected")
    if fact is not None and fact.value:
        yield Statement("License", fact_text(fact), fact.basis.value, places(fact))


def _loading(book: FactBook) -> Iterable[Statement]:
    for name in ("code.keras.runs", "code.graph.runs", "code.named.runs", "code.unsafe"):
        fact = book.resolve(name)
        if fact is not None and fact.value:
            words = "would run code other than what rebuilds tensors"
            yield Statement("Loading", words, fact.basis.value, places(fact, 1))
            return
    unsafe = book.resolve("code.unsafe")
    unread = book.value("code.keras.unread") or book.value("code.graph.unread")
    if unsafe is not None and not unread:
        words = "runs no code from these files"
        if book.value("code.pickle"):
            words = "a pickle that only rebuilds tensors and known objects"
        if book.value("code.remote"):
            words += ", unless remote code is trusted"
        yield Statement("Loading", words, unsafe.basis.value, places(unsafe, 1))


def _footer(report: Report) -> str:
    rules = counted(sum(pack.rules for pack in report.packs), "rule")
    files = counted(len(report.files), "file")
    return (
        f"As of {report.as_of} · {rules} · {files} · steelyard {report.version} · not legal advice"
    )


def basis_places(statement: Statement) -> str:
    """Write basis and places of a statement in one phrase."""
    return f"{statement.basis} · {statement.places}" if statement.places else statement.basis
