"""What a Python file would do, told from its text."""

from __future__ import annotations

import contextlib
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.code.python import MOST_NODES, Use, examine
from steelyard.errors import CheckpointError, LimitExceeded


def uses(source: str) -> set[tuple[str, str, bool]]:
    return {(u.kind, u.name, u.at_import) for u in examine(source.encode(), "x.py").uses}


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ("import os\nos.system('true')", "process", "os.system"),
        ("import os as o\no.system('true')", "process", "os.system"),
        ("from os import system as s\ns('true')", "process", "os.system"),
        ("from os import *\nsystem('true')", "process", "os.system"),
        ("import os\nf = os.system\ng = f\ng('true')", "process", "os.system"),
        ("import os\ngetattr(os, 'sys' + 'tem')('true')", "process", "os.system"),
        ("import os\ngetattr(os, ''.join(['sys', 'tem']))('true')", "process", "os.system"),
        ("import os\ngetattr(os, 'metsys'[::-1])('true')", "process", "os.system"),
        ("__import__('os').system('true')", "process", "os.system"),
        ("import importlib\nimportlib.import_module('os').system('')", "process", "os.system"),
        ("import sys\nsys.modules['os'].system('true')", "process", "os.system"),
        ("import os\nos.__dict__['system']('true')", "process", "os.system"),
        ("import os\nlist(map(os.system, ['true']))", "process", "os.system"),
        ("import subprocess\nsubprocess.Popen(['true'])", "process", "subprocess.Popen"),
        ("import urllib.request\nurllib.request.urlopen('x')", "network", "urllib.request.urlopen"),
        ("import requests\nrequests.get('x')", "network", "requests.get"),
        ("import shutil\nshutil.os.system('true')", "process", "shutil.os.system"),
        ("import random\nrandom._os.system('true')", "process", "random._os.system"),
        ("import os\nos.system.__call__('true')", "process", "os.system"),
        ("import os\nvars(os)['system']('true')", "process", "os.system"),
        ("eval('1')", "dynamic", "builtins.eval"),
        ("from builtins import exec as e\ne('1')", "dynamic", "builtins.exec"),
        ("globals()['__builtins__']['exec']('1')", "dynamic", "builtins.exec"),
        ("@exec\n@input\nclass A: ...", "dynamic", "builtins.exec"),
        ("class A:\n    __class_getitem__ = exec\nA['1']", "dynamic", "builtins.exec"),
        ("x = ().__class__.__base__.__subclasses__()", "dynamic", "__subclasses__"),
        ("def f(): ...\nf.__globals__['os'].system('')", "dynamic", "__globals__"),
        (
            "import os, operator\noperator.attrgetter('system')(os)('true')",
            "dynamic",
            "operator.attrgetter",
        ),
        ("__builtins__['eval']('1')", "dynamic", "builtins.eval"),
        ("import importlib\nimportlib.import_module(x)", "dynamic", "importlib.import_module"),
        ("import os\ngetattr(os, x)()", "dynamic", "builtins.getattr"),
        ("import torch\ntorch.load('x')", "unpickling", "torch.load"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "unpickling", "numpy.load"),
        ("import yaml\nyaml.load(x, Loader=yaml.Loader)", "unpickling", "yaml.load"),
        ("import ctypes\nctypes.CDLL('x')", "native", "ctypes.CDLL"),
        ("open('x', 'w')", "writes", "builtins.open"),
        ("open('x', mode)", "writes", "builtins.open"),
        ("open('x')", "reads", "builtins.open"),
        ("import base64\nexec(base64.b64decode('eA=='))", "obfuscated", "builtins.exec"),
        ("import zlib\ny = zlib.decompress(x)\nexec(y)", "obfuscated", "builtins.exec"),
        ("exec(bytes.fromhex('00'))", "obfuscated", "builtins.exec"),
        ("x = 1  # \u202e not what it seems", "reordered", "U+202E"),
    ],
)
def test_what_runs_on_import_is_told(source: str, kind: str, name: str) -> None:
    assert (kind, name, True) in uses(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x', weights_only=True)",
        "import numpy\nnumpy.load('x')",
        "import yaml\nyaml.load(x, Loader=yaml.SafeLoader)",
        "model.eval()",
        "import re, torch\nre.compile('x')\ntorch.compile(x)",
        "def compile(x): ...\ncompile('x')",
        "import importlib\nimportlib.import_module('math')",
        "import importlib.util\nimportlib.util.find_spec('flash_attn')",
        "import subprocess\nx = subprocess.PIPE",
        "from typing import TYPE_CHECKING\nimport os\nif TYPE_CHECKING:\n    os.system('')",
        "getattr(config, name)",
        "import base64\nbase64.b64decode('x')",
        "try:\n    from os import system\nexcept ImportError:\n    system = None",
        "def f(x: 'eval(1)') -> eval('x'): ...",
    ],
)
def test_what_only_computes_is_silent(source: str) -> None:
    assert uses(source) == set()


def test_what_only_functions_do_is_not_done_on_import() -> None:
    source = (
        "import os\ndef f():\n    os.system('true')\nclass A:\n    def g(self):\n        eval('1')"
    )
    assert uses(source) == {
        ("process", "os.system", False),
        ("dynamic", "builtins.eval", False),
    }


@pytest.mark.parametrize(
    "tail",
    [
        "f()",
        "def h():\n    f()\nh()",
        "class A:\n    def __init__(self):\n        f()\nA()",
        "class A:\n    def go(self):\n        f()\na = A()\na.go()",
        "class A:\n    x = f()",
        "@f\ndef h(): ...",
        "def h(x=f()): ...",
        "x = [f() for _ in range(1)]",
        "if x:\n    try:\n        f()\n    finally: ...",
    ],
)
def test_what_module_level_calls_is_done_on_import(tail: str) -> None:
    source = f"import os\ndef f(*_):\n    def g():\n        os.system('true')\n    g()\n{tail}"
    assert uses(source) == {("process", "os.system", True)}


def test_a_program_is_not_an_import() -> None:
    source = "import os\nif __name__ == '__main__':\n    os.system('true')\nelse:\n    eval('1')"
    assert uses(source) == {("process", "os.system", False), ("dynamic", "builtins.eval", True)}


def test_lines_and_imports_are_told() -> None:
    source = b"import os, torch.nn\nfrom .conf import C\nfrom . import other\n\nos.system('')"
    script = examine(source, "x.py")
    assert script.uses == (Use("process", "os.system", 5, True),)
    assert script.imports == {"os", "torch"}
    assert script.relative == {"conf", "other"}


@pytest.mark.parametrize(
    "data",
    [
        b"def f(:",
        b"\x00",
        b"\xff\xfe",
        b"# coding: rot13\nvzcbeg bf",
        b"(" * 10_000,
        b"-" * 300_000 + b"1",
        b"a" + b".b" * 150_000,
        b"1" + b"+1" * 150_000,
        b"9" * 100_000,
        b"lambda:" * 50_000 + b"1",
    ],
)
def test_what_does_not_parse_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        examine(data, "x.py")


def test_a_tree_of_too_many_nodes_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        examine(b"a=1\n" * (MOST_NODES // 3), "x.py")


def test_text_in_another_encoding_is_read_as_python_reads_it() -> None:
    source = b"# coding: utf-7\n+AGkAbQBwAG8AcgB0- os\nos.system('true')"
    assert {use.name for use in examine(source, "x.py").uses} == {"os.system"}


@given(st.lists(st.sampled_from(
    ["import os\n", "os", ".system", "(", ")", "'x'", "=", "f", "def f():\n ", "class A:\n ", "[",
     "]", "getattr", ",", "\n", "@", "lambda x:", "eval", "+", "if x:\n ", "__import__", "x", "*"]
)))  # fmt: skip
def test_nothing_but_our_own_errors_comes_out(pieces: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(CheckpointError):
            examine("".join(pieces).encode(), "x.py")
