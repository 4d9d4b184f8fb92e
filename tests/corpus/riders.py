"""Files that ride with a model and run something, or hide it, and files that only look like it.

Nothing here is run, and payloads name `os.system` with `true`. What is told as a note by design
stands in tests beside the module that tells it: all that is bad here is a warning at least.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator

from tests.corpus.wrappers import tarred, zipped

Files = dict[str, bytes]

RUNS = b"import os\nos.system('true')\n"
HIDDEN = b"import base64\nexec(base64.b64decode('cGFzcw=='))\n"
TURNED = "access = 'user\u202e\u2066# only admins\u2069'\n".encode()
PLAIN = (
    b"import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
)


def notebook(*cells: str) -> bytes:
    """Write a notebook of format 4."""
    made = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    metadata = {"kernelspec": {"language": "python", "name": "python3"}}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4}).encode()


def _manifest(handler: str) -> bytes:
    return json.dumps({"runtime": "python", "model": {"handler": handler}}).encode()


def _bad_python() -> Iterator[tuple[str, Files]]:
    for kind, code in {"hidden code": HIDDEN, "turned code": TURNED}.items():
        yield f"{kind} in a notebook", {"train.ipynb": notebook("x = 1", code.decode())}
        yield (
            f"{kind} behind lines for IPython",
            {"train.ipynb": notebook("%pip install x\n" + code.decode() + "!ls")},
        )
        yield f"{kind} in a zip", {"src.zip": zipped({"a.py": code}, zipfile.ZIP_DEFLATED)}
        yield f"{kind} in a tar.gz", {"src.tgz": tarred({"a/b.py": code}, "w:gz")}
        yield f"{kind} two archives deep", {"src.zip": zipped({"b.tar": tarred({"a.py": code})})}
        yield (
            f"{kind} in a notebook in a zip",
            {"src.zip": zipped({"a.ipynb": notebook(code.decode())})},
        )
    yield (
        "a handler of TorchServe",
        {
            "m.mar": zipped(
                {"MAR-INF/MANIFEST.json": _manifest("handler.py:run"), "handler.py": RUNS}
            )
        },
    )
    yield (
        "what a handler of TorchServe imports",
        {
            "m.mar": zipped(
                {
                    "MAR-INF/MANIFEST.json": _manifest("handler.py"),
                    "handler.py": b"import net\n",
                    "net.py": RUNS,
                }
            )
        },
    )
    yield (
        "a package of torch",
        {"m.pt": zipped({"p/.data/extern_modules": b"", "p/net.py": RUNS, "p/m/m.pkl": b"N."})},
    )
    yield "Python in an archive that does not parse", {"src.zip": zipped({"a.py": b"def f(:"})}


def _benign_python() -> Iterator[tuple[str, Files]]:
    yield (
        "a notebook that trains",
        {
            "train.ipynb": notebook(
                "%matplotlib inline\n!pip install torch\n", PLAIN.decode(), "%time Net()\nNet?\n"
            )
        },
    )
    yield "a notebook that calls programs", {"train.ipynb": notebook("%%bash\nls 'x", "!ls {x}")}
    yield "scripts in a zip", {"src.zip": zipped({"a.py": RUNS, "b.py": PLAIN})}
    yield "scripts in a tar.gz", {"src.tar.gz": tarred({"a.py": PLAIN, "c.csv": b"1"}, "w:gz")}
    yield (
        "a handler that only computes",
        {"m.mar": zipped({"MAR-INF/MANIFEST.json": _manifest("handler.py"), "handler.py": PLAIN})},
    )


def bad_riders() -> Iterator[tuple[str, Files]]:
    """Yield a title and the files beside a model."""
    yield from _bad_python()


def benign_riders() -> Iterator[tuple[str, Files]]:
    """Yield a title and the files beside a model."""
    yield from _benign_python()
