"""The same weights have one identity in every container; anything else has another."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

from steelyard.checkpoints import digest_jobs, digest_runs, merkle
from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digests import Digests, TensorDigest, digest, identity
from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.tensors import Checkpoint, Problem, ProblemKind, Tensor
from steelyard.errors import SourceError
from steelyard.facts import Basis
from steelyard.sources.base import SourceFile
from steelyard.sources.local import LocalSource, open_local
from tests.checkpoints.gguf_files import Value, Weights, gguf_bytes
from tests.checkpoints.torch_files import Storage, Weight, legacy_file, torch_zip

Arrays = dict[str, NDArray[np.generic]]
HEADS, KV_HEADS, HEAD, WIDTH, VOCAB = 4, 2, 6, 24, 10
GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
    "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
    "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
    "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
    "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
}
TORCH_KINDS = {"float32": "FloatStorage", "float16": "HalfStorage"}


def llama(dtype: str = "float32", seed: int = 1) -> Arrays:
    random = np.random.default_rng(seed)
    shapes = {
        "model.embed_tokens.weight": (VOCAB, WIDTH),
        "model.norm.weight": (WIDTH,),
        "model.layers.0.self_attn.q_proj.weight": (HEADS * HEAD, WIDTH),
        "model.layers.0.self_attn.k_proj.weight": (KV_HEADS * HEAD, WIDTH),
        "model.layers.0.self_attn.v_proj.weight": (KV_HEADS * HEAD, WIDTH),
        "model.layers.0.mlp.down_proj.weight": (WIDTH, 8),
        "model.layers.0.input_layernorm.weight": (WIDTH,),
    }
    return {name: random.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def permuted(rows: NDArray[np.generic], heads: int) -> NDArray[np.generic]:
    """Reorder as llama.cpp's converter does."""
    apart = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return apart.swapaxes(1, 2).reshape(rows.shape)


def one_safetensors(arrays: Arrays) -> dict[str, bytes]:
    return {"model.safetensors": save(arrays)}


def three_shards(arrays: Arrays) -> dict[str, bytes]:
    names = sorted(arrays, reverse=True)
    return {
        f"model-0000{i + 1}-of-00003.safetensors": save({n: arrays[n] for n in names[i::3]})
        for i in range(3)
    }


def state(arrays: Arrays) -> dict[str, Weight]:
    return {
        name: Weight(Storage(str(i), TORCH_KINDS[str(a.dtype)], a.tobytes()), a.shape)
        for i, (name, a) in enumerate(arrays.items())
    }


def torch_new(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": torch_zip(state(arrays))}


def torch_deflated(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": torch_zip(state(arrays), compress=["data/0", "data/3"])}


def torch_old(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": legacy_file(state(arrays))}


def torch_transposed(arrays: Arrays) -> dict[str, bytes]:
    weights = state(arrays)
    for i, name in enumerate(sorted(n for n in arrays if arrays[n].ndim == 2)):
        a = arrays[name]
        storage = Storage(f"t{i}", TORCH_KINDS[str(a.dtype)], a.T.copy().tobytes())
        weights[name] = Weight(storage, a.shape, (1, a.shape[0]))
    return {"pytorch_model.bin": torch_zip(weights)}


def torch_tied(arrays: Arrays) -> dict[str, bytes]:
    weights = state(arrays)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return {"pytorch_model.bin": torch_zip(weights)}


def npz(arrays: Arrays) -> dict[str, bytes]:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]  # numpy's stub takes a flag for a tensor
    return {"weights.npz": out.getvalue()}


def npz_deflated(arrays: Arrays) -> dict[str, bytes]:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]  # as above
    return {"weights.npz": out.getvalue()}


def gguf(arrays: Arrays, byteorder: str = "little") -> dict[str, bytes]:
    """Write as llama.cpp's converter does: its names, its order of rows, vectors as F32."""
    tensors = []
    for name, array in arrays.items():
        stored = array.astype(np.float32) if array.ndim == 1 else array
        if "q_proj" in name:
            stored = permuted(stored, HEADS)
        if "k_proj" in name:
            stored = permuted(stored, KV_HEADS)
        data = (stored.byteswap() if byteorder == "big" else stored).tobytes()
        kind = 0 if stored.dtype == np.float32 else 1
        tensors.append(Weights(GGUF_NAMES[name], kind, array.shape, data))
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
    }
    return {"model.gguf": gguf_bytes(metadata, tensors, byteorder=byteorder)}


def gguf_big(arrays: Arrays) -> dict[str, bytes]:
    return gguf(arrays, "big")


def gguf_as_is(arrays: Arrays) -> dict[str, bytes]:
    tensors = [
        Weights(name, 0 if a.dtype == np.float32 else 1, a.shape, a.tobytes())
        for name, a in arrays.items()
    ]
    return {"model.gguf": gguf_bytes({"general.architecture": "other"}, tensors)}


CONTAINERS: tuple[Callable[[Arrays], dict[str, bytes]], ...] = (
    one_safetensors,
    three_shards,
    torch_new,
    torch_deflated,
    torch_old,
    torch_transposed,
    torch_tied,
    npz,
    npz_deflated,
    gguf,
    gguf_big,
    gguf_as_is,
)


def written(folder: Path, files: Mapping[str, bytes]) -> LocalSource:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return open_local(str(folder))


def weigh(folder: Path, files: Mapping[str, bytes], **options: object) -> Digests:
    source = written(folder, files)
    main = read_model(source).main
    assert main is not None
    return digest(source, main, **options)  # type: ignore[arg-type]  # passed through by name


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


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=64), st.data())
def test_widening_loses_nothing_and_pieces_do_not_matter(
    halves: list[int], data: st.DataObject
) -> None:
    raw = np.array(halves, "<u2").tobytes()
    for dtype in ("F16", "BF16"):
        wide = digest_runs.widened(memoryview(raw), dtype)
        assert len(set(wide.tolist())) == len(set(halves))
        whole, cut = digest_runs.hasher(dtype), digest_runs.hasher(dtype)
        whole.update(raw)
        place = data.draw(st.integers(0, len(raw)))
        cut.update(memoryview(raw)[:place])
        cut.update(memoryview(raw)[place:])
        assert whole.digest() == cut.digest() == blake3(wide.tobytes()).digest()
    values = np.array(halves, "<u2").view("<f2")
    normal = ~np.isnan(values)
    wide = digest_runs.widened(memoryview(raw), "F16")
    with np.errstate(invalid="ignore"):
        assert (wide.view("<f4")[normal] == values.astype("<f4")[normal]).all()


leaves = st.builds(
    TensorDigest,
    st.just("n"),
    st.text(max_size=6),
    st.sampled_from(["F32", "BF16", "F"]),
    st.sampled_from(["plain", "Q4_K", ""]),
    st.lists(st.integers(0, 2**64), max_size=3).map(tuple),
    st.binary(min_size=32, max_size=32),
)


@given(st.lists(leaves, min_size=1, max_size=20), st.randoms())
def test_order_does_not_matter(tensors: list[TensorDigest], random: object) -> None:
    shuffled = list(tensors)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    assert identity(shuffled) == identity(tensors)


@given(leaves, leaves)
def test_leaves_are_equal_only_when_every_part_is(a: TensorDigest, b: TensorDigest) -> None:
    assert (a.leaf == b.leaf) == (a == b)


@given(leaves)
def test_every_part_of_a_leaf_counts(tensor: TensorDigest) -> None:
    others = [
        replace(tensor, canonical=tensor.canonical + "a"),
        replace(tensor, dtype=tensor.dtype + "p", encoding=tensor.encoding),
        replace(tensor, encoding=tensor.encoding + "x"),
        replace(tensor, shape=(*tensor.shape, 1)),
        replace(tensor, digest=bytes([tensor.digest[0] ^ 1]) + tensor.digest[1:]),
    ]
    roots = {identity([each]) for each in (tensor, *others)}
    assert len(roots) == 6


def merkle_tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return blake3(b"").digest()
    if len(leaves) == 1:
        return blake3(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = merkle_tree(leaves[:split]), merkle_tree(leaves[split:])
    return blake3(b"\x01" + left + right).digest()


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_tree_has_the_shape_of_rfc_6962(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == merkle_tree(leaves)


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=8))
def test_an_inner_node_is_no_leaf(leaves: list[bytes]) -> None:
    nodes = [blake3(b"\x00" + each).digest() for each in leaves[:2]]
    assert merkle.root([b"".join(nodes), *leaves[2:]]) != merkle.root(leaves)


def table(folder: Path, data: bytes, tensors: list[Tensor]) -> tuple[LocalSource, Checkpoint]:
    source = written(folder, {"f": data})
    return source, Checkpoint("test", ("f",), tuple(sorted(tensors, key=lambda t: t.name)))


@given(
    cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=8),
    sha256=st.booleans(),
    workers=st.integers(1, 3),
)
def test_overlaps_gaps_and_buffers_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[tuple[int, int]],
    sha256: bool,
    workers: int,
) -> None:
    size = (2 << 20) + 50
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    edge = (1 << 20) - 20
    tensors = [
        Tensor(f"t{i}", "U8", (length,), "plain", "f", edge + start, length)
        for i, (start, length) in enumerate(cuts)
    ]
    source, checkpoint = table(tmp_path_factory.mktemp("d"), data, tensors)
    found = digest(source, checkpoint, sha256=sha256, workers=workers)
    digests = {tensor.name: tensor.digest for tensor in found.tensors}
    for tensor in tensors:
        start = tensor.offset or 0
        assert digests[tensor.name] == blake3(data[start : start + tensor.nbytes]).digest()
    if sha256:
        assert found.files["f"].sha256 == hashlib.sha256(data).hexdigest()


def test_rows_larger_than_a_buffer_are_put_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = weigh(tmp_path / "a", one_safetensors(llama())).root
    for size in (7, 96, 200, 1000):
        monkeypatch.setattr(digest_jobs, "BUFFER", size)
        assert weigh(tmp_path / str(size), gguf(llama())).root == expected


class Watcher:
    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def start(self, task: str, total: int) -> None:
        self.events.append((task, total))

    def advance(self, amount: int) -> None:
        self.events.append(("", amount))

    def stop(self) -> None:
        self.events.append(("stop", 0))


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    watcher = Watcher()
    files = three_shards(llama())
    weigh(tmp_path, files, progress=watcher)
    total = sum(map(len, files.values()))
    assert watcher.events[0] == ("digests", total)
    assert watcher.events[-1] == ("stop", 0)
    assert sum(amount for name, amount in watcher.events if not name) == total


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


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    source, checkpoint = table(
        tmp_path, bytes(100), [Tensor("a", "U8", (100,), "plain", "f", 0, 100)]
    )
    os.truncate(tmp_path / "f", 50)
    with pytest.raises(SourceError, match="changed"):
        digest(source, checkpoint)


@pytest.mark.parametrize("sha256", [False, True])
def test_a_file_that_is_written_while_it_is_read_is_an_error(tmp_path: Path, sha256: bool) -> None:
    size = 4 << 20
    source, checkpoint = table(
        tmp_path, bytes(size), [Tensor("a", "U8", (size,), "plain", "f", 0, size)]
    )

    class Writer(Watcher):
        def start(self, task: str, total: int) -> None:
            os.truncate(tmp_path / "f", 1 << 20)

    with pytest.raises(SourceError, match="changed"):
        digest(source, checkpoint, sha256=sha256, progress=Writer())


def test_an_interrupt_stops_the_work(tmp_path: Path) -> None:
    class Interrupter(Watcher):
        def advance(self, amount: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weigh(tmp_path, one_safetensors(llama()), progress=Interrupter())


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
