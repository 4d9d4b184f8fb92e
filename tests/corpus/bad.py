"""Pickles that would run something, and everything that they can hide in."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from tests.corpus.opcodes import call, named, octets, program, short, text
from tests.corpus.wrappers import TRICKS

CALLABLES = (
    "os.system", "posix.system", "nt.system", "os.popen", "os.execv", "os.spawnl", "os.unlink",
    "subprocess.call", "subprocess.Popen", "subprocess.check_output", "builtins.eval",
    "builtins.exec", "builtins.compile", "builtins.open", "builtins.getattr",
    "builtins.__import__", "__builtin__.eval", "__builtin__.execfile", "importlib.import_module",
    "importlib._bootstrap._load", "marshal.loads", "types.FunctionType", "types.CodeType",
    "functools.partial", "operator.methodcaller", "operator.attrgetter", "_operator.attrgetter",
    "runpy.run_path", "runpy._run_code", "timeit.timeit", "cProfile.run", "profile.run",
    "trace.Trace", "pdb.run", "bdb.Bdb.run", "code.InteractiveInterpreter.runsource",
    "pydoc.pipepager", "pip.main", "ensurepip.bootstrap", "idlelib.autocomplete.AutoComplete",
    "lib2to3.pgen2.pgen.ParserGenerator", "distutils.file_util.write_file", "doctest.debug_script",
    "logging.config.listen", "webbrowser.open", "socket.create_connection",
    "ssl.get_server_certificate",
    "urllib.request.urlopen", "requests.get", "http.client.HTTPConnection", "smtplib.SMTP",
    "ftplib.FTP", "ctypes.CDLL", "shutil.copyfile", "tempfile.mktemp", "multiprocessing.Process",
    "asyncio.create_subprocess_shell", "pty.spawn", "platform.popen", "sys.exit", "venv.create",
    "_io.FileIO", "io.open", "codecs.open", "pickle.loads", "_pickle.loads", "dill.loads",
    "cloudpickle.loads", "joblib.load", "numpy.load", "numpy.testing._private.utils.runstring",
    "numpy.f2py.crackfortran.myeval", "pandas.read_pickle", "torch.load", "torch.hub.load",
    "torch.utils.cpp_extension.load", "torch.jit.load", "torch._inductor.codecache.compile_file",
    "transformers.dynamic_module_utils.get_class_from_dynamic_module", "some_package.run_me",
    "uuid._get_command_stdout", "collections.namedtuple", "string.Template",
)  # fmt: skip
"""What is called with one text; the last few are on no list of anything dangerous."""

_QUOTED = b"(S'true'\n"
_RUN = text("true") + b"\x85R"

PROGRAMS: Mapping[str, bytes] = {
    "protocol 0": b"cos\nsystem\n" + _QUOTED + b"tR.",
    "protocol 1": b"cos\nsystem\n(U\4truetR.",
    "INST": _QUOTED + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + _QUOTED[1:] + b"o.",
    "NEWOBJ": program(named("subprocess.Popen") + text("true") + b"\x85\x81"),
    "NEWOBJ_EX": program(named("subprocess.Popen") + text("true") + b"\x85}\x92", 4),
    "STACK_GLOBAL": program(short("os") + short("system") + b"\x93" + _RUN, 4),
    "STACK_GLOBAL without a mark": short("os") + short("system") + b"\x93" + _RUN + b".",
    "names from the memo": program(
        short("system") + b"\x94" + short("os") + b"\x940h\1h\0\x93" + _RUN, 4
    ),
    "names in lines": b"Vos\nVsystem\n\x93(Vtrue\ntR.",
    "escaped names": program(b"S'\\x6fs'\nS'syst\\145m'\n\x93" + _RUN, 4),
    "computed name": program(
        named("_codecs.decode") + b"C\2os\x85R" + short("system") + b"\x93" + _RUN, 4
    ),
    "attribute walk": program(
        short("collections") + short("OrderedDict.__init__.__globals__") + b"\x93", 4
    ),
    "frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 2**63) + call("os.system") + b".",
    "protocol 5": b"\x80\5\x96" + struct.pack("<Q", 2) + b"ab0" + call("os.system") + b".",
    "getattr chain": program(
        named("builtins.getattr") + named("builtins.__import__") + text("os") + b"\x85R"
        + text("system") + b"\x86R" + _RUN
    ),
    "extension code": program(b"\x82\1" + _RUN),
    "wide extension code": program(b"\x84\1\0\0\0" + _RUN),
    "state as a call": program(
        named("collections.OrderedDict") + b")R}" + text("__setstate__") + named("os.system")
        + b"sb" + text("true") + b"b"
    ),
    "imported, not called": program(named("this.s")),
    "factory": program(named("collections.defaultdict") + named("os.system") + b"\x85R"),
    "on behalf of a type": program(
        named("torch._tensor._rebuild_from_type_v2") + b"(" + named("os.system") + b"N"
        + text("true") + b"\x85NtR"
    ),
    "object state": program(
        named("numpy.dtype") + text("f8") + b"\x85R" + call("os.system") + b"b"
    ),
    "key of a dict": program(b"}(" + call("os.system") + b"K\1u"),
    "thrown away": program(call("os.system") + b"0}"),
    "popped with a mark": program(b"(" + call("os.system") + b"1}"),
    "broken afterwards": program(call("os.system"))[:-1] + b"\xff\xff",
    "no STOP": program(call("os.system"))[:-1],
    "stack underflow afterwards": program(call("os.system") + b"000"),
    "memo overwritten": program(
        named("collections.OrderedDict") + b"q\x000" + named("os.system") + b"q\x000h\0" + _RUN
    ),
    "behind long bytes": program(octets(bytes(100_000)) + b"0" + call("os.system"), 4),
    "behind many numbers": program(b"](" + b"K\7" * 40_000 + b"e0" + call("os.system")),
    "behind a long text": text("a long text " * 50) + b"0" + named("os.system") + _QUOTED + b"tR.",
    "persistent reference": program(text("storage") + call("os.system") + b"\x86Q"),
    "argument is a result": program(named("builtins.list") + call("os.system") + b"\x85\x85R"),
    "what PyTorch loads is computed": program(
        named("torch.storage._load_from_bytes") + call("some_package.fetch") + b"\x85R"
    ),
    "unprintable names": program(short("os\x1b[2J") + short("a\nb|`<c>") + b"\x93" + _RUN, 4),
}  # fmt: skip

_PAYLOADS = {
    "os.system": program(call("os.system")),
    "unknown package": program(call("some_package.run_me")),
}

_UNREAD: Mapping[str, tuple[str, bytes]] = {
    "7-Zip": ("m.7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(60)),
    "7-Zip, named as a pickle": ("m.pkl", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(60)),
    "RAR": ("m.rar", b"Rar!\x1a\7\1\0" + bytes(60)),
}


def bad_files() -> Iterator[tuple[str, str, bytes]]:
    """Yield a title, the name of a file, and what it holds."""
    for dotted in CALLABLES:
        yield f"calls {dotted}", "a.pkl", program(call(dotted))
    for title, data in PROGRAMS.items():
        yield title, "a.bin", data
    for trick, (name, wrap) in TRICKS.items():
        for payload, data in _PAYLOADS.items():
            yield f"{trick}: {payload}", name, wrap(data)
    for title, (name, data) in _UNREAD.items():
        yield title, name, data
