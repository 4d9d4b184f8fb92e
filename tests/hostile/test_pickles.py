"""Pickles that would run a command, in every disguise: each is told, none is run or cleared."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from steelyard.analyzers.code.grades import grade
from steelyard.auditing import Options, audit
from steelyard.checkpoints.formats import Format, identify
from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.pickles import interpret
from steelyard.errors import CheckpointError
from steelyard.facts.book import FactBook
from steelyard.reports import terminal
from steelyard.rules import Severity, load_packs
from steelyard.sources import Network, open_source
from tests import models
from tests.checkpoints.torch_files import Encoder

OPTIONS = Options(network=Network(offline=True), packs=load_packs(), digest=False)
AS_OF = date(2026, 11, 23)
CANARY = Path("steelyard-canary")
COMMAND = f"touch {CANARY}"
GOOD = b"\x80\x02}."
MAGIC = b"".join(Encoder(2).pickle(item) for item in (0x1950A86A20F9469CFC6C, 1001, {"a": 1}))


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def short(words: str) -> bytes:
    return b"\x8c" + bytes((len(words),)) + words.encode()


RUN = text(COMMAND) + b"\x85R"
"""Call what lies on the stack with the command."""
QUOTED = f"(S'{COMMAND}'\n".encode()
PLAIN = b"\x80\x02cos\nsystem\n" + RUN + b"."

PROGRAMS = {
    "protocol 0": b"cos\nsystem\n" + QUOTED + b"tR.",
    "INST": QUOTED + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + QUOTED[1:] + b"o.",
    "REDUCE": PLAIN,
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + text(COMMAND) + b"\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n" + text(COMMAND) + b"\x85}\x92.",
    "STACK_GLOBAL": b"\x80\x04" + short("os") + short("system") + b"\x93" + RUN + b".",
    "by memo": b"\x80\x04" + short("system") + b"\x94" + short("os") + b"\x940h\1h\0\x93" + RUN
    + b".",
    "computed": b"\x80\x04c_codecs\ndecode\nC\2os\x85R" + short("system") + b"\x93" + RUN + b".",
    "escaped": b"\x80\x04S'\\x6fs'\nS'syst\\145m'\n\x93" + RUN + b".",
    "dotted": b"\x80\x04" + short("collections") + short("OrderedDict.__init__.__globals__")
    + b"\x93.",
    "frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 2**63) + PLAIN[2:],
    "protocol 5": b"\x80\5\x96" + struct.pack("<Q", 2) + b"ab0" + PLAIN[2:],
    "eval": b"\x80\x02cbuiltins\neval\n" + RUN + b".",
    "Python 2": b"c__builtin__\nexec\n" + QUOTED + b"tR.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\n" + text("os") + b"\x85R"
    + text("system") + b"\x86R" + RUN + b".",
    "extension": b"\x80\x02\x82\1" + RUN + b".",
    "wide extension": b"\x80\x02\x84\1\0\0\0" + RUN + b".",
    "BUILD": b"\x80\x02ccollections\nOrderedDict\n)R}" + text("__setstate__") + b"cos\nsystem\nsb"
    + text(COMMAND) + b"b.",
    "unknown": b"\x80\x02csome_module\nrun\n)R.",
    "imported only": b"\x80\x02cthis\ns\n.",
    "torch.load": b"\x80\x02ctorch\nload\n" + RUN + b".",
    "factory": b"\x80\x02ccollections\ndefaultdict\ncos\nsystem\n\x85R.",
    "on behalf": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN" + text(COMMAND)
    + b"\x85NtR.",
    "junk after STOP": b"\x80\x02N." + PLAIN[2:],
    "second stream": GOOD + PLAIN,
    "key of a dict": b"\x80\x02}(" + PLAIN[2:-1] + b"K\1u.",
    "thrown away": PLAIN[:-1] + b"0}.",
    "broken afterwards": PLAIN[:-1] + b"\xff\xff",
    "no STOP": PLAIN[:-1],
    "memo overwritten": b"\x80\x02ccollections\nOrderedDict\nq\0" + b"0cos\nsystem\nq\0"
    + b"0h\0" + RUN + b".",
    "behind long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 300_000) + bytes(300_000) + b"0"
    + PLAIN[2:],
    "within bytes": b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(PLAIN))
    + PLAIN + b"\x85R.",
    "unprintable": b"\x80\x04" + short("os\x1b[2J") + short("a\nb|`<c>") + b"\x93" + RUN + b".",
}  # fmt: skip


def zipped(data: bytes, name: str = "a/data.pkl", *, deflate: bool = False, **more: bytes) -> bytes:
    stream = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, data)
        for other, content in more.items():
            archive.writestr(f"a/{other.replace('_', '.')}", content)
    return stream.getvalue()


def objects(data: bytes) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def named(name: str) -> Callable[[bytes], tuple[str, bytes]]:
    return lambda data: (name, data)


LAYOUTS: dict[str, Callable[[bytes], tuple[str, bytes]]] = {
    "bare": lambda data: ("pytorch_model.bin", data),
    "zip": lambda data: ("pytorch_model.pt", zipped(data, version=b"3\n")),
    "deflated zip": lambda data: ("m.ckpt", zipped(data, deflate=True)),
    "second member": lambda data: ("m.bin", zipped(GOOD, extra_pkl=data)),
    "member in capitals": lambda data: ("m.bin", zipped(GOOD, DATA_PKL=data)),
    "constants": lambda data: ("m.pt", zipped(GOOD, constants_pkl=data)),
    "zip in a zip": lambda data: ("m.bin", zipped(zipped(data), "inner.bin")),
    "legacy": lambda data: ("m.bin", MAGIC + data + Encoder(2).pickle([])),
    "legacy, the keys": lambda data: ("m.bin", MAGIC + GOOD + data),
    "array of objects": lambda data: ("x.npy", objects(data)),
    "archive of objects": lambda data: ("x.npz", zipped(objects(data), "a.npy")),
    **{
        name: named(name)
        for name in (
            "model.safetensors", "model.gguf", "x.npy", "x.onnx", "x.h5", "x.joblib", "x.pkl",
            "ner/model", "pytorch_model", "weights.dat", "tokenizer.json", "notes.txt",
        )
    },
}  # fmt: skip
DISGUISES = [(layout, "REDUCE") for layout in LAYOUTS] + [
    (layout, program) for layout in ("bare", "zip", "legacy") for program in PROGRAMS
]


@pytest.fixture(autouse=True)
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where the command would leave its mark."""
    monkeypatch.chdir(tmp_path)


def beside_sound_weights(folder: Path, name: str, data: bytes) -> Path:
    header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    sound = struct.pack("<Q", len(header)) + header + b"1"
    (folder / "zz.safetensors").write_bytes(sound)
    return folder


@pytest.mark.parametrize(("layout", "program"), DISGUISES)
def test_no_disguise_helps(layout: str, program: str, tmp_path: Path) -> None:
    name, data = LAYOUTS[layout](PROGRAMS[program])
    folder = beside_sound_weights(tmp_path / "m", name, data)
    report = audit(folder, as_of=date(2026, 11, 23), options=OPTIONS)
    assert report.book.value("code.unsafe") is not False
    told = [
        finding
        for finding in report.failing
        if finding.at_least(Severity.WARNING) and finding.rule.startswith("INT")
    ]
    assert told
    drawn = terminal.render(report)
    assert "runs no code" not in drawn
    assert "only rebuilds" not in drawn
    assert "\x1b" not in drawn
    with suppress(CheckpointError):
        audit(folder / name, as_of=date(2026, 11, 23), options=OPTIONS)
    assert not CANARY.exists()
    assert not (tmp_path / CANARY).exists()


def test_a_file_that_may_be_two_formats_is_what_its_name_lets_be_loaded() -> None:
    # The length of a safetensors header that starts with `{` is a BINUNICODE of 25 characters too.
    data = b"X\x19\0\0\0\0\0\0" + b'{"__metadata__":{"a":"0cos\nsystem\n('
    assert identify(data, 1 << 20, "pytorch_model.bin") is Format.PICKLE
    assert identify(data, 1 << 20, "model.safetensors") is Format.SAFETENSORS


def test_a_name_of_a_thousand_parts_is_graded_at_once() -> None:
    assert grade("m." * 100_000 + "f") == "unknown"
    assert grade("os." * 100_000 + "system") == "dangerous"


def test_imports_are_bounded_and_what_comes_after_is_not_cleared() -> None:
    many = b"\x80\x02" + b"".join(b"cm%d\nf\n" % n for n in range(1000)) + b"."
    stream = interpret(many, "m.bin", limits=Limits(json_nodes=10_000))
    assert not stream.complete
    assert 50 < len(stream.imports) < 100
    assert stream.problems
    again = interpret(b"cos\nsystem\n" * 100 + b".", "m.bin")
    assert [(found.name, found.offset) for found in again.imports] == [("os.system", 0)]


def test_texts_cost_what_python_keeps_for_them() -> None:
    wide = "\U0001f600" + "a" * 1000
    code = b"\x80\x02" + (b"X" + struct.pack("<I", 1004) + wide.encode()) * 20 + b"."
    assert interpret(code, "m.bin", limits=Limits(json_nodes=400)).complete is False
    plain = b"\x80\x02" + (b"X" + struct.pack("<I", 1004) + b"a" * 1004) * 20 + b"."
    assert interpret(plain, "m.bin", limits=Limits(json_nodes=400)).complete


def test_all_files_of_a_model_share_one_budget(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.bin").write_bytes(b"\x80\x02" + b"N0" * 400 + b"}.")
    source = open_source(str(tmp_path), network=Network(offline=True))
    model = read_model(source, Limits(opcodes=1000))
    unread = {problem.file for problem in model.problems}
    unread |= {p.file for part in model.weights for p in part.problems if "further" in p.what}
    assert unread == {"1.bin", "2.bin", "3.bin"}


def test_many_imports_make_a_short_report(tmp_path: Path) -> None:
    code = b"\x80\x02" + b"".join(b"cm%d%s\nf\n" % (n, b"x" * 700) for n in range(2000)) + b"."
    (tmp_path / "m.bin").write_bytes(code)
    book: FactBook = audit(tmp_path, as_of=date(2026, 11, 23), options=OPTIONS).book
    names = book.value("code.imports")
    assert isinstance(names, frozenset)
    assert len(names) == 1001
    assert max(map(len, names)) <= 500


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true " + b"x" * 200 + b"'\ntR.",
        b"S'" + b"x" * 200 + b"'\n0cos\nsystem\n(S'true'\ntR.",
        b"V" + b"y" * 5000 + b"\n0" + b"cos\nsystem\n(S'true'\ntR.",
    ],
)
@pytest.mark.parametrize("name", ["a.bin", "a.pkl", "a.pt"])
def test_a_program_behind_a_long_text_is_found(tmp_path: Path, data: bytes, name: str) -> None:
    report = audit(models.folder(tmp_path, files={name: data}), as_of=AS_OF, options=OPTIONS)
    assert "INT001" in {finding.rule for finding in report.failing}


def test_numbers_that_are_no_pickle_are_named_as_unread(tmp_path: Path) -> None:
    data = np.random.default_rng(1).bytes(100_000)
    report = audit(models.folder(tmp_path, files={"a.bin": data}), as_of=AS_OF, options=OPTIONS)
    rules = {finding.rule for finding in report.failing}
    assert "INT010" in rules
    assert "INT001" not in rules
