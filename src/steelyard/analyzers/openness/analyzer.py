"""What a model's files show of its openness: components that lie there, and what documents say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact

_PUBLIC_KINDS = frozenset({"url", "hub"})
_CLAIM = re.compile(r"\bopen[- ]sourced?\b", re.IGNORECASE)
_MOF_CLAIM = re.compile(r"\b(?:MOF\s+)?Class\s+(III|II|I)\b.{0,40}\bOpen\b", re.IGNORECASE)
_FILES = (
    ("Training code", re.compile(r"(^|/)(train|pretrain|finetune|run_(clm|mlm|train))[^/]*\.py$")),
    ("Inference code", re.compile(r"(^|/)(modeling_[^/]*|inference[^/]*|generate)\.py$")),
    ("Evaluation code", re.compile(r"(^|/)(eval|evaluate|evaluation|benchmark)[^/]*\.py$")),
    (
        "Technical report",
        re.compile(r"(^|/)[^/]*tech(nical)?[_-]?report[^/]*\.(pdf|md)$", re.I),
    ),
    ("Research paper", re.compile(r"(^|/)[^/]*paper[^/]*\.pdf$", re.IGNORECASE)),
    ("Data card", re.compile(r"(^|/)(data[_-]?card|datasheet|data[_-]?statement)[^/]*$", re.I)),
    ("Evaluation results", re.compile(r"(^|/)(eval|results?|benchmarks?)[^/]*\.(json|csv|ya?ml)$")),
    ("Data preprocessing code", re.compile(r"(^|/)(preprocess|prepare|clean)[^/]*\.py$")),
    ("Model parameters (Intermediate)", re.compile(r"(^|/)(checkpoint|step|iter)[_-]?\d+/")),
)
"""Names of files that show a component. What none of them shows is unknown, not absent."""


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what files and documents show.

    Weights are public where the source is: what lies in a folder may be public or not.
    """
    kind = model.source.kind
    if model.weights and kind in _PUBLIC_KINDS:
        evidence = (Evidence(field=f"read from {model.source.spec}"),)
        yield Fact("weights.public", True, Basis.MEASURED, evidence)
    yield from _components(model)
    yield from _claims(model)


def _components(model: Model) -> Iterator[Fact]:
    for name, evidence in _found(model):
        yield Fact("openness.components", frozenset({name}), Basis.MEASURED, (evidence,))


def _found(model: Model) -> Iterator[tuple[str, Evidence]]:
    if model.main is not None:
        yield "Model parameters (Final)", Evidence(file=model.main.files[0])
    config = model.config()
    if config is not None:
        yield "Model architecture", Evidence(file=config[0])
    card = next((path for path in model.texts if PurePosixPath(path).name == "README.md"), None)
    if card is not None:
        yield "Model card", Evidence(file=card)
    for name, pattern in _FILES:
        for file in model.source.files:
            if pattern.search(file.path):
                yield name, Evidence(file=file.path)
                break


def _claims(model: Model) -> Iterator[Fact]:
    for path, text in model.texts.items():
        if PurePosixPath(path).name != "README.md":
            continue
        for number, line in enumerate(text.splitlines()[:5000], 1):
            found = _MOF_CLAIM.search(line[:1000])
            if found:
                yield _said("openness.claimed_mof_class", found[1].upper(), path, number, line)
            if _CLAIM.search(line[:1000]):
                yield _said("openness.claims_open_source", True, path, number, line)
                return


def _said(name: str, value: bool | str, path: str, line: int, text: str) -> Fact:
    evidence = (Evidence(file=path, line=line, quote=" ".join(text.split())[:200]),)
    return Fact(name, value, Basis.DECLARED, evidence)
