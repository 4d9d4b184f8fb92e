"""An audit says whether a signature fits the files, and never that it is verified."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from steelyard.auditing import Options, audit
from steelyard.facts import Value
from steelyard.rules import Verdict
from steelyard.sealing.openssf import KeySigner
from steelyard.sealing.signing import sign
from tests.models import folder
from tests.sealing.authority import write_key
from tests.sealing.samples import bundle, statement

EMPTY = frozenset[str]()
DAY = date(2026, 11, 26)


@pytest.fixture
def signer(tmp_path: Path) -> KeySigner:
    return KeySigner(write_key(tmp_path / "keys")[0], lambda: None)


@pytest.fixture
def model(tmp_path: Path, signer: KeySigner) -> Path:
    made = folder(
        tmp_path / "model", files={"sub/a.bin": b"aaaa", ".gitignore": b"x", "__pycache__/c": b"c"}
    )
    sign(made, signer)
    return made


def told(path: Path, *, digest: bool = True) -> tuple[dict[str, Value], set[str]]:
    """Return the facts on the signature, and the duties of INT004 that are unmet."""
    report = audit(path, as_of=DAY, options=Options(digest=digest, lineage=False))
    facts = {fact.name: fact.value for fact in report.book if fact.name.startswith("signature.")}
    (found,) = [finding for finding in report.findings if finding.rule == "INT004"]
    unmet = {duty.id for duty in found.duties if duty.state.value == "unmet"}
    assert (found.verdict is Verdict.APPLIES) == ("signature.damaged" in facts)
    assert "signature.verified" not in facts
    return facts, unmet


def test_a_signature_that_fits(model: Path) -> None:
    facts, unmet = told(model)
    assert unmet == set()
    assert facts == {
        "signature.present": True,
        "signature.method": "key",
        "signature.damaged": EMPTY,
        "signature.missing": EMPTY,
        "signature.added": EMPTY,
        "signature.renamed": EMPTY,
        "signature.changed": EMPTY,
        "signature.unchecked": frozenset({"__pycache__/c"}),
    }


CASES: list[tuple[Callable[[Path], object], str, str, str]] = [
    (
        lambda m: (m / "model.safetensors").write_bytes(
            (m / "model.safetensors").read_bytes()[:-1] + b"\x01"
        ),
        "changed", "model.safetensors", "unchanged",
    ),
    (lambda m: (m / "config.json").write_text("{}"), "changed", "config.json", "unchanged"),
    (lambda m: (m / "sub/a.bin").unlink(), "missing", "sub/a.bin", "complete"),
    (lambda m: (m / "x.py").write_bytes(b""), "added", "x.py", "covered"),
    (
        lambda m: (m / "sub/a.bin").rename(m / "b.bin"),
        "renamed", "b.bin (was sub/a.bin)", "complete",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "fact", "name", "duty"), CASES)
def test_a_signature_that_does_not_fit(
    model: Path, change: Callable[[Path], object], fact: str, name: str, duty: str
) -> None:
    change(model)
    facts, unmet = told(model)
    assert facts[f"signature.{fact}"] == {name}
    assert unmet == {duty}
    others = {"changed", "missing", "added", "renamed"} - {fact}
    assert all(facts[f"signature.{other}"] == EMPTY for other in others)


def test_without_digests_the_weights_are_unchecked(model: Path) -> None:
    CASES[0][0](model)
    facts, unmet = told(model, digest=False)
    assert unmet == set()
    assert facts["signature.unchecked"] == {"model.safetensors", "__pycache__/c"}


def test_a_damaged_signature(model: Path) -> None:
    (model / "model.sig").write_bytes(b"{}")
    facts, unmet = told(model)
    assert unmet == {"readable"}
    assert facts["signature.damaged"] != EMPTY


def test_a_signature_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    made = folder(tmp_path / "m", files={"weights.sig": b"-----BEGIN PGP SIGNATURE-----"})
    facts, unmet = told(made)
    assert (facts, unmet) == ({"signature.present": True}, set())


def test_no_signature(tmp_path: Path) -> None:
    facts, unmet = told(folder(tmp_path / "m"))
    assert (facts, unmet) == ({"signature.present": False}, set())


def test_a_signature_of_one_file(tmp_path: Path, signer: KeySigner) -> None:
    made = folder(tmp_path / "m")
    sign(made / "model.safetensors", signer)
    facts, unmet = told(made)
    assert (facts["signature.added"], facts["signature.changed"], unmet) == (EMPTY, EMPTY, set())
    data = (made / "model.safetensors").read_bytes()
    (made / "model.safetensors").write_bytes(data[:-1] + b"\x01")
    facts, unmet = told(made)
    assert facts["signature.changed"] == {"model.safetensors"}
    (made / "model.safetensors").unlink()
    facts, unmet = told(made)
    assert facts["signature.missing"] == {"model.safetensors"}


def test_other_digests_are_not_compared(tmp_path: Path) -> None:
    made = folder(tmp_path / "m")
    said = statement({"config.json": "x", "gone.json": "y"})
    said["predicate"]["serialization"]["hash_type"] = "blake3"
    (made / "model.sig").write_bytes(bundle(said))
    facts, _ = told(made)
    assert facts["signature.missing"] == {"gone.json"}
    assert facts["signature.added"] == {"README.md", "model.safetensors"}
    assert facts["signature.unchecked"] == {"config.json"}
    assert facts["signature.changed"] == EMPTY
