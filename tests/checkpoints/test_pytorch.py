"""The PyTorch reader: both layouts as torch.save writes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest

from steelyard.checkpoints import pytorch
from steelyard.checkpoints.tensors import Checkpoint, PickleImport, ProblemKind, Tensor
from steelyard.errors import CheckpointError, Unsupported
from steelyard.sources.memory import BytesReader
from tests.checkpoints.torch_files import (
    ITEM_BYTES,
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

DTYPES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}


def read(data: bytes) -> Checkpoint:
    return pytorch.read(BytesReader("m.bin", data))


def by_name(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in checkpoint.tensors}


def stored(data: bytes, tensor: Tensor) -> bytes:
    assert tensor.offset is not None
    return data[tensor.offset : tensor.offset + tensor.nbytes]


@LAYOUTS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_type_and_protocol(write: Write, protocol: int) -> None:
    root = {kind: weight(str(n), 3, n + 1, kind=kind, fill=n) for n, kind in enumerate(DTYPES)}
    data = write(root, protocol)
    checkpoint = read(data)
    assert checkpoint.format == "pytorch"
    assert checkpoint.files == ("m.bin",)
    assert checkpoint.problems == ()
    assert checkpoint.metadata == {
        "layout": "zip" if write is torch_zip else "legacy",
        "pickle_protocol": protocol,
        "prefix": "",
    }
    assert [tensor.name for tensor in checkpoint.tensors] == sorted(root)
    for kind, tensor in by_name(checkpoint).items():
        assert tensor.dtype == DTYPES[kind]
        assert tensor.shape == root[kind].shape
        assert tensor.strides is None
        assert tensor.nbytes == tensor.elements * ITEM_BYTES[kind]
        assert tensor.byteorder == "little"
        assert stored(data, tensor) == root[kind].storage.data
    assert {item.name for item in checkpoint.imports} == {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        *(f"torch.{kind}" for kind in DTYPES),
    }
    called = {item.name for item in checkpoint.imports if item.called}
    assert called == {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2"}


@LAYOUTS
def test_views_of_one_storage(write: Write) -> None:
    base = Storage("0", "FloatStorage", bytes(range(96)))
    root = {
        "whole": Weight(base, (4, 6)),
        "tied": Weight(base, (4, 6)),
        "row": Weight(base, (6,), None, 12),
        "transposed": Weight(base, (6, 4), (1, 6)),
        "columns": Weight(base, (4, 2), (6, 1), 3),
        "expanded": Weight(base, (5, 3), (0, 1), 1),
        "scalar": Weight(base, (), (), 23),
        "empty": Weight(base, (0, 7), None, 24),
        "ones": Weight(base, (1, 6, 1), (99, 1, 42), 18),
    }
    data = write(root)
    found = by_name(read(data))
    assert stored(data, found["whole"]) == base.data
    assert found["tied"].offset == found["whole"].offset
    assert stored(data, found["row"]) == base.data[48:72]
    assert found["transposed"].strides == (1, 6)
    assert stored(data, found["transposed"]) == base.data
    assert found["columns"].strides == (6, 1)
    assert stored(data, found["columns"]) == base.data[12 : 12 + (3 * 6 + 1 + 1) * 4]
    assert found["expanded"].strides == (0, 1)
    assert stored(data, found["expanded"]) == base.data[4:16]
    assert (found["scalar"].shape, stored(data, found["scalar"])) == ((), base.data[92:])
    assert (found["empty"].nbytes, found["empty"].strides) == (0, None)
    assert found["ones"].strides is None


@LAYOUTS
def test_names_are_paths(write: Write) -> None:
    shared = {"w": weight("0", 2)}
    one = weight("1", 3)
    root = OrderedDict(
        model=OrderedDict({"a.b": one, "list": [weight("2", 1), (one,)], 7: weight("3", 1)}),
        again=shared,
        shared=shared,
        optimizer={"state": {0: {"exp_avg": weight("4", 1)}}, "lr": 0.1},
        p=Weight(one.storage, (3,), parameter=True),
        nothing=None,
    )
    found = by_name(read(write(root)))
    assert sorted(found) == [
        "again.w",
        "model.7",
        "model.a.b",
        "model.list.0",
        "model.list.1.0",
        "optimizer.state.0.exp_avg",
        "p",
    ]
    assert found["p"].offset == found["model.a.b"].offset == found["model.list.1.0"].offset


@LAYOUTS
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module"])
def test_a_lone_model_gives_its_prefix_away(write: Write, key: str) -> None:
    root = {key: {"a.weight": weight("0", 2)}, "epoch": 3, "args": {"lr": 0.1}}
    checkpoint = read(write(root))
    assert list(by_name(checkpoint)) == ["a.weight"]
    assert checkpoint.metadata["prefix"] == key


@LAYOUTS
@pytest.mark.parametrize(
    ("root", "names"),
    [
        ({"model": weight("0", 2)}, ["model"]),
        ({"net": {"a": weight("0", 2)}}, ["net.a"]),
        ({"model": {"a": weight("0", 2)}, "ema": [weight("1", 2)]}, ["ema.0", "model.a"]),
        ([{"a": weight("0", 2)}], ["0.a"]),
        (weight("0", 2), ["tensor"]),
        ({}, []),
    ],
)
def test_prefixes_stay_where_they_mean_something(
    write: Write, root: object, names: list[str]
) -> None:
    checkpoint = read(write(root))
    assert [tensor.name for tensor in checkpoint.tensors] == names
    assert checkpoint.metadata["prefix"] == ""
    assert checkpoint.problems == ()


@LAYOUTS
def test_a_whole_module_is_named_as_its_state_dict(write: Write) -> None:
    linear = Made(
        "torch.nn.modules.linear.Linear",
        (),
        {
            "training": True,
            "_parameters": OrderedDict(weight=weight("0", 2, 2), bias=weight("1", 2)),
            "_buffers": OrderedDict(),
            "_modules": OrderedDict(),
        },
    )
    root = Made("my.Net", (), {"_parameters": {}, "_modules": OrderedDict({"fc": linear})})
    checkpoint = read(write(root))
    assert [tensor.name for tensor in checkpoint.tensors] == ["fc.bias", "fc.weight"]
    assert ("my.Net", True) in {(item.name, item.called) for item in checkpoint.imports}


@LAYOUTS
def test_other_ways_to_rebuild_a_tensor(write: Write) -> None:
    base = Storage("0", "UntypedStorage", bytes(range(64)))
    floats = Storage("1", "FloatStorage", bytes(64))
    bytes_ = Storage("2", "QInt8Storage", bytes(6))
    nibbles = Storage("3", "QUInt4x2Storage", bytes(3))
    plain = weight("4", 2)
    dtype = Raw(b"ctorch\nfloat8_e4m3fn\n")
    wide = Raw(b"ctorch\nuint16\n")
    scheme = Raw(b"ctorch\nper_tensor_affine\n")
    v3 = "torch._utils._rebuild_tensor_v3"
    quantized = "torch._utils._rebuild_qtensor"
    size = Made("torch.Size", ([2, 3],))
    root = {
        "f8": Made(v3, (base, 4, (2, 3), (3, 1), False, None, dtype)),
        "u16": Made(v3, (base, 1, (2, 3), (3, 1), False, None, wide)),
        "v1": Made("torch._utils._rebuild_tensor", (floats, 2, size, (3, 1))),
        "q8": Made(quantized, (bytes_, 0, (2, 3), (3, 1), (scheme, 0.1, 3), False, None)),
        "q4": Made(quantized, (nibbles, 0, (2, 3), (3, 1), (scheme, plain, plain), False, None)),
        "typed": Made(
            "torch._tensor._rebuild_from_type_v2",
            (
                Raw(b"ctorch._utils\n_rebuild_tensor\n"),
                Raw(b"cmy\nTensor\n"),
                (floats, 0, (1,), (1,)),
                {"note": plain},
            ),
        ),
        "state": Made("torch._utils._rebuild_parameter_with_state", (plain, True, None, {"x": 1})),
        "bare": floats,
    }
    data = write(root)
    checkpoint = read(data)
    found = by_name(checkpoint)
    assert checkpoint.problems == ()
    assert (found["f8"].dtype, stored(data, found["f8"])) == ("F8_E4M3", base.data[4:10])
    assert (found["u16"].dtype, stored(data, found["u16"])) == ("U16", base.data[2:14])
    assert (found["v1"].shape, found["v1"].nbytes) == ((2, 3), 24)
    assert (found["q8"].dtype, found["q8"].encoding, found["q8"].nbytes) == ("F32", "qint8", 6)
    assert (found["q4"].encoding, found["q4"].shape, found["q4"].nbytes) == ("quint4x2", (2, 3), 3)
    assert found["q4.scale"].offset == found["q4.zero_point"].offset == found["state"].offset
    assert found["typed"].shape == (1,)
    assert found["typed.note"].shape == (2,)
    assert found["bare"].shape == (16,)


@LAYOUTS
def test_what_is_not_understood_is_said(write: Write) -> None:
    layout = Made("torch.serialization._get_layout", ("torch.sparse_coo",))
    sizes = ((2,), (1,))
    root = {
        "sparse": Made(
            "torch._utils._rebuild_sparse_tensor", (layout, (weight("0", 2), weight("1", 2), (9,)))
        ),
        "meta": Made(
            "torch._utils._rebuild_meta_tensor_no_storage",
            (Raw(b"ctorch\nfloat16\n"), (5, 6), (6, 1), False),
        ),
        "new": Made("torch._utils._rebuild_tensor_v3", (weight("2", 2).storage, 0, *sizes)),
        "future": Made("torch._utils._rebuild_something", (1,)),
        "lost": Made("torch._utils._rebuild_tensor", (None, 0, *sizes)),
    }
    checkpoint = read(write(root))
    found = by_name(checkpoint)
    assert sorted(found) == ["meta", "sparse.indices", "sparse.values"]
    meta = found["meta"]
    assert (meta.encoding, meta.shape, meta.offset, meta.nbytes) == ("meta", (5, 6), None, 0)
    notes = [item.what for item in checkpoint.problems if item.kind is ProblemKind.NOT_FULLY_READ]
    assert [what.split()[0] for what in notes] == ["sparse", "meta", "new", "future", "the"]


def test_old_views_of_storages() -> None:
    whole = Storage("0", "FloatStorage", bytes(range(64)))
    part = Storage("0", "FloatStorage", whole.data, view=("0-4", 4, 8))
    data = legacy_file([Weight(whole, (16,)), Weight(part, (2,), None, 1)])
    tensor = by_name(read(data))["1"]
    assert stored(data, tensor) == whole.data[20:28]


def test_byte_order_is_stated_in_zips_only() -> None:
    root = {"a": weight("0", 2)}
    assert read(torch_zip(root, byteorder=b"big")).tensors[0].byteorder == "big"
    assert read(torch_zip(root, byteorder=None)).tensors[0].byteorder == "little"
    odd = read(torch_zip(root, byteorder=b"middle"))
    assert odd.tensors[0].byteorder == "little"
    assert [item.kind for item in odd.problems] == [ProblemKind.ODD_METADATA]


def test_compressed_members_have_no_offset() -> None:
    inner = weight("1", 4)
    root = {"a": weight("0", 100), "b": inner, "c": Weight(inner.storage, (2,), None, 2)}
    checkpoint = read(torch_zip(root, compress=["data/0", "data/1", "data.pkl"]))
    found = by_name(checkpoint)
    assert sorted(found) == ["a", "b"]
    a = found["a"]
    assert (a.offset, a.member, a.nbytes, a.file) == (None, "archive/data/0", 400, "m.bin")
    assert ["compressed" in item.what for item in checkpoint.problems] == [True]
    assert {item.file for item in checkpoint.imports} == {"m.bin!archive/data.pkl"}


def test_torchscript() -> None:
    constant = weight("0", 2, fill=9)
    module = Made("__torch__.Net", (), {"w": weight("0", 3), "training": False})
    extra = {
        "code/__torch__.py": b"class Net: ...",
        "constants.pkl": Encoder().pickle((constant,)),
        "constants/0": constant.storage.data,
    }
    data = torch_zip(module, prefix="net", extra=extra)
    checkpoint = read(data)
    assert checkpoint.metadata["layout"] == "torchscript"
    found = by_name(checkpoint)
    assert sorted(found) == ["constants.0", "w"]
    assert stored(data, found["constants.0"]) == constant.storage.data
    assert "TorchScript" in checkpoint.problems[0].what


def test_storages_that_no_tensor_uses_are_reported() -> None:
    checkpoint = read(torch_zip({"a": weight("0", 2)}, extra={"data/9": b"hidden"}))
    assert [item.kind for item in checkpoint.problems] == [ProblemKind.UNUSED_BYTES]
    checkpoint = read(legacy_file({"a": weight("0", 2)}, after=b"hidden"))
    assert [item.kind for item in checkpoint.problems] == [ProblemKind.UNUSED_BYTES]


def test_tensors_in_a_plain_pickle() -> None:
    # What pickle.dump makes of tensors: each storage is a legacy file within the pickle.
    storage = Storage("0", "FloatStorage", bytes(range(24)))
    inner = legacy_file(storage)
    rebuilt = (Made("torch.storage._load_from_bytes", (inner,)), 2, (4,), (1,), False, None)
    root = {"x": Made("torch._utils._rebuild_tensor_v2", rebuilt)}
    data = Encoder(4).pickle(root)
    checkpoint = read(data)
    assert checkpoint.metadata["layout"] == "pickle"
    assert stored(data, by_name(checkpoint)["x"]) == storage.data[8:24]
    assert "torch.FloatStorage" in {item.name for item in checkpoint.imports}
    assert [item.what for item in checkpoint.problems] == [
        "this is a plain pickle, not a file that torch.save writes; only tensors are listed"
    ]


def test_names_that_clash_are_reported() -> None:
    checkpoint = read(torch_zip({"a.b": weight("0", 1), "a": {"b": weight("1", 1)}}))
    assert [tensor.name for tensor in checkpoint.tensors] == ["a.b", "a.b"]
    assert [item.kind for item in checkpoint.problems] == [ProblemKind.DUPLICATE_TENSOR]


def test_ten_thousand_tensors() -> None:
    data = torch_zip({f"layer.{n}.weight": weight(str(n), 2) for n in range(10_000)})
    assert len(read(data).tensors) == 10_000


def test_elements_are_never_read() -> None:
    class Counting(BytesReader):
        total = 0

        def read(self, offset: int, length: int) -> bytes:
            self.total += length
            return super().read(offset, length)

    root = {str(n): weight(str(n), 250_000) for n in range(4)}
    for data in (torch_zip(root), legacy_file(root)):
        reader = Counting("m.bin", data)
        assert len(pytorch.read(reader).tensors) == 4
        assert reader.total < 100_000 < len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        bytes(600),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        read(data)


def test_kinds_that_are_not_read() -> None:
    with pytest.raises(Unsupported, match="tar"):
        read(b"sys_info".ljust(257, b"\0") + b"ustar  \0" + bytes(300))
    with pytest.raises(Unsupported, match=r"data\.pkl"):
        read(zip_file([Member("model.json", b"{}")]))
    with pytest.raises(Unsupported, match=r"2 members named data\.pkl"):
        read(zip_file([Member(name, b"N.") for name in ("x", "a/data.pkl", "b/data.pkl")]))


def test_imports_have_their_place_in_the_file() -> None:
    for data in (torch_zip({"a": weight("0", 1)}), legacy_file({"a": weight("0", 1)})):
        item = next(i for i in read(data).imports if i.name == "torch.FloatStorage")
        assert data[item.offset :].startswith(b"ctorch\nFloatStorage\n")
        assert item == PickleImport("torch.FloatStorage", "m.bin", item.offset)
