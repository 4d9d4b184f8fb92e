"""The packs of good practice: they load, pass their own tests, and are proportionate."""

from __future__ import annotations

from datetime import date
from functools import cache

import pytest

from steelyard.analyzers.derived import derive
from steelyard.facts import Basis, Fact, FactBook, Interval, Kind, Value, vocabulary
from steelyard.packs import shipped
from steelyard.rules import Finding, Pack, Rule, Severity, evaluate, load_packs, run_tests
from steelyard.rules.tree import Condition, Every, Negation, Query, Some

TODAY = date(2026, 11, 26)

NOT_STATED_TWICE = {
    "model.name": "names differ between files for good reasons: it is no property of the weights",
    "model.narrow": "a person's judgement, not a measurement",
    "adapter.present": "only the files themselves tell",
}
"""Facts of the vocabulary's first section that no rule needs to check for contradictions."""

GOOD_MODEL: dict[str, Value] = {
    "model.name": "small-good",
    "model.architecture": "llama",
    "model.parameters.total": 134_515_008,
    "model.layers": 30,
    "model.formats": frozenset({"safetensors"}),
    "model.modalities.input": frozenset({"text"}),
    "model.modalities.output": frozenset({"text"}),
    "files.count": 8,
    "files.bytes": 270_000_000,
    "files.escaping": frozenset(),
    "files.skipped": frozenset(),
    "weights.present": True,
    "code.pickle": False,
    "code.unsafe": False,
    "code.imports": frozenset(),
    "code.remote": frozenset(),
    **{
        name: frozenset()
        for name in vocabulary()
        if name.startswith("code.") and vocabulary()[name].kind is Kind.SET
    },
    "signature.present": False,
    "integrity.unreadable": frozenset(),
    "integrity.shards.missing": frozenset(),
    "integrity.index.mismatches": frozenset(),
    "integrity.tensors.missing": frozenset(),
    "integrity.tensors.duplicate": frozenset(),
    "integrity.bytes.unused": frozenset(),
    "integrity.not_fully_read": frozenset(),
    "integrity.metadata.odd": frozenset(),
    "card.present": True,
    "card.valid": True,
    "card.invalid_fields": frozenset(),
    "card.sections": frozenset({"uses", "limitations", "training", "evaluation"}),
    "card.sections.missing": frozenset({"glossary", "authors", "examination"}),
    "card.placeholders": frozenset(),
    "card.contact": True,
    "card.out_of_scope": False,
    "card.limitations": True,
    "card.pipeline_tag": "text-generation",
    "card.library": "transformers",
    "card.results": 0,
    "card.results.incomplete": frozenset(),
    "card.results.unbound": 0,
    "license.declared": "Apache-2.0",
    "license.files": frozenset({"LICENSE"}),
    "license.detected": frozenset({"Apache-2.0"}),
    "license.unrecognized": frozenset(),
    "license.effective": "Apache-2.0",
}


@cache
def packs() -> tuple[Pack, ...]:
    return tuple(p for p in load_packs() if not any(rule.is_law for rule in p.rules))


def rules() -> list[Rule]:
    return [rule for pack in packs() for rule in pack.rules]


def found(facts: dict[str, Value], *more: Fact) -> dict[str, Finding]:
    book = FactBook(Fact(name, value, Basis.MEASURED) for name, value in facts.items())
    book.extend(more)
    return {f.rule: f for f in evaluate(packs(), book, as_of=TODAY)}


def failing(facts: dict[str, Value], *more: Fact) -> set[str]:
    return {name for name, finding in found(facts, *more).items() if finding.failing}


def test_the_practice_packs_are_there() -> None:
    names = [resource.name for resource in shipped()]
    assert names == sorted(names)
    for name in ("contradictions", "documentation", "integrity", "license"):
        assert f"practice/{name}.yaml" in names


@pytest.mark.parametrize("pack", packs(), ids=lambda pack: pack.id)
def test_rules_pass_their_own_tests(pack: Pack) -> None:
    assert [str(failure) for failure in run_tests(pack, derive=derive)] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_rules_are_cited_reviewed_and_complete(rule: Rule) -> None:
    assert rule.citation.text
    assert rule.citation.link.startswith("https://")
    assert date(2026, 1, 1) <= rule.reviewed <= TODAY
    assert rule.duties
    assert rule.message or all(duty.message for duty in rule.duties)
    assert all(duty.fix for duty in rule.duties)
    verdicts = {str(case.expect.verdict) for case in rule.tests}
    assert verdicts >= {"applies", "does_not_apply"}
    for duty in rule.duties:
        states = {str(case.expect.duties.get(duty.id)) for case in rule.tests}
        # A rule that only tells of something has no case in which all is well.
        assert "unmet" in states
        assert "met" in states or rule.id == "DOC012"


def contradicted_names(condition: Condition) -> set[str]:
    match condition:
        case Every(parts) | Some(parts):
            return {name for part in parts for name in contradicted_names(part)}
        case Negation(question):
            return contradicted_names(question)
        case Query("contradicted", name):
            return {name}
        case _:
            return set()


def test_every_contradiction_about_the_model_has_a_rule() -> None:
    covered = {
        name
        for rule in rules()
        for duty in rule.duties
        for name in contradicted_names(duty.satisfied_when.condition)
    }
    scalars = {
        name
        for name, term in vocabulary().items()
        if name.startswith(("model.", "adapter.")) and term.kind is not Kind.SET
    }
    assert scalars - set(NOT_STATED_TWICE) <= covered
    assert {"license.declared", "license.effective"} <= covered
    assert not covered & set(NOT_STATED_TWICE)


def test_a_good_small_open_model_is_quiet() -> None:
    findings = found(GOOD_MODEL)
    problems = [f for f in findings.values() if f.failing]
    assert not [f.rule for f in problems if f.at_least(Severity.WARNING)]
    assert {f.rule for f in problems} == {"DOC004", "INT003"}
    assert not [name for f in findings.values() for name in f.questions]


def test_little_is_asked_when_little_is_known() -> None:
    questions = {name for f in found({}).values() for name in f.questions}
    assert questions <= {
        *("weights.present", "card.present", "signature.present"),
        "license.files",
        *("card.valid", "card.contact", "card.limitations", "card.out_of_scope", "card.base_model"),
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"card.present": False}, {"DOC001"}),
        ({"card.valid": False}, {"DOC002"}),
        ({"card.placeholders": frozenset({"Uses"})}, {"DOC003"}),
        ({"card.contact": False}, {"DOC005"}),
        ({"lineage.declared_base": frozenset({"a/b"}), "card.base_model": False}, {"DOC006"}),
        ({"lineage.declared_base": frozenset({"a/b"}), "card.base_model": True}, {"DOC007"}),
        ({"card.results": 1, "card.results.incomplete": frozenset({"x"})}, {"DOC008"}),
        ({"card.limitations": False}, {"DOC010"}),
        ({"card.new_version": "a/b"}, {"DOC012"}),
        ({"code.pickle": True, "code.unsafe": True}, {"INT001"}),
        ({"code.pickle": True, "model.formats": frozenset({"pytorch"})}, {"INT008"}),
        ({"code.remote": frozenset({"m.C"})}, {"INT002"}),
        ({"files.escaping": frozenset({"x"})}, {"INT005"}),
        ({"code.scripts.runs": frozenset({"x"})}, {"COD001"}),
        ({"code.scripts.reaches": frozenset({"x"})}, {"COD002"}),
        ({"code.remote.elsewhere": frozenset({"x"})}, {"COD003"}),
        ({"code.template.unread": frozenset({"x"})}, {"COD004"}),
        ({"code.scripts.other": frozenset({"x"})}, {"COD005"}),
        ({"code.compiled": frozenset({"x"})}, {"COD006"}),
        ({"code.template.reaches": frozenset({"x"})}, {"COD010"}),
        ({"code.template.triggers": frozenset({"x"})}, {"COD011"}),
        ({"code.template.odd": frozenset({"x"})}, {"COD012"}),
        ({"code.template.differs": frozenset({"x"})}, {"COD013"}),
        ({"code.template.changed": frozenset({"x"})}, {"COD014"}),
        ({"code.template.undeclared": frozenset({"x"})}, {"COD015"}),
        ({"code.tokenizer.rewrites": frozenset({"x"})}, {"COD016"}),
        ({"code.tokenizer.odd": frozenset({"x"})}, {"COD017"}),
        ({"code.keras.runs": frozenset({"x"})}, {"COD020"}),
        ({"code.keras.custom": frozenset({"x"})}, {"COD021"}),
        ({"code.graph.runs": frozenset({"x"})}, {"COD022"}),
        ({"code.graph.reads": frozenset({"x"})}, {"COD023"}),
        ({"code.graph.custom": frozenset({"x"})}, {"COD024"}),
        ({"code.polyglots": frozenset({"x"})}, {"COD030"}),
        ({"code.archives.escaping": frozenset({"x"})}, {"COD031"}),
        ({"code.secrets": frozenset({"x"})}, {"COD032"}),
        ({"code.names.hidden": frozenset({"x"})}, {"COD033"}),
        ({"integrity.shards.missing": frozenset({"x"})}, {"INT006"}),
        ({"integrity.unreadable": frozenset({"x"})}, {"INT009"}),
        ({"integrity.not_fully_read": frozenset({"x"})}, {"INT010"}),
        ({"integrity.bytes.unused": frozenset({"x"})}, {"INT011"}),
        ({"integrity.tensors.duplicate": frozenset({"x"})}, {"INT012"}),
        ({"weights.nonfinite": 2}, {"INT013"}),
        ({"license.declared": "other"}, {"LIC003"}),
        ({"license.unrecognized": frozenset({"LICENSE"})}, {"LIC004"}),
    ],
)
def test_one_defect_gives_one_problem(changes: dict[str, Value], expected: set[str]) -> None:
    fewer = {"DOC004"} if changes.get("card.present") is False else set()
    assert failing({**GOOD_MODEL, **changes}) == ({"DOC004", "INT003"} | expected) - fewer


def test_no_license_anywhere() -> None:
    unlicensed = {n: v for n, v in GOOD_MODEL.items() if not n.startswith("license.")}
    nothing: dict[str, Value] = {"license.files": frozenset(), "license.detected": frozenset()}
    assert "LIC001" in failing({**unlicensed, **nothing})


def test_a_license_that_nobody_looked_for_is_a_question() -> None:
    unlicensed = {n: v for n, v in GOOD_MODEL.items() if not n.startswith("license.")}
    assert "LIC001" not in failing(unlicensed)
    assert found(unlicensed)["LIC001"].questions == ("license.files",)


def test_declared_against_measured() -> None:
    layers = Fact("model.layers", 32, Basis.DECLARED)
    size = Fact("model.parameters.total", Interval(6.5e9, 7.5e9), Basis.DECLARED)
    findings = found(GOOD_MODEL, layers, size)
    assert findings["CON003"].at_least(Severity.ERROR)
    assert findings["CON003"].message == (
        "Numbers of layers disagree: 30 (measured) against 32 (declared)."
    )
    assert findings["CON001"].at_least(Severity.WARNING)
    assert not findings["CON001"].at_least(Severity.ERROR)
    fitting = Fact("model.parameters.total", Interval(134.5e6, 135.5e6), Basis.DECLARED)
    assert "CON001" not in failing(GOOD_MODEL, fitting)
