"""A small, made-up audit result that every renderer is tested on."""

from __future__ import annotations

from datetime import date

from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval
from steelyard.reports.report import FileInfo, PackInfo, Report, SourceInfo
from steelyard.rules import evaluate, load_pack
from steelyard.rules.ignores import Ignore, apply_ignores

AS_OF = date(2026, 11, 23)

PACK = """
id: sample
title: Sample practice
rules:
  - id: LIC900
    title: Declaration and text agree
    message: "declared and found licenses differ: {license.effective} lies in the files"
    severity: error
    confidence: high
    citation: {text: A made-up source, link: "https://example.org/license"}
    reviewed: 2026-11-23
    location: license.declared
    when: known(license.effective)
    duties:
      - id: agree
        text: The declared license is the one whose text lies in the files.
        satisfied_when: not contradicted(license.effective)
        fix: name the license in the card as the LICENSE file has it
    tests:
      - name: agree
        facts: {license.effective: MIT}
        expect: {verdict: applies, duties: {agree: met}}
  - id: DOC900
    title: A contact is given
    message: "the card does not say how to report a flaw"
    severity: warning
    confidence: high
    citation: {text: A made-up source, link: "https://example.org/contact"}
    reviewed: 2026-11-20
    duties:
      - id: contact
        text: The card names a contact.
        satisfied_when: card.contact
        fix: add a contact to the card
    tests:
      - name: there
        facts: {card.contact: "yes"}
        expect: {verdict: applies, duties: {contact: met}}
  - id: CMP900
    title: Much compute
    severity: note
    confidence: high
    citation: {text: A made-up source, link: "https://example.org/compute"}
    reviewed: 2026-11-20
    when: training.compute > 1e25
    tests:
      - name: little
        facts: {training.compute: "1e20"}
        expect: {verdict: does_not_apply}
"""

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FACTS = (
    Fact("model.name", "tiny-\x1b[31mllama", Basis.DECLARED, (Evidence("README.md", line=8),)),
    Fact("model.architecture", "llama", Basis.DECLARED, (Evidence(CONFIG, field="model_type"),)),
    Fact("model.design", "decoder", Basis.DERIVED, (Evidence(parents=("model.architecture",)),)),
    Fact("model.parameters.total", 1_234_567, Basis.MEASURED, (Evidence(WEIGHTS),)),
    Fact("model.layers", 4, Basis.MEASURED, (Evidence(WEIGHTS),)),
    Fact("model.layers", 4, Basis.DECLARED, (Evidence(CONFIG, field="num_hidden_layers"),)),
    Fact("model.identity", "b3:" + "5e1c" * 15 + "00a7", Basis.MEASURED, (Evidence(WEIGHTS),)),
    Fact("weights.main", "model.safetensors", Basis.MEASURED, (Evidence(WEIGHTS),)),
    Fact("weights.format", "safetensors", Basis.MEASURED),
    Fact("weights.encoding", "F32", Basis.MEASURED),
    Fact("weights.bytes", 4_938_268, Basis.MEASURED),
    Fact("license.declared", "Apache-2.0", Basis.DECLARED, (Evidence("README.md", line=2),)),
    Fact("license.effective", "MIT", Basis.MEASURED, (Evidence("LICENSE", offset=0),)),
    Fact("license.effective", "Apache-2.0", Basis.DECLARED, (Evidence("README.md", line=2),)),
    Fact("card.contact", False, Basis.MEASURED, (Evidence("README.md"),)),
    Fact("training.tokens", Interval(1e9, float("inf")), Basis.DECLARED),
    Fact("release.date", date(2026, 1, 2), Basis.DECLARED, note="from the card"),
    Fact("card.languages", frozenset({"en", "de|<b>"}), Basis.DECLARED),
)  # fmt: skip


def sample(*ignores: Ignore, facts: tuple[Fact, ...] = FACTS) -> Report:
    """Evaluate the sample pack on the sample facts."""
    pack = load_pack(PACK, "sample.yaml")
    book = FactBook(facts)
    findings, ignored, notices = apply_ignores(
        evaluate([pack], book, as_of=AS_OF), ignores, source="models/tiny", as_of=AS_OF
    )
    return Report(
        version="0.0.0",
        as_of=AS_OF,
        source=SourceInfo("models/tiny", "folder", None, 1234),
        packs=(PackInfo("sample", "Sample practice", 3, date(2026, 11, 23), "sha256:00"),),
        book=book,
        findings=findings,
        ignored=ignored,
        notices=notices,
        files=(
            FileInfo("README.md", 300, "document"),
            FileInfo("model.safetensors", 4_938_900, "weights", "0" * 64, "measured"),
        ),
    )
