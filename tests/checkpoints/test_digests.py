"""The same weights have one identity in every container; anything else has another."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from safetensors.numpy import save

from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digests import digest
from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.tensors import Problem, ProblemKind, Tensor
from steelyard.errors import SourceError
from steelyard.facts import Basis
from steelyard.sources.base import SourceFile
from steelyard.sources.local import LocalSource, open_local
from tests.checkpoints.same_weights import (
    CONTAINERS,
    GGUF_NAMES,
    VOCAB,
    WIDTH,
    Arrays,
    Watcher,
    gguf,
    llama,
    one_safetensors,
    table,
    weigh,
    written,
)


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("sha256", [False, True])
def test_one_identity_in_every_container(
    tmp_path: Path, container: Callable[[Arrays], dict[str, bytes]], dtype: str, sha256: bool
) -> None:
    expected = weigh(tmp_path / "expected", one_safetensors(llama(dtype)), sha256=False)
    files = container(llama(dtype))
    found = weigh(tmp_path / "found", files, sha256=sha256)
    assert found.root is not None
    assert found.root == expected.root
    assert found.notes == ()
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert {n: f.sha256 for n, f in found.files.items()} == (sums if sha256 else {})
    assert all(each.basis is Basis.MEASURED for each in found.files.values())


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda each: each.__name__)
def test_one_flipped_bit_gives_another_identity(
    tmp_path: Path, container: Callable[[Arrays], dict[str, bytes]]
) -> None:
    roots = {weigh(tmp_path / "0", container(llama()), sha256=False).root}
    for i, name in enumerate(llama(), 1):
        arrays = llama()
        arrays[name].view(np.uint8).flat[i % arrays[name].nbytes] ^= 1 << i % 8
        roots.add(weigh(tmp_path / str(i), container(arrays), sha256=False).root)
    assert len(roots) == len(llama()) + 1


def test_the_digests_are_those_of_the_plain_bytes(tmp_path: Path) -> None:
    arrays = llama()
    found = weigh(tmp_path, gguf(arrays))
    names = {stored: name for name, stored in GGUF_NAMES.items()}
    for tensor in found.tensors:
        assert tensor.digest == blake3(arrays[names[tensor.name]].tobytes()).digest()
        assert tensor.text == f"b3:{tensor.digest.hex()}"


def test_types_and_shapes_count(tmp_path: Path) -> None:
    arrays = llama()
    cast = {**arrays, "model.norm.weight": arrays["model.norm.weight"].view(np.int32)}
    turned = dict(arrays)
    turned["model.embed_tokens.weight"] = arrays["model.embed_tokens.weight"].reshape(WIDTH, VOCAB)
    named = {**arrays, "extra.buffer": np.zeros(0, np.float32)}
    roots = {
        weigh(tmp_path / str(i), one_safetensors(each), sha256=False).root
        for i, each in enumerate((arrays, cast, turned, named))
    }
    assert len(roots) == 4


def test_an_untied_head_counts_and_a_tied_one_does_not(tmp_path: Path) -> None:
    arrays = llama()
    tied = {**arrays, "lm_head.weight": arrays["model.embed_tokens.weight"]}
    untied = {**arrays, "lm_head.weight": arrays["model.embed_tokens.weight"] + 1}
    plain = weigh(tmp_path / "a", one_safetensors(arrays)).root
    assert weigh(tmp_path / "b", one_safetensors(tied)).root == plain
    assert weigh(tmp_path / "c", one_safetensors(untied)).root != plain
    without = {n: a for n, a in tied.items() if "embed" not in n}
    assert weigh(tmp_path / "d", one_safetensors(without)).root != plain


def test_an_encoder_and_decoder_may_share_one_embedding(tmp_path: Path) -> None:
    shared = np.ones((4, 3), np.float32)
    rest: Arrays = {
        "encoder.block.0.layer.0.SelfAttention.q.weight": np.ones((3, 3), np.float32),
        "decoder.block.0.layer.0.SelfAttention.q.weight": np.zeros((3, 3), np.float32),
    }
    names = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    short = one_safetensors({"shared.weight": shared, **rest})
    long = one_safetensors({**dict.fromkeys(names, shared), "lm_head.weight": shared, **rest})
    found = weigh(tmp_path / "long", long)
    assert found.root == weigh(tmp_path / "short", short).root
    assert {tensor.name for tensor in found.tensors if tensor.tied} == {
        *names[1:],
        "lm_head.weight",
    }


def test_bytes_that_tensors_share_are_read_once(tmp_path: Path) -> None:
    watcher = Watcher()
    tensors = [Tensor(f"t{i}", "U8", (1000,), "plain", "f", 0, 1000) for i in range(50)]
    source, checkpoint = table(tmp_path, bytes(1000), tensors)
    assert len(digest(source, checkpoint, sha256=False, progress=watcher).tensors) == 50
    assert watcher.events[0] == ("digests", 1000)


def remote(source: LocalSource) -> LocalSource:
    class Elsewhere:
        spec, kind, revision, skipped, bytes_read = "hf://a/b", "hub", None, (), 0
        files = tuple(SourceFile(f.path, f.size, "ab" * 32) for f in source.files)

        def local_path(self, path: str) -> None:
            return None

        def open(self, path: str) -> object:
            raise AssertionError("a remote file was opened")

    return Elsewhere()  # type: ignore[return-value]  # stands in for any source


def test_remote_weights_are_not_downloaded(tmp_path: Path) -> None:
    source = written(tmp_path, one_safetensors(llama()))
    main = read_model(source).main
    assert main is not None
    found = digest(remote(source), main)
    assert found.root is None
    assert found.tensors == ()
    assert found.notes == ("identity unknown: remote weights are not downloaded",)
    assert found.files["model.safetensors"].basis is Basis.DECLARED
    assert found.files["model.safetensors"].sha256 == "ab" * 32


def test_what_the_hub_states_is_checked_where_the_bytes_are_here(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / ("c" * 40)
    data = save(llama())
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "blobs" / ("ab" * 32)).write_bytes(data)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{'ab' * 32}")
    source = open_local(str(snapshot))
    main = read_model(source).main
    assert main is not None
    found = digest(source, main)
    assert found.files["model.safetensors"].sha256 == hashlib.sha256(data).hexdigest()
    assert "its source states abab" in found.notes[0]
    assert digest(source, main, sha256=False).files["model.safetensors"].basis is Basis.DECLARED


def test_incomplete_weights_have_no_identity(tmp_path: Path) -> None:
    source = written(tmp_path, one_safetensors(llama()))
    main = read_model(source).main
    assert main is not None
    lacking = replace(main, problems=(Problem(ProblemKind.MISSING_SHARD, "b is missing", "b"),))
    found = digest(source, lacking)
    assert found.root is None
    assert found.notes == ("identity unknown: the weights are incomplete: b is missing",)
    assert found.files["model.safetensors"].basis is Basis.MEASURED


def test_a_file_that_is_not_there_leaves_the_identity_unknown(tmp_path: Path) -> None:
    tensors = [
        Tensor("a", "U8", (4,), "plain", "f", 0, 4),
        Tensor("b", "U8", (4,), "plain", "g", 0, 4),
    ]
    source, checkpoint = table(tmp_path, bytes(4), tensors)
    found = digest(source, checkpoint)
    assert found.root is None
    assert found.notes == ("identity unknown: the weights are incomplete: g is not there",)
    assert list(found.files) == ["f"]


def test_a_tensor_that_cannot_be_read_leaves_the_identity_unknown(tmp_path: Path) -> None:
    tensors = [
        Tensor("a", "U8", (10,), "plain", "f", 0, 10),
        Tensor("b", "F32", (4,), "varint", "f", 10, 10),
    ]
    source, checkpoint = table(tmp_path, bytes(40), tensors)
    found = digest(source, checkpoint)
    assert found.root is None
    assert found.notes[0].startswith("identity unknown: f: ")
    assert found.files["f"].sha256 == hashlib.sha256(bytes(40)).hexdigest()


def test_many_tensors_that_cannot_be_read_are_told_in_one_line(tmp_path: Path) -> None:
    tensors = [
        Tensor(f"t{i:02}", "F32", (i + 1,), "scattered", "f", None, 4 * i + 4) for i in range(13)
    ]
    source, checkpoint = table(tmp_path, bytes(40), [*tensors, replace(tensors[3], name="again")])
    (note,) = digest(source, checkpoint, sha256=False).notes
    assert note.startswith('identity unknown: f: the elements of tensor "again" are not read: its ')
    assert note.endswith(" (12 more tensors cannot be read either)")


def test_claims_beyond_reason_are_refused_at_once(tmp_path: Path) -> None:
    tensors = [
        Tensor(f"t{i}", "U8", (1 << 20, 1 << 20), "plain", "f", i, 10, strides=(0, 0))
        for i in range(20)
    ]
    source, checkpoint = table(tmp_path, bytes(100), tensors)
    found = digest(source, checkpoint, sha256=False)
    assert found.root is None
    assert "tensors claim" in found.notes[0]


def test_no_tensors_no_identity(tmp_path: Path) -> None:
    source, checkpoint = table(tmp_path, bytes(10), [])
    assert digest(source, checkpoint).root is None


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    later = time.time_ns() + 10**10
    cache = DigestCache(tmp_path / "cache" / "digests.sqlite", clock=lambda: later)
    files = {**gguf(llama())}
    first = weigh(tmp_path / "m", files, cache=cache, sha256=False)
    watcher = Watcher()
    source = open_local(str(tmp_path / "m"))
    main = read_model(source).main
    assert main is not None
    assert digest(source, main, cache=cache, sha256=False, progress=watcher) == first
    assert watcher.events == [("digests", 0), ("stop", 0)]
    both = digest(source, main, cache=cache)
    assert both.root == first.root
    assert digest(source, main, cache=cache, progress=(again := Watcher())) == both
    assert again.events == [("digests", 0), ("stop", 0)]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    later = time.time_ns() + 10**10
    cache = DigestCache(tmp_path / "cache" / "digests.sqlite", clock=lambda: later)
    first = weigh(tmp_path / "m", one_safetensors(llama()), cache=cache)
    times = (tmp_path / "m" / "model.safetensors").stat()
    source = written(tmp_path / "m", one_safetensors(llama(seed=2)))
    os.utime(tmp_path / "m" / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    source = open_local(str(tmp_path / "m"))
    main = read_model(source).main
    assert main is not None
    assert digest(source, main, cache=cache).root != first.root


def test_further_files_are_hashed_in_the_same_pass(tmp_path: Path) -> None:
    files = {**one_safetensors(llama()), "sub/a.txt": b"a", "empty": b""}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    source = open_local(str(tmp_path))
    model = read_model(source)
    hidden = tmp_path / ".git"
    hidden.write_bytes(b"not listed")
    also = {name: tmp_path / name for name in (*files, ".git")}
    found = digest(source, model.main, also=also)
    assert found.root == digest(source, model.main).root
    sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in also.items()}
    assert {name: each.sha256 for name, each in found.files.items()} == sums
    alone = digest(source, None, also={"sub/a.txt": tmp_path / "sub/a.txt"}, sha256=False)
    assert (alone.root, alone.tensors) == (None, ())
    assert alone.files["sub/a.txt"].sha256 == sums["sub/a.txt"]


def test_a_further_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    source = open_local(str(tmp_path))
    with pytest.raises(SourceError, match="cannot read the file"):
        digest(source, None, also={"a": tmp_path / "a"})
