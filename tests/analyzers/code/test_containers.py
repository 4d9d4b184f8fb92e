"""Graphs, polyglots and archives, told by their bytes."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.numpy import save

from steelyard.analyzers.code import containers, tensorflow
from steelyard.analyzers.code.archives import leads_out, zip_names
from steelyard.errors import CheckpointError
from steelyard.facts import FactBook
from steelyard.sources.memory import BytesReader
from tests import models
from tests.analyzers.code.test_keras import varint
from tests.analyzers.facts_of import facts_of
from tests.checkpoints.gguf_files import gguf_bytes
from tests.checkpoints.torch_files import OS_SYSTEM, Member, torch_zip, weight, zip_file


def book_of(path: Path, files: Mapping[str, bytes]) -> FactBook:
    return facts_of(containers.analyze, models.read(models.folder(path, files=files)))


def texts(book: FactBook, name: str) -> frozenset[str]:
    value = book.value(name)
    assert isinstance(value, frozenset)
    return value


def part(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(operator: str, name: str = "n", stream: str = "") -> bytes:
    attribute = part(1, b"output_stream") + part(2, part(2, stream.encode()))
    return (
        part(1, name.encode())
        + part(2, operator.encode())
        + (part(5, attribute) if stream else b"")
    )


def graph(*operators: str, inside: str = "") -> bytes:
    nodes = b"".join(part(1, node(name)) for name in ("Placeholder", "SaveV2", *operators))
    function = part(1, part(1, b"__inference")) + part(3, node(inside))
    return nodes + (part(2, part(1, function)) if inside else b"")


def saved_model(*operators: str, inside: str = "") -> bytes:
    return b"\x08\x01" + part(2, part(1, b"") + part(2, graph(*operators, inside=inside)))


APE = b"MZqFpD='\n" + bytes(600)
WINDOWS = b"MZ" + bytes(58) + (128).to_bytes(4, "little") + bytes(64) + b"PE\0\0" + bytes(400)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("kernel.so", b"x", "a library of native code"),
        ("a.pyc", b"x", "bytecode of Python"),
        ("run", b"\x7fELF" + bytes(60), "a program for Linux (ELF)"),
        ("model.llamafile", APE, "a program for many systems (APE), such as a llamafile"),
        ("model.txt", WINDOWS, "a program for Windows (PE)"),
        ("x.dat", b"\0asm\1\0\0\0", "a program of WebAssembly"),
    ],
)
def test_compiled_code_is_named(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    book = book_of(tmp_path, {"modeling.py": b"", name: data})
    assert book.value("code.compiled") == {f"{name}: {kind}"}


@pytest.mark.parametrize("data", [b"MZ", b"MZ is no program" * 40, b"asm" * 99, b"\x7fEL"])
def test_other_files_are_no_programs(tmp_path: Path, data: bytes) -> None:
    assert not book_of(tmp_path, {"vocab.txt": data, "empty.bin": b""}).value("code.compiled")


class TestTensorFlow:
    def test_a_field_that_is_not_known_hides_nothing(self, tmp_path: Path) -> None:
        data = part(15, b"x") + saved_model("WriteFile")
        assert texts(book_of(tmp_path, {"saved_model.pb": data}), "code.graph.runs")

    @pytest.mark.parametrize(
        ("operator", "fact"),
        [
            ("WriteFile", "code.graph.runs"),
            ("PyFunc", "code.graph.runs"),
            ("EagerPyFunc", "code.graph.runs"),
            ("ReadFile", "code.graph.reads"),
            ("MatchingFiles", "code.graph.reads"),
        ],
    )
    def test_operators_of_note(self, tmp_path: Path, operator: str, fact: str) -> None:
        for number, (name, data) in enumerate(
            [
                ("saved_model.pb", saved_model(operator)),
                ("saved_model.pb", saved_model(inside=operator)),
                ("frozen.pb", graph(operator)),
            ]
        ):
            (said,) = texts(book_of(tmp_path / str(number), {name: data}), fact)
            assert said.startswith(f"{name}: the node 'n'")
            assert operator in said

    def test_printing_to_a_file(self, tmp_path: Path) -> None:
        for number, (stream, count) in enumerate([("file:///tmp/x", 1), ("stderr", 0)]):
            data = part(1, node("PrintV2", stream=stream))
            book = book_of(tmp_path / str(number), {"frozen.pb": data})
            assert len(texts(book, "code.graph.runs")) == count

    def test_an_ordinary_graph_is_silent(self, tmp_path: Path) -> None:
        book = book_of(tmp_path, {"saved_model.pb": saved_model("MatMul", inside="Relu")})
        assert not any(fact.value for fact in book)

    def test_a_damaged_graph_is_not_cleared(self, tmp_path: Path) -> None:
        book = book_of(tmp_path, {"saved_model.pb": saved_model("MatMul")[:-3]})
        assert texts(book, "code.graph.unread")

    def test_operators_that_tensorflow_does_not_define(self, tmp_path: Path) -> None:
        library = part(1, part(1, part(1, b"f")) + part(3, node("Addons>Own")))
        data = graph("MyOp", "MyOp", "_FusedConv2D", "f") + part(2, library)
        assert texts(book_of(tmp_path, {"frozen.pb": data}), "code.graph.custom") == {
            "frozen.pb: the node 'n' (MyOp) needs native code of its own",
            "frozen.pb: the node 'n' of the function 'f' (Addons>Own) needs native code of its own",
        }

    @pytest.mark.parametrize(
        ("text", "fact"),
        [
            ('node { name: "n" op: "WriteFile" }', "code.graph.runs"),
            ('node < name: "n", op: "Py" \'Func\'; >', "code.graph.runs"),
            ('meta_graphs { graph_def { node { op: "Read\\106ile" } } }', "code.graph.reads"),
            ('node: [ { op: "Add" }, { op: "ReadFile" } ]', "code.graph.reads"),
            ('library { function { node_def { op: "PyFunc" } } }', "code.graph.runs"),
            (
                'node { op: "PrintV2" attr { key: "output_stream" value { s: "file:///x" } } }',
                "code.graph.runs",
            ),
            ('node { op: "PrintV2" attr { key: "T" value { s: "file:///x" } } }', ""),
            ('node { op: "MyOp" }', "code.graph.custom"),
            ('node { op: "f" } library { function { signature { name: "f" } } }', ""),
            ("saved_model_schema_version: 1", ""),
            ('name: "x" # a comment: node { op: "PyFunc" }', ""),
            ("{", "code.graph.unread"),
            ("node {", "code.graph.unread"),
            ("a { " * 100, "code.graph.unread"),
        ],
    )
    def test_graphs_as_text(self, tmp_path: Path, text: str, fact: str) -> None:
        book = book_of(tmp_path, {"saved_model.pbtxt": text.encode()})
        kinds = ("runs", "reads", "custom", "unread")
        told = {name for kind in kinds if texts(book, name := f"code.graph.{kind}")}
        assert told == {fact} - {""}

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_refused(self, data: bytes) -> None:
        for name in ("saved_model.pb", "x.pb"):
            with contextlib.suppress(CheckpointError):
                tensorflow.examine(BytesReader(name, b"\x0a" + data))


class TestOnnx:
    @pytest.mark.parametrize(
        ("domain", "operator", "fact"),
        [
            ("com.microsoft", "PythonOp", "code.graph.runs"),
            ("ai.onnx.contrib", "PyOp", "code.graph.runs"),
            ("my.domain", "Fuse", "code.graph.custom"),
            ("com.microsoft", "Attention", ""),
            ("", "Relu", ""),
        ],
    )
    def test_domains(self, tmp_path: Path, domain: str, operator: str, fact: str) -> None:
        made = helper.make_model(
            helper.make_graph(
                [helper.make_node(operator, ["x"], ["y"], domain=domain)],
                "g",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
                [onnx.numpy_helper.from_array(np.zeros(1, np.float32), "w")],
            )
        )
        book = book_of(tmp_path, {"model.onnx": made.SerializeToString()})
        assert {name for name in ("code.graph.runs", "code.graph.custom") if book.value(name)} == (
            {fact} - {""}
        )


def script(code: str) -> bytes:
    data = io.BytesIO(torch_zip({"a": weight("0", 2, 3)}))
    with zipfile.ZipFile(data, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/code/__torch__/net.py", code)
        archive.writestr(f"{root}/constants.pkl", b"\x80\x02).")
    return data.getvalue()


class TestTorchScript:
    @pytest.mark.parametrize(
        ("code", "fact"),
        [
            ("x = ops.image.read_file('/etc/passwd')", "code.graph.reads"),
            ("torch.save(x, 'y')", "code.graph.reads"),
            ("y = ops.mine.run(x)", "code.graph.custom"),
            ("y = torch.add(x, 1)\nz = ops.prim.NumToTensor(y)", ""),
        ],
    )
    def test_calls_that_leave_pytorch(self, tmp_path: Path, code: str, fact: str) -> None:
        book = book_of(tmp_path, {"net.pt": script(code)})
        names = ("code.graph.reads", "code.graph.custom", "code.graph.unread")
        assert {name for name in names if book.value(name)} == {fact} - {""}


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


PICKLE = b"\x80\x04" + OS_SYSTEM + b"."
TENSORS = save({"a": np.zeros(4, np.float32)})
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 30 + b"\0\0\0\0IEND\xaeB`\x82"


# A zip whose first end says that a second one, for large archives, says it.
LARGE = zip_file([Member("../a", b"x")], zip64=True)[:-22] + struct.pack(
    "<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0
)


class TestPolyglots:
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("x.safetensors", TENSORS + zipped("a")),
            ("x.safetensors", TENSORS + PICKLE),
            ("x.safetensors", TENSORS + b"\x7fELF" + b"\0" * 60),
            ("x.gguf", gguf_bytes({"a": "b"}) + zipped("a")),
            ("x.png", PNG + zipped("a")),
            ("x.png", PNG + PICKLE),
            ("x.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 50 + zipped("a")),
            ("x.pkl", PICKLE + zipped("a")),
            ("x.png", PNG + LARGE),
        ],
    )
    def test_two_formats_at_once(self, tmp_path: Path, name: str, data: bytes) -> None:
        book = book_of(tmp_path, {name: data})
        assert any(said.startswith(name) for said in texts(book, "code.polyglots"))

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("x.safetensors", TENSORS),
            ("x.zip", zipped("a")),
            ("x.png", PNG),
            ("x.pkl", PICKLE),
            ("x.pt", torch_zip({"a": weight("0", 2, 3)})),
            ("x.txt", b"PK\5\6 is how a zip ends" + b"\0" * 30),
            ("x.jpg", b"\xff\xd8\xff PK\5\6" + b"\0" * 30),
        ],
    )
    def test_one_format(self, tmp_path: Path, name: str, data: bytes) -> None:
        assert texts(book_of(tmp_path, {name: data}), "code.polyglots") == frozenset()


@pytest.mark.parametrize("before", [b"", PNG])
def test_names_in_a_large_zip_are_seen(tmp_path: Path, before: bytes) -> None:
    reader = BytesReader("x", before + LARGE)
    with zipfile.ZipFile(io.BytesIO(before + LARGE)) as archive:
        assert zip_names(reader) == archive.namelist() == ["../a"]


def tarred(mode: Literal["w", "w:gz"], *members: tuple[str, str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(None, "w", file) as archive:
        for name, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (
                (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
            )
            archive.addfile(info)
    data = file.getvalue()
    return data if mode == "w" else gzip.compress(data, mtime=0)


class TestArchives:
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("x.zip", zipped("a", "../../b")),
            ("x.zip", zipped("/etc/b")),
            ("x.zip", zipped("..\\b")),
            ("x.zip", torch_zip({}, extra={"../../b": b"x"})),
            ("x.tar", tarred("w", ("a", ""), ("../b", ""))),
            ("x.tar.gz", tarred("w:gz", ("../b", ""))),
            ("x.tar", tarred("w", ("a/b", "../../c"))),
            ("x.tar", tarred("w", ("d/" * 60 + "../" * 70 + "b", ""))),
        ],
    )
    def test_members_that_lead_out(self, tmp_path: Path, name: str, data: bytes) -> None:
        assert len(texts(book_of(tmp_path, {name: data}), "code.archives.escaping")) == 1

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("x.zip", zipped("a", "b/../c", "..d")),
            ("x.tar", tarred("w", ("a/b", "../c"), ("d" * 150, ""))),
            ("x.tar.gz", tarred("w:gz", ("a", ""))[:-8]),
            ("x.gz", b"\x1f\x8bnonsense"),
        ],
    )
    def test_members_that_stay(self, tmp_path: Path, name: str, data: bytes) -> None:
        assert texts(book_of(tmp_path, {name: data}), "code.archives.escaping") == frozenset()

    @given(st.lists(st.sampled_from(["..", ".", "a", ""]), max_size=8))
    def test_a_name_leads_out_if_some_beginning_of_it_does(self, parts: list[str]) -> None:
        depths = [0]
        for item in parts:
            depths.append(depths[-1] + (-1 if item == ".." else 1 if item == "a" else 0))
        name = "/".join(parts)
        assert leads_out(name) == (min(depths) < 0 or name.startswith("/"))


def test_names_with_characters_that_nobody_sees(tmp_path: Path) -> None:
    files = {
        "a.gguf": gguf_bytes({"general.na\u200bme": "x", "b\nc": "y", "d": "\u200b"}),
        "b.safetensors": save({"w\u202e": np.zeros(1, np.float32), "v": np.zeros(1, np.float32)}),
    }
    book = facts_of(containers.analyze, models.read(models.write(tmp_path, files)))
    said = {text.partition(" holds")[0] for text in texts(book, "code.names.hidden")}
    assert said == {
        "a.gguf: the metadata key 'general.name'",
        "a.gguf: the metadata key 'b c'",
        "b.safetensors: the tensor name 'w'",
    }
