"""`sign` and `verify` on the command line: exit codes, words, and where passwords come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.models import folder as model_folder
from tests.sealing.authority import Authority, write_key


@pytest.fixture
def model(folder: Path) -> Path:
    return model_folder(folder / "model", files={"sub/a.bin": b"aaaa", ".gitattributes": b"x"})


def test_sign_then_verify(model: Path, run: Run) -> None:
    write_key(Path("keys"))
    signed = run("sign", "model", "--key", "keys/key.pem")
    assert (signed.code, signed.err) == (0, "")
    lines = signed.out.splitlines()
    assert lines[0].startswith("signed 4 files, ")
    assert lines[0].endswith(": model/model.sig")
    assert lines[1].startswith("  identity   b3:")
    assert lines[2] == "  left out   .gitattributes"
    found = run("verify", "model", "--key", "keys/key.pub")
    assert found.code == 0
    assert found.out.startswith("verified: 4 files as they were signed\n")
    assert "not looked at  .gitattributes" in found.out


def test_what_happened_is_told(model: Path, run: Run) -> None:
    write_key(Path("keys"))
    run("sign", "model", "--key", "keys/key.pem")
    (model / "sub/a.bin").rename(model / "b.bin")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (model / "config.json").unlink()
    (model / ".cache/huggingface").mkdir(parents=True)
    (model / ".cache/huggingface/x.lock").write_bytes(b"")
    found = run("verify", "model", "--key", "keys/key.pub")
    assert found.code == 1
    lines = found.out.splitlines()
    assert lines[0] == "does not verify: 4 files not as they were signed"
    assert lines[1] == "  added      .cache/huggingface/x.lock"
    assert lines[2] == "  renamed    b.bin (was sub/a.bin)"
    assert lines[3] == "  missing    config.json"
    assert lines[4].startswith("  changed    model.safetensors (")
    assert "--ignore .cache" in found.out
    report = json.loads(run("verify", "model", "--key", "keys/key.pub", "--format", "json").out)
    assert report["verified"] is False
    assert report["refused"] is None
    assert [(c["path"], c["happened"], c["other"]) for c in report["changes"]] == [
        (".cache/huggingface/x.lock", "added", None),
        ("b.bin", "renamed", "sub/a.bin"),
        ("config.json", "missing", None),
        ("model.safetensors", "changed", None),
    ]
    assert report["signed"]["files"] == 4


def test_another_key(model: Path, run: Run) -> None:
    write_key(Path("keys"))
    write_key(Path("other"))
    run("sign", "model", "--key", "keys/key.pem")
    found = run("verify", "model", "--key", "other/key.pub")
    assert found.code == 1
    assert found.out.startswith("does not verify: the signature does not hold: Key mismatch")


def test_certificates(model: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Authority(Path("ca"), password="pw")  # noqa: S106  of a key made here
    arguments = ["--key", str(made.key), "--certificate", str(made.certificate)]
    arguments += ["--certificate-chain", str(made.chain)]
    refused = run("sign", "model", *arguments)
    assert refused.code == 2
    assert "STEELYARD_KEY_PASSWORD" in refused.err
    monkeypatch.setenv("STEELYARD_KEY_PASSWORD", "pw")
    assert run("sign", "model", *arguments).code == 0
    assert run("verify", "model", "--certificate-chain", str(made.root)).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["sign", "model"],
        ["sign", "model", "--key", "k", "--sigstore"],
        ["sign", "model", "--key", "k", "--staging"],
        ["sign", "model", "--key", "k", "--certificate-chain", "c"],
        ["sign", "model", "--key", "nowhere.pem"],
        ["sign", "model", "--key", "keys/key.pem", "--ignore", "../x"],
        ["verify", "model"],
        ["verify", "model", "--key", "k", "--certificate-chain", "c"],
        ["verify", "model", "--identity", "me"],
        ["verify", "model", "--key", "k", "--staging"],
    ],
)
def test_wrong_usage(model: Path, run: Run, arguments: list[str]) -> None:
    write_key(Path("keys"))
    found = run(*arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: ")


def test_sigstore_respects_offline_mode(
    model: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEELYARD_OFFLINE", "1")
    assert "offline mode is on" in run("sign", "model", "--sigstore").err
    found = run("verify", "model", "--identity", "a", "--identity-provider", "b")
    assert (found.code, "offline mode is on" in found.err) == (2, True)


def test_unreadable(model: Path, run: Run) -> None:
    write_key(Path("keys"))
    missing = run("verify", "model", "--key", "keys/key.pub")
    assert (missing.code, missing.err.splitlines()[0]) == (
        3,
        "error: model/model.sig: there is no signature",
    )
    assert run("sign", "nowhere", "--key", "keys/key.pem").code == 3
    (model / "model.sig").write_bytes(b"{}")
    assert run("verify", "model", "--key", "keys/key.pub").code == 3


def test_verify_reads_again_unless_told(model: Path, run: Run) -> None:
    write_key(Path("keys"))
    run("sign", "model", "--key", "keys/key.pem")
    assert run("verify", "model", "--key", "keys/key.pub", "--cached").code == 0


def test_lock_and_check(model: Path, run: Run) -> None:
    made = run("lock", "model")
    assert (made.code, made.err) == (0, "")
    assert made.out.splitlines()[0] == "locked 4 files: steelyard.lock"
    same = run("lock", "model", "--check")
    assert (same.code, same.out) == (0, "steelyard.lock and model are the same\n")
    (model / "sub/a.bin").write_bytes(b"b")
    found = run("lock", "model", "--check")
    assert found.code == 1
    assert "  changed    sub/a.bin: 4 bytes → 1 bytes\n" in found.out
    before = Path("steelyard.lock").read_bytes()
    assert run("lock", "model").code == 0
    assert Path("steelyard.lock").read_bytes() != before


def test_a_lock_within_the_model_does_not_lock_itself(model: Path, run: Run) -> None:
    assert run("lock", "model", "--output", "model/own.lock", "--no-lineage").code == 0
    assert run("lock", "model", "--output", "model/own.lock", "--check").code == 0


def test_no_lock_to_check(model: Path, run: Run) -> None:
    found = run("lock", "model", "--check")
    assert (found.code, found.err.splitlines()[0]) == (3, "error: steelyard.lock: there is no lock")


def test_diff(model: Path, run: Run) -> None:
    run("lock", "model")
    other = model_folder(Path("other"), files={"sub/a.bin": b"aaaa", "x.txt": b"x"})
    assert run("diff", "model", "model").code == 0
    found = run("diff", "steelyard.lock", str(other))
    assert found.code == 1
    assert found.out.startswith("steelyard.lock and other differ in files\n\nFiles\n")
    report = json.loads(run("diff", "model", "other", "--format", "json", "--no-moved").out)
    assert report["same"] is False
    assert [(d["area"], d["kind"], d["subject"]) for d in report["differences"]] == [
        ("files", "added", "x.txt")
    ]
    written = run("diff", "model", "other", "-o", "changes.md")
    assert (written.code, written.out) == (1, "")
    assert Path("changes.md").read_text().startswith("**model and other differ in files**\n")
    assert run("diff", "model", "nowhere").code == 3


def test_a_lock_on_standard_output(model: Path, run: Run) -> None:
    made = run("lock", "model", "--output", "-")
    assert json.loads(made.out)["schema_version"] == "1.0"
    assert made.err.startswith("locked 4 files: -\n")


def test_what_a_download_leaves_is_signed_with_a_note(model: Path, run: Run) -> None:
    write_key(Path("keys"))
    (model / ".cache/huggingface").mkdir(parents=True)
    (model / ".cache/huggingface/x.lock").write_bytes(b"")
    said = run("sign", "model", "--key", "keys/key.pem")
    assert (said.code, "--ignore .cache leaves it out" in said.err) == (0, True)
    quiet = run("sign", "model", "--key", "keys/key.pem", "--force", "--ignore", ".cache")
    assert (quiet.code, quiet.err) == (0, "")
