"""Damaged riders of a model: remarks or a `CheckpointError` come out, and nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable

import pytest

from steelyard.analyzers.code import (
    archives,
    bundles,
    graphs,
    named,
    notebooks,
    polyglots,
    python,
    template_tree,
    tensorflow,
    tokenizers,
)
from steelyard.analyzers.code.secrets import search
from steelyard.checkpoints.hdf5 import root_texts
from steelyard.errors import CheckpointError
from steelyard.sources.memory import BytesReader
from tests.analyzers.code import test_containers as containers
from tests.analyzers.code import test_keras as keras
from tests.analyzers.code import test_templates as templates
from tests.analyzers.code import test_tokenizers as tokens
from tests.corpus.riders import notebook
from tests.corpus.wrappers import tarred, zipped
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations

SOURCE = b"""\
import os, base64
from . import other
f = os.system
class A:
    def g(self, x=getattr(os, "sys" + "tem")):
        exec(base64.b64decode(x)); open(x, "w")
@f
def h(): return [__import__("os").popen(y) for y in (lambda: 1)()]
if __name__ == "__main__":
    h()
"""


GRAPH = b"""\
node { name: "n" op: "Py" "Func" attr { key: "T" value { s: "\\101" } } }
library: [<function { signature { name: "f" } node_def: [{op: "X"}] }>] # x
"""


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(None, "w", file) as archive:
        for name in ("a", "../b", "c" * 200):
            archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()[:6000]


def _text(read: Callable[[str, str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"), "f")


def _polyglot(data: bytes) -> Iterable[object]:
    reader = BytesReader("f", data)
    return [*polyglots.examine(reader, data[:64], "safetensors"), *polyglots.at(reader, 1)]


def _bundle(data: bytes) -> object:
    wanted = bundles.Bundles(lambda name: 9 * name.endswith(".py"))
    return list(wanted.within(BytesReader("f", data)))


READERS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "python": (SOURCE, lambda data: python.examine(data, "f")),
    "notebook": (
        notebook("import os\n!ls\n%time os.system('true')", "%%bash\nls", "x = (1\n% 2)"),
        lambda data: notebooks.examine(data, "f"),
    ),
    "zip of Python": (
        zipped({"a.py": SOURCE, "b.tar": tarred({"c.py": SOURCE})}, zipfile.ZIP_DEFLATED),
        _bundle,
    ),
    "tar.gz of Python": (tarred({"a.py": SOURCE, "b.zip": zipped({"c.py": b""})}, "w:gz"), _bundle),
    "names": (
        b"a: !apply:os.system\n_target_: os.system # b\nc: !!python/name:x.y\ntarget: z",
        lambda data: list(named.in_yaml(data.decode("utf-8", "replace"), nemo=True)),
    ),
    "template": (templates.PLAIN.encode(), _text(template_tree.examine)),
    "tokenizer": (
        tokens.tokenizer(
            normalizer=tokens.replace("a", "b"), added_tokens=[tokens.token("[CLS]", 1)]
        ),
        lambda data: tokenizers.examine(data, "f"),
    ),
    "hdf5": (
        keras.h5(keras.model(keras.BAD[0])),
        lambda data: root_texts(BytesReader("f", data), ["model_config"]),
    ),
    "saved_model": (
        containers.saved_model("ReadFile", inside="PyFunc"),
        lambda data: tensorflow.examine(BytesReader("saved_model.pb", data)),
    ),
    "graph as text": (
        GRAPH,
        lambda data: tensorflow.examine_text(BytesReader("f.pbtxt", data)),
    ),
    "keras_metadata": (
        keras.saved_metadata(keras.BAD[1]),
        lambda data: graphs.keras_metadata(BytesReader("f", data)),
    ),
    "torchscript": (
        containers.script("x = ops.image.read_file('/x')"),
        lambda data: graphs.torchscript(BytesReader("f", data)),
    ),
    "tar": (_tar(), lambda data: list(archives.tar_escapes(BytesReader("f", data), data[:512]))),
    "tar.gz": (
        containers.tarred("w:gz", ("../b", ""), ("a", "")),
        lambda data: list(archives.tar_escapes(BytesReader("f", data), data[:512])),
    ),
    "zip": (
        containers.zipped("a", "../b"),
        lambda data: list(archives.zip_escapes(BytesReader("f", data))),
    ),
    "polyglot": (containers.TENSORS + containers.zipped("a"), _polyglot),
    "secrets": (
        json.dumps(keras.model()).encode(),
        lambda data: list(search(data.decode("latin1"))),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str) -> None:
    valid, read = READERS[name]
    read(valid)
    for damaged in mutations(valid, seed=20261126, count=fuzz_count(150)):
        with contextlib.suppress(CheckpointError):
            read(damaged)
