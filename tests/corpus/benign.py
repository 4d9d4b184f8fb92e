"""Files that run nothing when they are loaded, many of them odd enough to be taken for others."""

from __future__ import annotations

import base64
import bz2
import collections
import datetime
import decimal
import fractions
import gzip
import hashlib
import io
import json
import lzma
import pathlib
import pickle
import random
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator

import lz4.frame
import msgpack
import numpy as np
import zstandard

from tests.checkpoints.torch_files import Encoder, Weight, legacy_file, torch_zip, weight
from tests.corpus.opcodes import named, octets, program, text
from tests.corpus.wrappers import joblib_array, spacy, tarred, zipped

_PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def _values() -> dict[str, object]:
    rng = random.Random(7)  # noqa: S311  the same bytes each time, no secret
    day = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
    return {
        "numbers": [rng.random() for _ in range(300)] + list(range(300)) + [1 << 300],
        "texts": {f"word{n}": "some words" * n for n in range(40)},
        "bytes": [rng.randbytes(n) for n in range(60)],
        "dates": [day, day.date(), day - day],
        "identifiers": [uuid.UUID(int=n) for n in range(3)],
        "paths": pathlib.PurePosixPath("a/b"),
        "decimals": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), complex(1, 2)],
        "containers": [
            collections.OrderedDict(a=1), collections.Counter("hello"), collections.deque([1]),
            collections.defaultdict(list, a=[1]), {1, 2}, frozenset((3,)), (1, (2, (3, ()))),
        ],
        "array": np.arange(12, dtype="<f4").reshape(3, 4),
        "big-endian array": np.asfortranarray(np.ones((2, 3), ">f8")),
        "scalars": [np.float32(1), np.int64(2), np.bool_(True)],
        "digests": [hashlib.sha256(bytes((n,))).hexdigest() for n in range(200)],
    }  # fmt: skip


def _pickled() -> Iterator[tuple[str, str, bytes]]:
    for title, value in _values().items():
        for protocol in _PROTOCOLS:
            yield f"{title}, protocol {protocol}", "a.pkl", pickle.dumps(value, protocol)
    noise = random.Random(3)  # noqa: S311  as above
    for title, value in {
        "base64 of nothing": [base64.b64encode(noise.randbytes(90)).decode() for _ in range(50)],
        "base64 of a pickle of numbers": base64.b64encode(pickle.dumps([1, 2])).decode(),
        "a pickle in bytes": pickle.dumps({"a": 1}),
        "a zip in bytes": zipped({"a.txt": b"hello"}),
        "gzip in bytes": gzip.compress(b"hello"),
        "what begins like gzip": [b"\x1f\x8b\x08" + noise.randbytes(50), b"BZh" + bytes(20)],
        "what begins like zlib": [b"x\x9c" + noise.randbytes(50), "x\x01y" * 9],
        "what begins like a pickle": [b"\x80\x04" + noise.randbytes(50), "\x80\x02hello, world"],
        "words about code": "c is for cat\nos.system('true') is not called\n(c) 2026\n",
        "a list in itself": _in_itself(),
    }.items():
        yield title, "a.pkl", pickle.dumps(value)


def _in_itself() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


def _weights() -> dict[str, Weight]:
    return {"a.weight": weight("0", 2, 3), "a.bias": weight("1", 3, kind="HalfStorage")}


def _torch() -> Iterator[tuple[str, str, bytes]]:
    boxed = legacy_file({"w": weight("0", 2)})
    for name in ("pytorch_model.bin", "m.pt", "m.pth", "m.ckpt"):
        yield f"torch zip as {name}", name, torch_zip(_weights())
        yield f"legacy torch as {name}", name, legacy_file(_weights())
    yield "a training state", "m.ckpt", torch_zip({"state_dict": _weights(), "epoch": 3})
    yield "gzip of torch", "m.pt.gz", gzip.compress(torch_zip(_weights()))
    data = program(named("torch.storage._load_from_bytes") + octets(boxed) + b"\x85R")
    yield "a checkpoint within a pickle", "a.pkl", data


def _arrays() -> Iterator[tuple[str, str, bytes]]:
    objects = np.array([{"a": 1}, "text", None], object)
    for title, save in {
        "array": np.save,
        "archive": np.savez,
        "deflated": np.savez_compressed,
    }.items():
        for kind, value in {"numbers": np.arange(20.0), "objects": objects}.items():
            file = io.BytesIO()
            save(file, value)
            yield f"{title} of {kind}", "x.npy" if save is np.save else "x.npz", file.getvalue()
    floats = np.random.default_rng(1).standard_normal(4000).tobytes()
    body = joblib_array("f8", (4000,), floats) + b"0" + joblib_array("u1", (5,), b"hello") + b"0}"
    for title, data in {
        "joblib": program(body, 4),
        "joblib of old": program(joblib_array("f8", (2,), bytes(16), aligned=False), 3),
        "joblib, objects": program(joblib_array("O8", (1,), pickle.dumps([1, "a"])), 4),
    }.items():
        yield title, "a.joblib", data
        yield f"{title}, zlib", "a.joblib", zlib.compress(data, 3)
        yield f"{title}, lz4", "a.joblib", lz4.frame.compress(data)


def _others() -> Iterator[tuple[str, str, bytes]]:
    state = pickle.dumps({"a": [1, 2.5, "three"]})
    header = json.dumps({"w": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}).encode()
    table = b"a,b\n1,2\n" * 100
    yield "a component of spaCy", "model", spacy(np.arange(999.0).tobytes())
    yield "a model of PyTorch within one of spaCy", "model", spacy(torch_zip(_weights()))
    yield "weights of Flax", "flax_model.msgpack", msgpack.packb({"w": b"\0\1" * 900})
    yield (
        "an estimator",
        "a.joblib",
        program(
            named("sklearn.linear_model._logistic.LogisticRegression") + b")\x81}X\1\0\0\0CK\1sb", 4
        ),
    )
    yield "gzip", "a.pkl.gz", gzip.compress(state)
    yield "bzip2", "a.pkl.bz2", bz2.compress(state)
    yield "xz", "a.pkl.xz", lzma.compress(state)
    yield "zstandard", "a.pkl.zst", zstandard.compress(state)
    yield "gzip of a table", "data.csv.gz", gzip.compress(table)
    yield (
        "zip of a table",
        "data.zip",
        zipped({"a.csv": table, "b/c.txt": b"x"}, zipfile.ZIP_DEFLATED),
    )
    yield "zip with a comment", "data.zip", zipped({"a.csv": table}, comment=b"hello")
    yield "empty zip", "empty.zip", zipped({})
    yield "tar of a table", "data.tar", tarred({"a.csv": table})
    yield "tar.gz of a table", "data.tar.gz", tarred({"a.csv": table}, "w:gz")
    yield "several pickles", "a.pkl", state + state + Encoder(2).pickle({"b": 1})
    yield "safetensors of what looks like a pickle", "b.safetensors", (
        struct.pack("<Q", len(header)) + header + b"\x80\x04cos\ns."
    )  # fmt: skip
    yield "a license", "NOTICE.txt", b"(c) 2026 Somebody. All rights reserved.\n" * 20
    yield "code", "modeling.py", b"import os\n\n\ndef f():\n    return os.sep\n"
    yield "text like opcodes", "notes.txt", b"cos is a function\nsin is another\n(1) and (2)\n."
    yield "JSON", "vocab.json", json.dumps({f"token{n}": n for n in range(500)}).encode()
    yield "numbers", "vectors.dat", np.random.default_rng(2).standard_normal(5000).tobytes()
    yield "a long list", "a.pkl", program(b"](" + b"K\7" * 60_000 + b"e" + text("x") + b"a")


def benign_files() -> Iterator[tuple[str, str, bytes]]:
    """Yield a title, the name of a file, and what it holds."""
    yield from _pickled()
    yield from _torch()
    yield from _arrays()
    yield from _others()
