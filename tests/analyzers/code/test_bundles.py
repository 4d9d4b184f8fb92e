"""Python within archives: where it is found, what is loaded, and what is left out."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from steelyard.analyzers.code import bundles, scripts
from steelyard.facts import FactBook
from steelyard.sources.memory import BytesReader
from tests import models
from tests.analyzers.code.test_notebooks import notebook
from tests.analyzers.facts_of import facts_of
from tests.checkpoints.torch_files import torch_zip, weight
from tests.corpus.wrappers import tarred, zipped

BAD = b"import os\nos.system('true')\n"
HIDDEN = b"import base64\nexec(base64.b64decode('eA=='))"
MAR = "MAR-INF/MANIFEST.json"


def book_of(path: Path, files: Mapping[str, bytes]) -> FactBook:
    return facts_of(scripts.analyze, models.read(models.folder(path, files=files)))


def texts(book: FactBook, name: str) -> frozenset[str]:
    value = book.value(name)
    assert isinstance(value, frozenset)
    return value


def long_tar(members: Mapping[str, bytes], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


LONG = "deep/" * 40 + "a.py"
PLACES = {
    "a.zip": (zipped({"b/a.py": BAD}), "a.zip!b/a.py"),
    "deflated.zip": (zipped({"a.py": BAD}, zipfile.ZIP_DEFLATED), "deflated.zip!a.py"),
    "model.whl": (zipped({"a.py": BAD}), "model.whl!a.py"),
    "a.tar": (tarred({"x": bytes(9000), "a.py": BAD}), "a.tar!a.py"),
    "a.tar.gz": (tarred({"x": bytes(900_000), "a.py": BAD}, "w:gz"), "a.tar.gz!a.py"),
    "a.tar.bz2": (bz2.compress(tarred({"a.py": BAD})), "a.tar.bz2!a.py"),
    "a.tar.xz": (lzma.compress(tarred({"a.py": BAD})), "a.tar.xz!a.py"),
    "no suffix": (zipped({"a.py": BAD}), "no suffix!a.py"),
    "nested.zip": (zipped({"b.tgz": tarred({"a.py": BAD}, "w:gz")}), "nested.zip!b.tgz!a.py"),
    "nested2.zip": (
        zipped({"b.zip": zipped({"a.py": BAD})}, zipfile.ZIP_DEFLATED),
        "nested2.zip!b.zip!a.py",
    ),
    "zip.tgz": (tarred({"b": zipped({"a.py": BAD}), "c": b"x"}, "w:gz"), "zip.tgz!b!a.py"),
    "gnu.tar": (long_tar({LONG: BAD}, tarfile.GNU_FORMAT), f"gnu.tar!{LONG}"),
    "pax.tar": (long_tar({LONG: BAD}, tarfile.PAX_FORMAT), f"pax.tar!{LONG}"),
    "damaged.zip": (zipped({"a.py": BAD})[:-3], "damaged.zip!a.py"),
    "m.pt": (torch_zip({"a": weight("0", 2, 3)}, extra={"a.py": BAD}), "m.pt!archive/a.py"),
}


@pytest.mark.parametrize("name", PLACES)
def test_python_in_archives(tmp_path: Path, name: str) -> None:
    data, place = PLACES[name]
    book = book_of(tmp_path, {name: data})
    assert texts(book, "code.scripts.other") == {
        f"{place}:2 os.system starts a program, when it is imported"
    }
    assert texts(book, "code.scripts.runs") == frozenset()
    assert texts(book, "code.scripts.unread") == frozenset()
    fact = book.resolve("code.scripts.other")
    assert fact is not None
    assert (fact.evidence[0].file, fact.evidence[0].line) == (name, None)


def test_hidden_code_is_an_error_in_an_archive_too(tmp_path: Path) -> None:
    files = {"a.zip": zipped({"a.py": HIDDEN, "b.ipynb": notebook(HIDDEN.decode())})}
    assert len(texts(book_of(tmp_path, files), "code.scripts.runs")) == 2


@pytest.mark.parametrize("handler", ["handler.py", "handler", "handler:run"])
def test_what_torchserve_imports(tmp_path: Path, handler: str) -> None:
    manifest = json.dumps({"model": {"handler": handler}}).encode()
    members = {MAR: manifest, "handler.py": b"import net\n", "net.py": BAD, "other.py": BAD}
    book = book_of(tmp_path, {"m.mar": zipped(members)})
    assert texts(book, "code.scripts.loaded") == {"m.mar!handler.py", "m.mar!net.py"}
    assert len(texts(book, "code.scripts.runs")) == 1
    assert len(texts(book, "code.scripts.other")) == 1


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b'{"model": 3}', b'{"model": {"handler": 3}}', b'{"model": {}}']
)
def test_a_manifest_that_names_nothing(tmp_path: Path, manifest: bytes) -> None:
    book = book_of(tmp_path, {"m.mar": zipped({MAR: manifest, "a.py": BAD})})
    assert texts(book, "code.scripts.loaded") == frozenset()


def test_a_package_of_torch_is_loaded_as_it_is(tmp_path: Path) -> None:
    members = {"p/.data/extern_modules": b"", "p/own/net.py": BAD, "q/x.py": b""}
    book = book_of(tmp_path, {"m.zip": zipped(members)})
    assert len(texts(book, "code.scripts.runs")) == 1
    assert texts(book, "code.scripts.loaded") == {"m.zip!p/own/net.py"}


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    deep = zipped({"a.py": BAD})
    for _ in range(14):
        deep = zipped({"a.zip": deep})
    files = {
        "a.zip": zipped({"big.py": b"#" * 1_000_001, "no.py": b"def f(:"}),
        "b.zip": zipped({"big.py": b"#" * 1_000_001}, zipfile.ZIP_DEFLATED),
        "c.zip": zipped({"odd.py": BAD}, zipfile.ZIP_BZIP2),
        "d.zip": deep,
        "e.tar.xz": lzma.compress(tarred({"x": bytes(70_000_000), "a.py": BAD})),
    }
    unread = {
        text.partition(" ")[0] for text in texts(book_of(tmp_path, files), "code.scripts.unread")
    }
    assert {"a.zip!big.py", "a.zip!no.py", "b.zip!big.py", "c.zip!odd.py"} < unread
    assert any(name.startswith("d.zip!a.zip") for name in unread)


def test_an_archive_of_other_things_is_silent(tmp_path: Path) -> None:
    files = {
        "a.zip": zipped({"a.csv": b"1,2", "b/": b""}),
        "b.tgz": tarred({"a.csv": b"1"}, "w:gz"),
        "c.gz": gzip.compress(b"hello"),
        "d.gz": b"\x1f\x8b\x08nonsense",
        "e.zip": b"PK\3\4",
    }
    assert not any(fact.value for fact in book_of(tmp_path, files))


def test_no_more_members_are_looked_at_than_allowed() -> None:
    data = zipped({f"{n}.py": b"" for n in range(9)})
    found = list(bundles.Bundles(lambda _: 9, members=5).within(BytesReader("a.zip", data)))
    assert len(found) == 6
    assert found[-1].unread.startswith("comes after the first")


def test_damaged_archives_in_one_another_stop_at_a_limit() -> None:
    data = b"".join(zipped({f"{n}": b""})[:31] for n in range(200))
    found = list(bundles.Bundles(lambda _: 0, loose=100_000).within(BytesReader("a.zip", data)))
    assert any("damaged archives" in rider.unread for rider in found)


def test_pictures_and_weights_in_an_archive_are_not_counted() -> None:
    data = zipped({f"{n}.png": b"PK" for n in range(9)} | {"m.pt": b"PK\3\4", "a.py": b"1"})
    bundle = bundles.Bundles(lambda name: 9 * name.endswith(".py"), members=1)
    found = list(bundle.within(BytesReader("a.zip", data)))
    assert [rider.data for rider in found] == [b"1"]
