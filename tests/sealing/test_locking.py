"""A lock says everything that tells one model from another, the same bytes each time."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints import digest_jobs
from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digest_runs import Run, hash_run
from steelyard.errors import CheckpointError, SourceError
from steelyard.sealing import lock_document
from steelyard.sealing.lock_document import LockDocument, LockedTensor, read_lock, write_lock
from steelyard.sealing.openssf import KeySigner
from steelyard.sealing.signing import sign
from steelyard.sealing.snapshots import Wanted, take
from steelyard.sources import Network
from tests.containers import as_gguf, as_safetensors, as_shards, model_folder
from tests.models import folder, weights
from tests.sealing.authority import write_key
from tests.sealing.samples import lock as sample
from tests.sources.hub_server import HubServer


def locked(path: Path | str, **wanted: Any) -> LockDocument:
    with ExitStack() as stack:
        return take(path, stack, Wanted(**wanted)).lock


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", files={"x/a.txt": b"a", "tokenizer.json": TOKENIZER})
    two = tmp_path / "elsewhere" / "two"
    shutil.copytree(one, two)
    os.utime(two / "README.md", (1, 1))
    first, second = write_lock(locked(one)), write_lock(locked(two))
    assert first == second
    assert first == write_lock(locked(one, cache=DigestCache(tmp_path / "c.sqlite")))
    assert str(tmp_path).encode() not in first


TOKENIZER = json.dumps({"model": {"vocab": {f"t{n}": n for n in range(16)}}}).encode()


def test_what_a_lock_holds(tmp_path: Path) -> None:
    config = {
        "chat_template": [{"name": "default", "template": "{{ x }}"}],
        "bos_token": {"content": "<s>"},
        "added_tokens_decoder": {"3": {"content": "<x>", "special": True}},
    }
    made = folder(
        tmp_path / "m",
        files={
            "tokenizer.json": TOKENIZER,
            "tokenizer_config.json": json.dumps(config).encode(),
            "chat_template.jinja": b"{{ y }}",
            ".git/config": b"x",
            "model.sig": b"x",
            ".cache/huggingface/x": b"x",
            "sub/.DS_Store": b"x",
            "__pycache__/m.pyc": b"x",
        },
    )
    found = locked(made)
    assert set(found.files) == {
        "README.md", "__pycache__/m.pyc", "chat_template.jinja", "config.json",
        "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert found.weights is not None
    assert found.weights.identity is not None
    assert found.weights.tensor("norm.final.weight").shape == (8,)
    assert set(found.templates) == {
        "chat_template.jinja",
        "tokenizer_config.json chat_template default",
    }
    assert found.tokenizer is not None
    assert found.tokenizer.tokens == 16
    assert found.tokenizer.special == {"added token 3": "<x>", "bos_token": "<s>"}
    assert found.license["effective"] == "Apache-2.0"
    assert found.card is not None
    assert found.card.fields == {"license": "apache-2.0", "language": "en"}
    assert list(found.card.sections) == ["Tiny"]
    assert found.lineage is not None


def test_the_same_weights_have_the_same_table_in_every_container(tmp_path: Path) -> None:
    tables = []
    for name, made in (("s", as_safetensors()), ("n", as_shards()), ("g", as_gguf())):
        found = locked(model_folder(tmp_path / name, weights=made), lineage=False)
        assert found.weights is not None
        tables.append((found.weights.identity, found.weights.tensors))
    assert tables[0] == tables[1] == tables[2]


def test_locks_are_what_their_schema_says(tmp_path: Path) -> None:
    schema = json.loads(lock_document.shipped_schema())
    assert schema == lock_document.schema()
    for lock in (sample(), locked(folder(tmp_path / "m"))):
        jsonschema.validate(json.loads(write_lock(lock)), schema)
        assert read_lock(write_lock(lock)) == lock


_TENSORS = st.builds(
    LockedTensor,
    st.sampled_from(["F32", "BF16", "F8_E4M3"]),
    st.sampled_from(["plain", "q4_k", "iq2_xxs"]),
    st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
    st.none() | st.binary(min_size=32, max_size=32).map(lambda each: f"b3:{each.hex()}"),
)


@given(_TENSORS)
def test_tensors_are_read_back(tensor: LockedTensor) -> None:
    assert LockedTensor.parse(str(tensor)) == tensor


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", "2.0"),
        ("files", {"a": {"size": -1, "sha256": None}}),
        ("files", {"a": {"size": 1, "sha256": "x"}}),
        ("weights", {"identity": None, "scheme": "1", "format": "x", "parameters": 1,
                     "tensors": {"a": "F32"}}),
        ("unknown", 1),
    ],
)  # fmt: skip
def test_what_is_no_lock_is_refused(field: str, value: object) -> None:
    data = json.loads(write_lock(sample()))
    data[field] = value
    with pytest.raises(CheckpointError, match="is no lock"):
        read_lock(json.dumps(data).encode())


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    made = folder(tmp_path / "m")
    (made / "out").symlink_to(tmp_path)
    with pytest.raises(SourceError):
        locked(made)


def test_one_file(tmp_path: Path) -> None:
    made = folder(tmp_path / "m")
    found = locked(made / "model.safetensors")
    whole = locked(made)
    assert found.files == {"model.safetensors": whole.files["model.safetensors"]}
    assert found.weights == whole.weights


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each byte of a file is read for its digests."""
    seen: Counter[str] = Counter()

    def watched(run: Run, *rest: Any) -> Any:
        seen[run.name] += run.end - run.start
        return hash_run(run, *rest)

    monkeypatch.setattr(digest_jobs, "hash_run", watched)
    return seen


def test_signing_and_locking_read_every_byte_once(tmp_path: Path, counted: Counter[str]) -> None:
    big = dict(weights(vocabulary=4096, width=64))
    made = folder(tmp_path / "m", tensors=big, files={"x.bin": bytes(100)})
    sizes = {p.name: p.stat().st_size for p in made.iterdir()}
    locked(made)
    assert dict(counted) == sizes
    counted.clear()
    private, _ = write_key(tmp_path / "keys")
    signed = sign(made, KeySigner(private, lambda: None))
    assert dict(counted) == sizes
    assert signed.identity == locked(made, lineage=False).weights.identity  # type: ignore[union-attr]  # there are weights


def test_what_the_cache_knows_is_not_read_again(tmp_path: Path, counted: Counter[str]) -> None:
    made = folder(tmp_path / "m", tensors={"w": np.ones(9, np.float32)})
    for path in made.iterdir():
        os.utime(path, (1, 1))
    cache = DigestCache(tmp_path / "c.sqlite", clock=lambda: 2**62)
    private, _ = write_key(tmp_path / "keys")
    sign(made, KeySigner(private, lambda: None), cache=cache)
    counted.clear()
    locked(made, cache=cache)
    assert dict(counted) == {}


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_remote_model_is_locked_without_its_weights(tmp_path: Path) -> None:
    made = folder(tmp_path / "m", files={"tokenizer.json": TOKENIZER, ".gitattributes": b"x"})
    here = locked(made, lineage=False)
    with HubServer({"org/name": made}) as hub:
        network = Network(endpoint=hub.endpoint)
        found = locked("hf://org/name", network=network, lineage=False)
    assert found.source == "hf://org/name"
    assert found.revision is not None
    assert found.files["model.safetensors"].basis == "declared"
    assert {path: file.sha256 for path, file in found.files.items()} == {
        path: file.sha256 for path, file in here.files.items()
    }
    assert found.weights is not None
    assert found.weights.identity is None
    assert (found.tokenizer, found.card, found.license) == (here.tokenizer, here.card, here.license)
