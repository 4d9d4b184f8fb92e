"""PyTorch files that lie, explode or carry a payload. No payload here is ever loaded."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest

from steelyard.checkpoints import pytorch
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.tensors import Checkpoint, PickleImport, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.memory import BytesReader
from tests.checkpoints.torch_files import (
    OS_SYSTEM,
    Encoder,
    Made,
    Member,
    Raw,
    Storage,
    Weight,
    legacy_file,
    torch_zip,
    weight,
    zip_file,
)

Write = Callable[..., bytes]
LAYOUTS = pytest.mark.parametrize("write", [torch_zip, legacy_file])
SIXTEEN = Storage("0", "FloatStorage", bytes(64))


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    return pytorch.read(BytesReader("m.bin", data), limits)


def called(imports: tuple[PickleImport, ...]) -> set[str]:
    return {item.name for item in imports if item.called}


# --- tensors that lie ---------------------------------------------------------------------------


@LAYOUTS
@pytest.mark.parametrize(
    "lie",
    [
        Weight(SIXTEEN, (17,)),
        Weight(SIXTEEN, (4, 5)),
        Weight(SIXTEEN, (16,), None, 1),
        Weight(SIXTEEN, (1,), None, 16),
        Weight(SIXTEEN, (2,), (16,)),
        Weight(SIXTEEN, (0,), None, 17),
        Weight(SIXTEEN, (2, 2), (2**62, 1)),
        Weight(SIXTEEN, (2**62, 4), (0, 0)),
        Weight(SIXTEEN, (-1,), (1,)),
        Weight(SIXTEEN, (2,), (-1,), 5),
        Weight(SIXTEEN, (2,), None, -1),
        Weight(SIXTEEN, (2,), (1, 1)),
        Weight(SIXTEEN, (2**70,), (1,)),
        Weight(SIXTEEN, (1,) * 33),
        Weight(Storage("0", "FloatStorage", bytes(64), count=17), (1,)),
        Weight(Storage("0", "FloatStorage", bytes(64), count=2**62), (1,)),
        Weight(Storage("0", "FloatStorage", bytes(64), count=2**70), (1,)),
        Weight(Storage("0", "FloatStorage", bytes(64), count=-1), (1,)),
        Weight(Storage("0", "FloatStorage", bytes(64), view=("v", 15, 2)), (1,)),
        Weight(Storage("0", "FloatStorage", bytes(64), view=("v", -1, 2)), (1,)),
        Made("torch._utils._rebuild_tensor_v2", (SIXTEEN, True, (1,), (1,))),
        Made("torch._utils._rebuild_tensor_v2", (SIXTEEN, 0, None, (1,))),
        Made("torch._utils._rebuild_tensor_v2", (SIXTEEN, 0, ("2",), (1,))),
        Made("torch._utils._rebuild_tensor_v2", (SIXTEEN, 0)),
        Made("torch._utils._rebuild_tensor_v2"),
        Made("torch._utils._rebuild_meta_tensor_no_storage"),
        Raw(b"(U\x07storageU\x01xU\x010U\x03cpuK\x01tQ"),
        Raw(b"U\x07storage\x85Q"),
    ],
)
def test_lies_about_a_tensor_are_refused(write: Write, lie: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(write({"x": lie}))
    assert caught.value.file == "m.bin"
    assert caught.value.offset is not None


@LAYOUTS
@pytest.mark.parametrize(
    "odd",
    [
        Made("torch._utils._rebuild_parameter"),
        Made("torch._tensor._rebuild_from_type_v2"),
        Made("torch._utils._rebuild_sparse_tensor"),
        Made("torch._utils._rebuild_sparse_tensor", (None, None)),
        Made("torch.Size"),
        Made("collections.OrderedDict", ([[1], [1, 2, 3], None],)),
        Made("torch.storage._load_from_bytes"),
        Made("torch.storage._load_from_bytes", (b"not a pickle",)),
        Made("torch.storage._load_from_bytes", (3,)),
        Raw(b"K\x01Q"),
        Raw(b")Q"),
        Raw(b"P\n"),
    ],
)
def test_odd_calls_do_no_harm(write: Write, odd: object) -> None:
    checkpoint = read(write({"a": weight("1", 2), "x": odd}))
    assert [tensor.name for tensor in checkpoint.tensors] == ["a"]


def test_a_storage_that_is_missing_or_short() -> None:
    root = {"a": weight("0", 8), "b": weight("1", 8)}
    with pytest.raises(CheckpointError, match="is not in the file"):
        read(torch_zip(root, drop=["1"]))
    with pytest.raises(CheckpointError, match="holds 4 bytes"):
        read(torch_zip(root, drop=["1"], extra={"data/1": b"1234"}))


def test_old_counts_that_lie() -> None:
    data = legacy_file({"a": weight("0", 8)})
    place = len(data) - 32 - 8
    for count in (7, 9, -1, 2**62):
        lie = data[:place] + struct.pack("<q", count) + data[place + 8 :]
        with pytest.raises(CheckpointError, match="states"):
            read(lie)


def test_old_keys_that_lie() -> None:
    data = legacy_file({"a": weight("0", 8)})
    key = data.rindex(b"X\1\0\0\0000")
    with pytest.raises(CheckpointError, match="no tensor describes"):
        read(data[: key + 5] + b"9" + data[key + 6 :])


# --- payloads -----------------------------------------------------------------------------------


@LAYOUTS
def test_a_payload_in_the_object(write: Write) -> None:
    checkpoint = read(write({"a": weight("0", 2), "x": Raw(OS_SYSTEM)}))
    assert [tensor.name for tensor in checkpoint.tensors] == ["a"]
    assert "os.system" in called(checkpoint.imports)


@LAYOUTS
@pytest.mark.parametrize("payload", [OS_SYSTEM + b"0N", b"(" + OS_SYSTEM + b"1N"])
def test_a_payload_whose_result_is_thrown_away(write: Write, payload: bytes) -> None:
    checkpoint = read(write({"a": Raw(payload)}))
    assert "os.system" in called(checkpoint.imports)


def test_a_payload_behind_the_end_of_the_pickle() -> None:
    checkpoint = read(torch_zip({"a": weight("0", 2)}, after=b"\x80\x02" + OS_SYSTEM + b"."))
    assert "os.system" in called(checkpoint.imports)
    assert len(checkpoint.tensors) == 1
    assert "another pickle follows" in checkpoint.problems[0].what


def test_a_payload_in_another_member() -> None:
    extra = {"extra/hook.pkl": OS_SYSTEM + b".", "extra/broken.pkl": b"\xff"}
    checkpoint = read(torch_zip({"a": weight("0", 2)}, extra=extra))
    assert "os.system" in called(checkpoint.imports)
    assert [item.kind for item in checkpoint.problems] == [ProblemKind.NOT_FULLY_READ]


def test_a_payload_in_any_old_pickle() -> None:
    data = legacy_file({"a": weight("0", 2)})
    machine = data.index(b"\x80\x02}")
    hidden = data[:machine] + b"\x80\x02" + OS_SYSTEM + b"0" + data[machine + 2 :]
    checkpoint = read(hidden)
    assert len(checkpoint.tensors) == 1
    assert "os.system" in called(checkpoint.imports)


@pytest.mark.parametrize("prefix", [b"", b"\x80\x02", b"\x80\x04\x95\xff\0\0\0\0\0\0\0"])
@pytest.mark.parametrize("end", [b".", b"", b".garbage", b"\xff", b"." + OS_SYSTEM + b"."])
def test_a_payload_that_is_no_checkpoint(prefix: bytes, end: bytes) -> None:
    checkpoint = read(prefix + b"cos\nsystem\nU\x04true\x85R" + end)
    assert checkpoint.tensors == ()
    assert called(checkpoint.imports) == {"os.system"}
    assert checkpoint.problems


def test_a_payload_in_bytes_that_would_be_loaded() -> None:
    inner = Encoder(4).pickle(Made("torch.storage._load_from_bytes", (OS_SYSTEM + b".",)))
    outer = Made("torch.storage._load_from_bytes", (inner,))
    for write in (torch_zip, legacy_file, Encoder(4).pickle):
        assert "os.system" in called(read(write({"x": outer})).imports)


def test_boxes_within_boxes_end() -> None:
    data = OS_SYSTEM + b"."
    for _ in range(20):
        data = Encoder(4).pickle(Made("torch.storage._load_from_bytes", (data,)))
    assert any("within a pickle" in item.what for item in read(data).problems)


def test_imports_of_a_file_that_is_refused() -> None:
    data = torch_zip({"x": Raw(OS_SYSTEM), "a": Weight(SIXTEEN, (99,))})
    with pytest.raises(CheckpointError):
        read(data)
    streams = pytorch.streams(BytesReader("m.bin", data))
    assert "os.system" in called(streams[0].imports)
    old = legacy_file({"x": Raw(OS_SYSTEM)}).replace(b"\x80\x02]", b"\xff\xff]")
    with pytest.raises(CheckpointError):
        read(old)
    assert len(pytorch.streams(BytesReader("m.bin", old))) == 4


def test_names_from_python_2_and_modules_as_references() -> None:
    kind = Raw(b"(U\x06modulectorch\nFloatStorage\nNNtQ")
    identity = ("storage", kind, "0", "cpu", 16)
    args = (Raw(Encoder().encode(identity) + b"Q"), 0, (16,), (1,))
    pairs = Made("collections.OrderedDict", ([["a", Made("torch._utils._rebuild_tensor", args)]],))
    data = zip_file([Member("m/data.pkl", Encoder().pickle(pairs)), Member("m/data/0", bytes(64))])
    assert [(t.name, t.dtype) for t in read(data).tensors] == [("a", "F32")]


# --- explosions ---------------------------------------------------------------------------------


def within(seconds: float, data: bytes, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    start = time.monotonic()
    try:
        return read(data, limits)
    finally:
        assert time.monotonic() - start < seconds


@LAYOUTS
def test_shared_containers_are_walked_once(write: Write) -> None:
    level: list[object] = [weight("0", 1)]
    for _ in range(50):
        level = [level, level, level]
    assert len(within(3, write(level)).tensors) == 1
    circle: dict[str, object] = {"w": weight("0", 1)}
    circle["self"] = circle
    circle["list"] = [circle]
    assert [tensor.name for tensor in within(3, write(circle)).tensors] == ["w"]


@LAYOUTS
def test_shared_states_and_arguments_are_walked_once(write: Write) -> None:
    # 3000 objects that share one state, arguments and items of 3000 entries.
    big = b"(" + b"".join(b"K\1M" + struct.pack("<H", n) for n in range(3000))
    calls = b"h\1h\2Rh\3bh\4h\5R" * 3000
    code = b"ca\nb\nq\1" + big + b"tq\2" + big + b"dq\3cx\nDict\nq\4" + big + b"l\x85q\5("
    checkpoint = within(5, write({"x": Raw(code + calls + b"t0000" + b"0" + b"N")}))
    assert checkpoint.tensors == ()
    kept = within(5, write({"x": Raw(code + calls + b"t")}))
    assert kept.tensors == ()


@LAYOUTS
def test_deep_nesting_is_reported(write: Write) -> None:
    deep = write({"a": weight("0", 1), "x": Raw(b"]" * 100_000 + b"a" * 99_999)})
    checkpoint = within(5, deep)
    assert len(checkpoint.tensors) == 1
    assert "too deeply" in checkpoint.problems[0].what


def test_deep_wrappers_are_reported() -> None:
    code = Encoder().encode(weight("0", 1))
    start = b"ctorch._utils\n_rebuild_parameter\n"
    data = torch_zip(Raw(start * 5000 + b"N" + b"\x85R" * 5000)) + b""
    assert "too deeply" in within(5, data).problems[0].what
    assert code


@LAYOUTS
def test_limits_are_kept(write: Write) -> None:
    shared = weight("0", 1)
    data = write([shared] * 50)
    assert len(read(data).tensors) == 50
    for limits in (Limits(tensors=49), Limits(header_bytes=50), Limits(rank=0)):
        with pytest.raises(LimitExceeded):
            read(data, limits)
    with pytest.raises(LimitExceeded):
        read(write({"n" * 40: {"m" * 40: weight("0", 1)}}), Limits(name_bytes=50))
    starved = read(data, Limits(json_nodes=30))
    assert starved.tensors == ()
    assert starved.problems


def test_problems_are_counted_not_piled_up() -> None:
    lost = Made("torch._utils._rebuild_tensor", (None, 0, (1,), (1,)))
    problems = read(torch_zip([lost] * 5000)).problems
    assert len(problems) == 101
    assert "4900 more" in problems[-1].what


def test_an_inflating_bomb_stops() -> None:
    bomb = zip_file([Member("m/data.pkl", b"N" + bytes(10_000_000), deflate=True)])
    assert len(bomb) < 20_000
    with pytest.raises(LimitExceeded):
        within(3, bomb, Limits(header_bytes=1_000_000))
    many = {f"x/{n}.pkl": b"N." + bytes(400_000) for n in range(5)}
    data = torch_zip(None, extra=many, compress=list(many))
    checkpoint = within(3, data, Limits(header_bytes=1_000_000))
    assert sum("more than" in item.what for item in checkpoint.problems) == 3


def test_thousands_of_pickles_in_a_row() -> None:
    checkpoint = within(10, b"N0N." * 3000)
    assert len(checkpoint.problems) == 2
    streams = pytorch.streams(BytesReader("m.bin", b"N0N." * 3000))
    assert len(streams) == 3000
    assert all(stream.complete for stream in streams)
    boxes = [Made("torch.storage._load_from_bytes", (b"N0N.",)) for _ in range(1500)]
    assert "more problems" in within(10, Encoder(4).pickle(boxes)).problems[-1].what
    assert within(10, b"N0N." * 3000, Limits(opcodes=4000)).problems


@LAYOUTS
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_truncation(write: Write, protocol: int) -> None:
    data = write({"model": {"a": weight("0", 3), "b": weight("1", 2)}}, protocol)
    for end in range(len(data)):
        try:
            checkpoint = read(data[:end])
        except CheckpointError:
            continue
        assert checkpoint.problems
        assert checkpoint.tensors == ()


@LAYOUTS
def test_every_flipped_byte(write: Write) -> None:
    data = write({"a": weight("0", 3), "b": [weight("1", 2)]})
    for place in range(len(data)):
        damaged = data[:place] + bytes((data[place] ^ 0x5A,)) + data[place + 1 :]
        try:
            checkpoint = read(damaged)
        except CheckpointError:
            continue
        for tensor in checkpoint.tensors:
            assert tensor.offset is None or 0 <= tensor.offset <= len(data) - tensor.nbytes
