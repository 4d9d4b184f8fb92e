"""Everything that a pickle can be put into: archives, compression, arrays, strings."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping

import lz4.frame
import msgpack
import zstandard

from tests.checkpoints import tar_files
from tests.checkpoints.torch_files import Encoder
from tests.corpus.opcodes import named, octets, program, short, text

Wrapper = Callable[[bytes], bytes]

SOUND = program(b"}")
_LEGACY_START = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})


def zipped(
    members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    """Write a zip that is in order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.comment = comment
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def torch_zip(data: bytes) -> bytes:
    """The layout of PyTorch since 1.6, around a pickle."""
    return zipped({"m/data.pkl": data, "m/byteorder": b"little", "m/version": b"3\n"})


def legacy(data: bytes) -> bytes:
    """The layout of PyTorch before 1.6, around a pickle."""
    start = b"".join(Encoder(2).pickle(item) for item in _LEGACY_START)
    return start + data + Encoder(2).pickle([])


def patched(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """Write over a field of the first header that begins with `mark`."""
    at = data.index(mark) + offset
    return data[:at] + value + data[at + len(value) :]


def objects(data: bytes, descr: bytes = b"'|O'") -> bytes:
    """An array of Python objects: a header, and a pickle."""
    header = b"{'descr': %b, 'fortran_order': False, 'shape': (1,), }" % descr
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def tarred(members: Mapping[str, bytes], mode: str = "w:") -> bytes:
    """Write a tar, perhaps compressed."""
    stream = io.BytesIO()
    # The mode is a literal of the stub's; it is one of those here.
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def joblib_array(
    code: str, shape: tuple[int, ...], elements: bytes, *, aligned: bool = True
) -> bytes:
    """The opcodes with which joblib writes an array, and the array amid them."""
    dtype = named("numpy.dtype") + text(code) + b"\x89\x88\x87R"
    dtype += b"(K\3" + text("|" if code.startswith("O") else "<") + b"NNNJ\xff\xff\xff\xffJ\xff"
    dtype += b"\xff\xff\xffK\0tb"
    sizes = b"(" + b"".join(b"M" + struct.pack("<H", size) for size in shape) + b"t"
    state = text("subclass") + named("numpy.ndarray") + text("shape") + sizes
    state += text("order") + text("C") + text("dtype") + dtype + text("allow_mmap") + b"\x88"
    state += text("numpy_array_alignment_bytes") + (b"K\x10" if aligned else b"N")
    padding = b"\3\xff\xff\xff" if aligned and not code.startswith("O") else b""
    wrapper = named("joblib.numpy_pickle.NumpyArrayWrapper")
    return wrapper + b")\x81}(" + state + b"ub" + padding + elements


def in_bytes(data: bytes) -> bytes:
    return program(b"}" + text("blob") + octets(data) + b"s", 4)


def in_latin1(data: bytes) -> bytes:
    return program(
        named("_codecs.encode") + text(data.decode("latin-1")) + text("latin1") + b"\x86R"
    )


def in_base64(data: bytes) -> bytes:
    return program(b"]" + text(base64.b64encode(data).decode()) + b"a", 4)


def in_url_base64(data: bytes) -> bytes:
    return program(b"]" + text(base64.urlsafe_b64encode(data).decode()) + b"a", 4)


def in_lines(data: bytes) -> bytes:
    """Base64 as MIME writes it, and longer than what is kept of a text."""
    padded = data + bytes(6000)
    return program(text(base64.encodebytes(padded).decode()))


def nested(data: bytes, depth: int, wrap: Wrapper) -> bytes:
    for _ in range(depth):
        data = wrap(data)
    return data


def _far_memo(data: bytes) -> bytes:
    return program(short("x") + b"r\xff\xff\xff\x7f0" + data[2:-1])


def zip_with(data: bytes, **fields: tuple[bytes, int, bytes]) -> bytes:
    whole = torch_zip(data)
    for mark, offset, value in fields.values():
        whole = patched(whole, mark, offset, value)
    return whole


_LOCAL, _CENTRAL, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def _one(data: bytes, kind: bytes = b"0") -> bytes:
    """Write a tar of one member."""
    head = tar_files.header("weights", len(data), kind)
    return head + tar_files.padded(data) + tar_files.END


def spacy(inner: bytes) -> bytes:
    """Write a component of spaCy that keeps a model of PyTorch's (a "shim") as bytes."""
    model: dict[str, object] = {"nodes": [{"name": "x"}], "attrs": [{}], "params": [{}]}
    return bytes(msgpack.packb({**model, "shims": [[inner]]}))


TRICKS: Mapping[str, tuple[str, Wrapper]] = {
    "zip stored": ("m.pt", torch_zip),
    "zip deflated": ("m.pt", lambda d: zipped({"m/data.pkl": d}, zipfile.ZIP_DEFLATED)),
    "zip bzip2": ("m.pt", lambda d: zipped({"m/data.pkl": d}, zipfile.ZIP_BZIP2)),
    "zip second member": ("m.pt", lambda d: zipped({"m/data.pkl": SOUND, "m/more.pkl": d})),
    "zip member of any name": ("m.pt", lambda d: zipped({"m/data.pkl": SOUND, "m/notes.txt": d})),
    "zip storage": ("m.pt", lambda d: zipped({"m/data.pkl": SOUND, "m/data/0": d})),
    "zip without data.pkl": ("m.zip", lambda d: zipped({"weights": d})),
    "zip in a zip": ("m.pt", lambda d: zipped({"inner.bin": torch_zip(d)})),
    "zip three deep": ("m.zip", lambda d: nested(d, 3, torch_zip)),
    "zip encrypted flag": ("m.pt", lambda d: zip_with(d, a=(_CENTRAL, 8, b"\1\0"))),
    "zip encrypted flags": (
        "m.pt",
        lambda d: zip_with(d, a=(_CENTRAL, 8, b"\1\0"), b=(_LOCAL, 6, b"\1\0")),
    ),
    "zip wrong CRC": (
        "m.pt",
        lambda d: zip_with(d, a=(_CENTRAL, 16, b"\1\2\3\4"), b=(_LOCAL, 14, b"\1\2\3\4")),
    ),
    "zip CRC in one header": ("m.pt", lambda d: zip_with(d, a=(_CENTRAL, 16, b"\1\2\3\4"))),
    "zip two names": ("m.pt", lambda d: zip_with(d, a=(_CENTRAL, 46, b"m/data.txt"))),
    "zip two methods": ("m.pt", lambda d: zip_with(d, a=(_CENTRAL, 10, b"\x08\0"))),
    "zip two sizes": ("m.pt", lambda d: zip_with(d, a=(_CENTRAL, 24, b"\1\0\0\0"))),
    "zip odd method": ("m.pt", lambda d: zip_with(d, a=(_CENTRAL, 10, b"\x63\0"))),
    "zip without a directory": ("m.pt", lambda d: torch_zip(d).partition(_CENTRAL)[0]),
    "zip cut short": ("m.pt", lambda d: torch_zip(d)[:-30]),
    "zip of no members": ("m.pt", lambda d: zip_with(d, a=(_END, 8, b"\0\0\0\0"))),
    "zip with bytes behind": ("m.pt", lambda d: torch_zip(d) + b"more"),
    "zip with bytes before": ("m.pt", lambda d: b"\x7fELF more" + torch_zip(d)),
    "zip with a comment": ("m.pt", lambda d: zipped({"m/data.pkl": d}, comment=b"a comment")),
    "pickle, then zip": ("m.pt", lambda d: SOUND + torch_zip(d)),
    "leading out": ("m.pt", lambda d: zipped({"../m/data.pkl": d})),
    "legacy": ("m.bin", legacy),
    "legacy, the keys": ("m.bin", lambda d: legacy(SOUND)[:-12] + d),
    "tar": ("m.tar", lambda d: tarred({"a/readme": b"hello", "a/weights": d})),
    "tar of old PyTorch": ("m.pth", lambda d: tarred({"storages": SOUND, "pickle": d})),
    "tar, behind a size by pax": (
        "m.tar",
        lambda d: tar_files.pax({"size": "512"}) + tar_files.header("z", 0) + bytes(512) + _one(d),
    ),
    "tar, behind a folder with a size": (
        "m.tar",
        lambda d: tar_files.header("d/", 512, b"5") + _one(d),
    ),
    "tar, behind a link with a size": (
        "m.tar",
        lambda d: tar_files.header("l", 512, b"2") + _one(d),
    ),
    "tar, a kind that nobody knows": ("m.tar", lambda d: _one(d, b"Z")),
    "tar.gz": ("m.tgz", lambda d: tarred({"model": d}, "w:gz")),
    "bytes of a spaCy model": ("model", lambda d: spacy(torch_zip(d))),
    "old PyTorch in a spaCy model": ("model", lambda d: spacy(legacy(d))),
    "MessagePack": ("flax_model.msgpack", lambda d: msgpack.packb({"w": msgpack.ExtType(1, d)})),
    "gzip": ("m.pkl.gz", gzip.compress),
    "gzip twice": ("m.pkl.gz", lambda d: nested(d, 2, gzip.compress)),
    "gzip twenty deep": ("m.pkl.gz", lambda d: nested(d, 20, gzip.compress)),
    "gzip of two members": ("m.pkl.gz", lambda d: gzip.compress(d[:9]) + gzip.compress(d[9:])),
    "gzip cut short": ("m.pkl.gz", lambda d: gzip.compress(d)[:-6]),
    "gzip, wrong sum": ("m.pkl.gz", lambda d: gzip.compress(d)[:-8] + bytes(8)),
    "gzip, then a pickle": ("m.gz", lambda d: gzip.compress(SOUND) + d),
    "gzip of a zip": ("m.gz", lambda d: gzip.compress(torch_zip(d))),
    "bzip2": ("m.pkl.bz2", bz2.compress),
    "xz": ("m.pkl.xz", lzma.compress),
    "lzma": ("m.lzma", lambda d: lzma.compress(d, lzma.FORMAT_ALONE)),
    "zlib": ("m.joblib", zlib.compress),
    "zlib, fast": ("m.z", lambda d: zlib.compress(d, 1)),
    "zstandard": ("m.pkl.zst", lambda d: zstandard.compress(d)),
    "lz4": ("m.pkl.lz4", lambda d: lz4.frame.compress(d)),
    "named text": ("notes.txt", lambda d: d),
    "named JSON": ("tokenizer.json", lambda d: d),
    "named safetensors": ("model.safetensors", lambda d: d),
    "named array": ("x.npy", lambda d: d),
    "named ONNX": ("model.onnx", lambda d: d),
    "no suffix": ("weights", lambda d: d),
    "odd suffix": ("weights.dat", lambda d: d),
    "array of objects": ("x.npy", objects),
    "array of records": ("x.npy", lambda d: objects(d, b"[('a', '<f4'), ('b', '|O')]")),
    "archive of objects": ("x.npz", lambda d: zipped({"a.npy": objects(d)})),
    "deflated objects": (
        "x.npz",
        lambda d: zipped({"a.npy": objects(d)}, zipfile.ZIP_DEFLATED),
    ),
    "in bytes": ("a.pkl", in_bytes),
    "in bytes of old protocols": ("a.pkl", in_latin1),
    "in base64": ("a.pkl", in_base64),
    "in base64 for addresses": ("a.pkl", in_url_base64),
    "in base64 of many lines": ("a.pkl", in_lines),
    "gzip in base64": ("a.pkl", lambda d: in_base64(gzip.compress(d))),
    "zip in bytes": ("a.pkl", lambda d: in_bytes(torch_zip(d))),
    "three pickles deep": ("a.pkl", lambda d: nested(d, 3, in_bytes)),
    "base64 in bytes": ("a.pkl", lambda d: in_bytes(in_base64(d))),
    "second stream": ("a.pkl", lambda d: SOUND + d),
    "behind zeros": ("a.pkl", lambda d: SOUND + bytes(5000) + d),
    "third stream": ("a.bin", lambda d: SOUND + SOUND + d),
    "loaded from bytes": (
        "a.pkl",
        lambda d: program(named("torch.storage._load_from_bytes") + octets(d) + b"\x85R"),
    ),
    "joblib, objects": (
        "a.joblib",
        lambda d: program(joblib_array("O8", (1,), d) + b"0}", 4),
    ),
    "joblib, behind an array": (
        "a.joblib",
        lambda d: program(joblib_array("f8", (2,), bytes(16)) + b"0", 4)[:-1] + d[2:],
    ),
    "joblib, in the elements": (
        "a.joblib",
        lambda d: program(joblib_array("u1", (len(d),), b"0" + d[2:] + b"0", aligned=False), 4),
    ),
    "joblib compressed": ("a.joblib", lambda d: zlib.compress(program(b"]" + d[2:-1] + b"a", 3))),
    "key of memo far away": (
        "a.pkl",
        _far_memo,
    ),
}
"""By what is done: the name of the file, and how it is made of a pickle of protocol 2."""
