"""Write PyTorch files with the standard library only: opcodes and zip headers by hand.

Both layouts of `torch.save`, honest or lying at any place a test needs. Nothing here pickles or
unpickles: a payload is a string of opcodes that is never run.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

ITEM_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt4x2Storage": 1,
    "UntypedStorage": 1,
}

OS_SYSTEM = b"cos\nsystem\nU\x04true\x85R"
"""A call of os.system("true"); leaves its result on the stack."""


@dataclass(frozen=True, eq=False)
class Storage:
    """A storage: its key, its class, its bytes."""

    key: str
    kind: str
    data: bytes
    count: int | None = None
    """What the pickle says; the truth by default."""
    view: tuple[str, int, int] | None = None

    @property
    def items(self) -> int:
        return len(self.data) // ITEM_BYTES[self.kind]


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor on a storage, as `_rebuild_tensor_v2` would be given it."""

    storage: Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    first: int = 0
    parameter: bool = False


@dataclass(frozen=True, eq=False)
class Raw:
    """Opcodes as they are, to leave one value on the stack."""

    code: bytes


@dataclass(frozen=True, eq=False)
class Made:
    """A call of `function` on `args`, then `BUILD` with `state` unless it is None."""

    function: str
    args: tuple[object, ...] = ()
    state: object = None


def weight(key: str, *shape: int, kind: str = "FloatStorage", fill: int = 0) -> Weight:
    """Make a contiguous tensor on a storage of its own."""
    data = bytes((fill + i) % 251 for i in range(prod(shape) * ITEM_BYTES[kind]))
    return Weight(Storage(key, kind, data), shape)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


@dataclass
class Encoder:
    """Assemble the opcodes of one pickle; what is met twice goes through the memo."""

    protocol: int = 2
    storages: dict[str, Storage] = field(default_factory=dict)
    memo: dict[int, int] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)

    def pickle(self, value: object) -> bytes:
        body = self.encode(value) + b"."
        if self.protocol >= 4:
            body = b"\x95" + struct.pack("<Q", len(body)) + body
        return (b"\x80" + bytes((self.protocol,)) if self.protocol >= 2 else b"") + body

    def encode(self, value: object) -> bytes:
        if isinstance(value, Raw):
            return value.code
        if isinstance(value, dict | list | Weight | Made):
            if id(value) in self.memo:
                return b"j" + struct.pack("<I", self.memo[id(value)])
            self.kept.append(value)
        if isinstance(value, dict | list | tuple):
            return self._container(value)
        if isinstance(value, Storage):
            return self._storage(value)
        if isinstance(value, Weight):
            return self._weight(value) + self._keep(value)
        if isinstance(value, Made):
            code = self._global(value.function) + self.encode(value.args) + b"R"
            code += self._keep(value)
            return code if value.state is None else code + self.encode(value.state) + b"b"
        return self._constant(value)

    def _constant(self, value: object) -> bytes:
        match value:
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                return self._integer(value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                return self._text(value)
            case bytes():
                return b"B" + struct.pack("<I", len(value)) + value
            case _:
                raise TypeError(type(value))

    def _container(self, value: dict[object, object] | list[object] | tuple[object, ...]) -> bytes:
        if isinstance(value, dict):
            start = b"}"
            if isinstance(value, OrderedDict):
                start = self._global("collections.OrderedDict") + b")R"
            return start + self._keep(value) + self._pairs(value)
        if isinstance(value, list):
            start = b"]" + self._keep(value)
            return start + b"(" + b"".join(self.encode(item) for item in value) + b"e"
        return b"(" + b"".join(self.encode(item) for item in value) + b"t"

    def _keep(self, value: object) -> bytes:
        index = len(self.memo)
        self.memo[id(value)] = index
        return b"\x94" if self.protocol >= 4 else b"r" + struct.pack("<I", index)

    def _pairs(self, value: Mapping[object, object]) -> bytes:
        body = b"".join(self.encode(key) + self.encode(item) for key, item in value.items())
        return b"(" + body + b"u"

    def _integer(self, value: int) -> bytes:
        if 0 <= value < 256:
            return b"K" + bytes((value,))
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes((len(data),)) + data

    def _text(self, value: str) -> bytes:
        data = value.encode()
        if self.protocol >= 4 and len(data) < 256:
            return b"\x8c" + bytes((len(data),)) + data
        return b"X" + struct.pack("<I", len(data)) + data

    def _global(self, dotted: str) -> bytes:
        module, _, name = dotted.rpartition(".")
        if self.protocol >= 4:
            return self._text(module) + self._text(name) + b"\x93"
        return f"c{module}\n{name}\n".encode()

    def _storage(self, value: Storage) -> bytes:
        self.storages.setdefault(value.key, value)
        module = "torch.storage" if value.kind == "UntypedStorage" else "torch"
        count = value.items if value.count is None else value.count
        parts: tuple[object, ...] = (
            "storage",
            Raw(self._global(f"{module}.{value.kind}")),
            value.key,
            "cpu",
            count,
        )
        if value.view is not None:
            parts = (*parts, value.view)
        return self.encode(parts) + b"Q"

    def _weight(self, value: Weight) -> bytes:
        strides = row_major(value.shape) if value.strides is None else value.strides
        hooks: OrderedDict[str, object] = OrderedDict()
        args = (value.storage, value.first, value.shape, strides, False, hooks)
        code = self._global("torch._utils._rebuild_tensor_v2") + self.encode(args) + b"R"
        if value.parameter:
            outer = (Raw(code), True, OrderedDict[str, object]())
            code = self._global("torch._utils._rebuild_parameter") + self.encode(outer) + b"R"
        return code


def legacy_file(root: object, protocol: int = 2, *, after: bytes = b"") -> bytes:
    """Write the layout that PyTorch wrote before 1.6."""
    encoder = Encoder(protocol)
    main = encoder.pickle(root)
    keys = sorted(encoder.storages)
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [
        Encoder(protocol).pickle(0x1950A86A20F9469CFC6C),
        Encoder(protocol).pickle(1001),
        Encoder(protocol).pickle(machine),
        main,
        Encoder(protocol).pickle(keys),
    ]
    for key in keys:
        storage = encoder.storages[key]
        parts += [struct.pack("<q", storage.items), storage.data]
    return b"".join(parts) + after


@dataclass(frozen=True)
class Member:
    """One member of a zip, with what its headers say where that is not the truth."""

    name: str
    data: bytes
    deflate: bool = False
    padding: int = 0
    flags: int = 0
    method: int | None = None
    size: int | None = None
    local_name: str | None = None
    local_method: int | None = None
    local_size: int | None = None
    offset: int | None = None


def zip_file(members: Iterable[Member], *, zip64: bool = False, comment: bytes = b"") -> bytes:
    """Write a zip; with `zip64`, as PyTorch does: with both end records."""
    out = bytearray()
    central = bytearray()
    count = 0
    for member in members:
        count += 1
        packed = _deflate(member.data) if member.deflate else member.data
        method = (8 if member.deflate else 0) if member.method is None else member.method
        size = len(member.data) if member.size is None else member.size
        name = member.name.encode()
        local_name = (member.local_name or member.name).encode()
        local_method = method if member.local_method is None else member.local_method
        local_size = size if member.local_size is None else member.local_size
        crc = zlib.crc32(member.data)
        extra = struct.pack("<2H", 0x4246, member.padding) + bytes(member.padding)
        start = len(out) if member.offset is None else member.offset
        sizes = (0, 0, 0) if member.flags & 8 else (crc, len(packed), local_size)
        out += struct.pack(
            "<4s5H3L2H",
            *(b"PK\3\4", 20, member.flags, local_method, 0, 0),
            *sizes,
            *(len(local_name), len(extra)),
        )
        out += local_name + extra + packed
        if member.flags & 8:
            out += struct.pack("<4s3L", b"PK\7\x08", crc, len(packed), size)
        central += struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\1\2", 20, 20, member.flags, method, 0, 0, crc, len(packed), size),
            *(len(name), 0, 0, 0, 0, 0, start),
        )
        central += name
    return bytes(out + central) + zip_end(len(out), len(central), count, zip64, comment)


def zip_end(start: int, size: int, count: int, zip64: bool, comment: bytes = b"") -> bytes:
    """Write the end records of a zip."""
    out = b""
    if zip64:
        record = (b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        out += struct.pack("<4sQ2H2L4Q", *record)
        out += struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    few, short, near = min(count, 0xFFFF), min(size, 0xFFFFFFFF), min(start, 0xFFFFFFFF)
    end = (b"PK\5\6", 0, 0, few, few, short, near, len(comment))
    return out + struct.pack("<4s4H2LH", *end) + comment


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def torch_zip(
    root: object,
    protocol: int = 2,
    *,
    prefix: str = "archive",
    byteorder: bytes | None = b"little",
    compress: Sequence[str] = (),
    extra: Mapping[str, bytes] | None = None,
    after: bytes = b"",
    drop: Sequence[str] = (),
) -> bytes:
    """Write the layout that PyTorch writes since 1.6.

    Args:
        root: The object.
        protocol: Of its pickle.
        prefix: The folder of every member.
        byteorder: The record of that name; None to leave it out.
        compress: Members to deflate, named without the prefix.
        extra: Further members, named without the prefix.
        after: Bytes behind the end of the pickle, in `data.pkl`.
        drop: Storages to leave out.
    """
    encoder = Encoder(protocol)
    files = {"data.pkl": encoder.pickle(root) + after}
    if byteorder is not None:
        files["byteorder"] = byteorder
    for key, storage in encoder.storages.items():
        if key not in drop:
            files[f"data/{key}"] = storage.data
    files |= {"version": b"3\n", **(extra or {})}
    return zip_file(
        (
            Member(f"{prefix}/{name}", data, deflate=name in compress, padding=19, flags=0x800 | 8)
            for name, data in files.items()
        ),
        zip64=True,
    )
