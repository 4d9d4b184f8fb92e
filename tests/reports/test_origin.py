"""The line about where a model is from."""

from __future__ import annotations

import pytest

from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval, Value
from steelyard.reports.origin import origin

BASE = ("lineage.base", "org/base")
FROM_X = ("lineage.declared_base", frozenset({"org/x"}))
FROM_BASE = ("lineage.declared_base", frozenset({"other/Base"}))
DECLARED = ("lineage.declared_base", "lineage.declared_relation", "lineage.base_hint")
Claim = tuple[str, Value]


def line(*claims: Claim, note: str = "") -> str | None:
    """Write the line from claims; those of documents are declared, others measured."""
    book = FactBook()
    for name, value in claims:
        declared = name in DECLARED
        book.add(Fact(name, value, Basis.DECLARED if declared else Basis.MEASURED, note=note))
    said = list(origin(book))
    assert len(said) <= 1
    return f"{said[0].text} ({said[0].basis})" if said else None


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], None),
        ([("lineage.declared_base", frozenset())], None),
        ([FROM_X], "based on org/x (declared)"),
        ([FROM_X, ("lineage.declared_relation", "merge")], "merge of org/x (declared)"),
        ([("lineage.base_hint", frozenset({"org/x"}))], "most likely org/x (declared)"),
        ([BASE], "org/base (measured)"),
        ([BASE, ("lineage.identical", True)], "identical to org/base (measured)"),
        ([BASE, ("lineage.change", 0.0213)], "org/base, changed by 2.13% (measured)"),
        (
            [BASE, ("lineage.change", 0.0), ("weights.encoding", "F32")],
            "org/base, unchanged where it was sampled (measured)",
        ),
        (
            [BASE, ("lineage.change", 0.0), ("weights.encoding", "Q4_1")],
            "org/base, as the registry has it (measured)",
        ),
        ([BASE, ("lineage.change", Interval(0, 0.1))], "org/base (measured)"),
        (
            [BASE, ("lineage.change", 0.07), ("lineage.encoding", "quantized to Q4_1")],
            "org/base, quantized to Q4_1 (measured)",
        ),
        ([BASE, ("lineage.encoding", "same: F32")], "org/base (measured)"),
        (
            [("lineage.known_as", "org/a"), ("lineage.identical", True)],
            "identical to org/a (measured)",
        ),
        ([BASE, FROM_BASE], "org/base (measured)"),
        ([BASE, FROM_X], "org/base; declared: based on org/x (measured)"),
        ([BASE, ("lineage.base_hint", frozenset({"org/x"}))], "org/base (measured)"),
        ([BASE, ("lineage.known_as", "org/a")], "org/base (measured)"),
    ],
)  # fmt: skip
def test_the_line(claims: list[Claim], expected: str | None) -> None:
    assert line(*claims) == expected


def test_what_the_registry_holds_is_told_where_that_may_be_a_quantization() -> None:
    where = Evidence(field="registry entry org/base", quote="sketched from a quantization: Q4_1")
    book = FactBook(
        [
            Fact("lineage.base", "org/base", Basis.MEASURED, (where,)),
            Fact("lineage.change", 0.0, Basis.MEASURED, (Evidence(file="a.gguf"), where)),
            Fact("weights.encoding", "Q4_1", Basis.DECLARED),
        ]
    )
    (said,) = origin(book)
    assert said.text == "org/base, as the registry has it (sketched from a quantization: Q4_1)"


def test_edits_are_told_in_their_own_words() -> None:
    edits = ("lineage.edits", frozenset({"lora"}))
    assert line(BASE, edits, note="LoRA of rank 8") == "org/base, LoRA of rank 8 (measured)"
    assert line(BASE, edits) == "org/base, lora (measured)"
    quantized = ("lineage.encoding", "quantized from F32 to Q4_K")
    said = line(BASE, edits, quantized, note="LoRA of rank 8")
    assert said == "org/base, LoRA of rank 8; quantized from F32 to Q4_K (measured)"
    copied = ("lineage.edits", frozenset({"identical"}))
    assert line(BASE, copied, quantized) == "org/base, quantized from F32 to Q4_K (measured)"


def test_siblings_are_told_where_there_is_no_base() -> None:
    siblings = ("lineage.siblings", frozenset({"org/s"}))
    note = "shares the embedding with org/s, and no layer"
    assert line(siblings, note=note) == f"{note} (measured)"
    assert line(siblings, FROM_X, note=note) == f"{note}; declared: based on org/x (measured)"
    assert line(siblings, BASE, note=note) == "org/base (measured)"


def test_a_base_that_is_only_stated_is_not_measured() -> None:
    book = FactBook([Fact("lineage.base", "org/base", Basis.DECLARED)])
    assert list(origin(book)) == []


def test_words_of_files_stay_on_the_line() -> None:
    said = line(("lineage.base", "org/ba\x1b[31mse\n"))
    assert said == "org/ba[31mse (measured)"
