"""What each opcode does: one function of the machine for each byte that is an opcode.

Most are put together of two parts: how the argument is spelled (`opcodes`), and what is done with
it (`machine`). The few that make up nearly all of a large pickle are written out, because that
makes them several times as fast; where an argument reaches beyond what is in memory, or a
machine keeps what it reads, they do as the others do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from steelyard.checkpoints.pickles.boxes import HEAD, SHORTEST_FILE, may_be_file
from steelyard.checkpoints.pickles.opcodes import OPCODES, Opaque, text
from steelyard.checkpoints.pickles.values import Box, Items, Pairs

if TYPE_CHECKING:
    from steelyard.checkpoints.pickles.machine import Machine

Step = Callable[["Machine"], None]

_NUMBER: Final = Opaque("number", 0, 0)
"""Stands for each of many numbers in a row, which are passed over together."""
_MEMOIZE: Final = 0x94
_FEWEST_IN_A_ROW: Final = 8


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)


def _unknown(machine: Machine) -> None:
    raise machine.wrong("there is no such opcode")


def _constant(code: int) -> Step:
    read = OPCODES[code].read

    def step(machine: Machine) -> None:
        machine.do_constant(read(machine.cursor))

    return step


def _with_argument(code: int, action: str) -> Step:
    read = OPCODES[code].read

    def step(machine: Machine) -> None:
        getattr(machine, action)(read(machine.cursor))

    return step


def _without(action: str) -> Step:
    def step(machine: Machine) -> None:
        getattr(machine, action)()

    return step


def _given(action: str, *given: object) -> Step:
    def step(machine: Machine) -> None:
        getattr(machine, action)(*given)

    return step


def _number(code: bytes, layout: str) -> Step:
    """Push a number; many in a row are passed over at once where nobody wants them."""
    shape = struct.Struct(layout)
    size, unpack = shape.size, shape.unpack_from
    first = code[0]
    row = b"(?s)(?:%b.{%d}){%d,}" % (re.escape(code), size, _FEWEST_IN_A_ROW)

    def step(machine: Machine) -> None:
        cursor = machine.cursor
        piece, at = cursor.piece, cursor.at
        stop = at + size
        if stop > len(piece):
            machine.push_new(unpack(cursor.take(size))[0])
            return
        cursor.at = stop
        if machine.keep:
            machine.push_new(unpack(piece, at)[0])
            return
        machine.stack.append(unpack(piece, at)[0])
        if stop < len(piece) and piece[stop] == first:
            found = _compiled(row).match(piece, stop)
            if found is not None:
                passed = (found.end() - stop) // (size + 1)
                machine.stack.extend([_NUMBER] * passed)
                machine.passed += passed
                cursor.at = found.end()

    return step


def _words(code: int, layout: str) -> Step:
    """Push a text."""
    shape = struct.Struct(layout)
    size, unpack = shape.size, shape.unpack_from
    slow = _constant(code)

    def step(machine: Machine) -> None:
        cursor = machine.cursor
        piece, at = cursor.piece, cursor.at
        start = at + size
        if start <= len(piece):
            length = unpack(piece, at)[0]
            stop = start + length
            if stop < len(piece) and length <= cursor.limits.name_bytes:
                cursor.at = stop
                machine.push_text(text(piece[start:stop]), cursor.base + start, length)
                if piece[stop] == _MEMOIZE and not machine.keep:
                    # Nearly every text is remembered at once; one step for both saves a third.
                    cursor.at = stop + 1
                    machine.passed += 1
                    machine.do_memoize()
                return
        slow(machine)

    return step


def _data(code: int, layout: str) -> Step:
    """Step over bytes, with a look at how they begin."""
    shape = struct.Struct(layout)
    size, unpack = shape.size, shape.unpack_from
    slow = _constant(code)

    def step(machine: Machine) -> None:
        cursor = machine.cursor
        piece, at = cursor.piece, cursor.at
        start = at + size
        if start <= len(piece) and not machine.keep:
            length = unpack(piece, at)[0]
            stop = start + length
            if length >= 0 and stop <= len(piece):
                cursor.at = stop
                offset = cursor.base + start
                if length >= SHORTEST_FILE and may_be_file(piece[start : min(stop, start + HEAD)]):
                    machine.add_box(Box("bytes", offset, length))
                machine.stack.append(Opaque("bytes", offset, length))
                return
        slow(machine)

    return step


def _short_put(machine: Machine) -> None:
    cursor, stack = machine.cursor, machine.stack
    at = cursor.at
    if at < len(cursor.piece) and len(stack) > machine.floor:
        cursor.at = at + 1
        machine.memo.put(cursor.piece[at], machine.remembered())
    else:
        machine.do_put(cursor.take(1)[0])


def _short_get(machine: Machine) -> None:
    cursor, near = machine.cursor, machine.memo.near
    at = cursor.at
    if at < len(cursor.piece) and cursor.piece[at] < len(near):
        cursor.at = at + 1
        machine.stack.append(near[cursor.piece[at]])
    else:
        machine.do_get(cursor.take(1)[0])


def _empty_list(machine: Machine) -> None:
    machine.push_new(Items("list", []))


def _empty_tuple(machine: Machine) -> None:
    machine.push_new(Items("tuple", []))


def _empty_set(machine: Machine) -> None:
    machine.push_new(Items("set", []))


def _empty_dict(machine: Machine) -> None:
    machine.push_new(Pairs([], []))


_ACTIONS: Final[dict[str, Step | str]] = {
    "MARK": "do_mark",
    "STOP": "do_stop",
    "POP": "do_pop",
    "POP_MARK": "do_pop_mark",
    "DUP": "do_duplicate",
    "PROTO": "do_protocol",
    "FRAME": "do_frame",
    "NEWTRUE": _given("push_new", True),
    "NEWFALSE": _given("push_new", False),
    "NONE": _given("push_new", None),
    "PERSID": "do_persistent_line",
    "BINPERSID": "do_persistent",
    "REDUCE": "do_reduce",
    "NEWOBJ": "do_reduce",
    "NEWOBJ_EX": "do_new_object_ex",
    "INST": "do_instance",
    "OBJ": "do_object",
    "BUILD": "do_build",
    "GLOBAL": "do_global_name",
    "STACK_GLOBAL": "do_stack_global",
    "EXT1": "do_extension",
    "EXT2": "do_extension",
    "EXT4": "do_extension",
    "APPEND": "do_append",
    "APPENDS": "do_append_many",
    "ADDITEMS": "do_append_many",
    "SETITEM": "do_set_item",
    "SETITEMS": "do_set_items",
    "EMPTY_DICT": _empty_dict,
    "DICT": "do_dictionary",
    "EMPTY_LIST": _empty_list,
    "EMPTY_TUPLE": _empty_tuple,
    "EMPTY_SET": _empty_set,
    "LIST": _given("do_collect", "list"),
    "TUPLE": _given("do_collect", "tuple"),
    "FROZENSET": _given("do_collect", "frozenset"),
    "TUPLE1": _given("do_tuple_of", 1),
    "TUPLE2": _given("do_tuple_of", 2),
    "TUPLE3": _given("do_tuple_of", 3),
    "PUT": "do_put",
    "BINPUT": _short_put,
    "LONG_BINPUT": "do_put",
    "MEMOIZE": "do_memoize",
    "GET": "do_get",
    "BINGET": _short_get,
    "LONG_BINGET": "do_get",
    "NEXT_BUFFER": "do_buffer",
    "READONLY_BUFFER": "do_nothing",
    "BININT": _number(b"J", "<i"),
    "BININT1": _number(b"K", "<B"),
    "BININT2": _number(b"M", "<H"),
    "BINFLOAT": _number(b"G", ">d"),
    "SHORT_BINSTRING": _words(b"U"[0], "<B"),
    "SHORT_BINUNICODE": _words(0x8C, "<B"),
    "BINUNICODE": _words(b"X"[0], "<I"),
    "SHORT_BINBYTES": _data(b"C"[0], "<B"),
    "BINBYTES": _data(b"B"[0], "<I"),
}
"""What each opcode does; one that is not here pushes its argument."""

_ARGUED: Final = frozenset(
    {"PROTO", "FRAME", "PERSID", "INST", "GLOBAL", "EXT1", "EXT2", "EXT4", "PUT", "LONG_BINPUT",
     "GET", "LONG_BINGET"}
)  # fmt: skip
"""Opcodes whose action wants the argument."""


def _step(code: int) -> Step:
    opcode: Any = OPCODES.get(code)
    if opcode is None:
        return _unknown
    action = _ACTIONS.get(opcode.name)
    if action is None:
        return _constant(code)
    if isinstance(action, str):
        return _with_argument(code, action) if opcode.name in _ARGUED else _without(action)
    return action


STEPS: Final[tuple[Step, ...]] = tuple(_step(code) for code in range(256))
"""By the byte that is the opcode."""
