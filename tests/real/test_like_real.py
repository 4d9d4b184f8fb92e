"""What real packages taught, on tiny files of the same kind: needs no registry."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest

from steelyard.analyzers import code, contents, integrity
from steelyard.facts import FactBook
from tests import models

SPACY = b"\x84\xa5nodes\x91\x84\xa5index\x00" + bytes(2000)
CTRANSLATE2 = b"\x06\0\0\0\x0c\0WhisperSpec\0\x03\0\0\0" + bytes(2000)
OWN_FORMAT = b"E5S1\x01\0\0\0" + bytes(2000)


def facts(folder: Path) -> FactBook:
    model = models.read(folder)
    return FactBook(
        fact
        for analyze in (code.analyze, contents.analyze, integrity.analyze)
        for fact in analyze(model)
    )


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("ner/model", SPACY, "ner/model: spaCy"),
        ("model.bin", CTRANSLATE2, "model.bin: CTranslate2"),
        ("flax_model.msgpack", b"\x81\xa1w\xc4\2ab", "flax_model.msgpack: MessagePack"),
        ("group1-shard1of2.bin", bytes(99), "group1-shard1of2.bin: TensorFlow.js"),
        ("group1-shard1of1.min.js", b"x", "group1-shard1of1.min.js: TensorFlow.js"),
    ],
)
def test_tensors_of_known_formats_are_unread_but_not_unexamined(
    path: str, data: bytes, said: str, tmp_path: Path
) -> None:
    book = facts(models.folder(tmp_path, files={path: data}))
    assert book.value("integrity.tensors.unread") == {said}
    assert not book.value("integrity.not_fully_read")
    assert book.value("code.unsafe") is False


def test_a_format_that_is_not_known_is_never_cleared(tmp_path: Path) -> None:
    book = facts(models.folder(tmp_path, files={"e5.bin": OWN_FORMAT}))
    said = "e5.bin: the format is not known (it starts with 45 35 53 31 01 00 00 00)"
    assert book.value("integrity.not_fully_read") == {said}
    assert book.value("code.unsafe") is None


def test_files_with_the_same_trouble_are_told_once(tmp_path: Path) -> None:
    shards = {f"group1-shard{n}of5.bin": bytes(99) for n in range(1, 6)}
    book = facts(models.write(tmp_path, shards))
    assert book.value("integrity.tensors.unread") == {
        "group1-shard1of5.bin and 4 more: TensorFlow.js"
    }


def test_without_weights_there_is_nothing_to_clear(tmp_path: Path) -> None:
    book = facts(models.write(tmp_path, {"README.md": b"# A wrapper\n"}))
    assert book.value("code.unsafe") is None


def torch_script(names: list[str]) -> bytes:
    """Write a TorchScript archive whose pickle names the classes that it carries."""
    opcodes = b"\x80\x02(" + b"".join(b"c" + name.encode() + b"\n" for name in names) + b"t."
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("m/data.pkl", opcodes)
        archive.writestr("m/code/__torch__.py", "class Net(Module):\n  pass\n")
        archive.writestr("m/constants.pkl", pickle.dumps((), protocol=2))
    return stream.getvalue()


def test_classes_of_a_torch_script_are_no_imports_and_clear_nothing(tmp_path: Path) -> None:
    script = torch_script(["__torch__.net\nNet", "torch.jit._pickle\nbuild_intlist"])
    book = facts(models.write(tmp_path, {"net.jit": script}))
    assert book.value("code.imports") == frozenset()
    assert book.value("code.unsafe") is None
    named = book.value("integrity.other_content")
    assert isinstance(named, frozenset)
    assert any("TorchScript" in what for what in named)


def test_what_a_torch_script_imports_besides_is_still_told(tmp_path: Path) -> None:
    script = torch_script(["__torch__.net\nNet", "os\nsystem"])
    book = facts(models.write(tmp_path, {"net.jit": script}))
    assert book.value("code.unsafe") is True
    assert book.value("code.imports") == {"os.system"}


def test_a_pickle_outside_of_a_torch_script_cannot_hide_so(tmp_path: Path) -> None:
    opcodes = b"\x80\x02c__torch__.net\nNet\n."
    book = facts(models.write(tmp_path, {"net.pkl": opcodes}))
    assert book.value("code.imports") == {"__torch__.net.Net"}


@pytest.mark.parametrize("name", ["MODEL_LICENSE", "GEMMA_TERMS.html", "model-terms.md"])
def test_license_texts_are_read_wherever_their_name_says_so(name: str, tmp_path: Path) -> None:
    assert name in models.read(models.folder(tmp_path, files={name: b"terms"})).texts
