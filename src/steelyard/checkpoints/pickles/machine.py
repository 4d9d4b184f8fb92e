"""The stack machine of `pickle.py`, with symbols where Python would keep objects.

Each opcode moves symbols between a stack, a memo and the containers they are put into; nothing
is imported, called or built. Every value costs from a budget (`Limits.json_nodes`) before it is
made, so memory is bounded; every opcode is one bounded step, so time is linear. What the
opcodes do follows CPython's `Lib/pickle.py`, where the C unpickler and it agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.pickles.cursor import Cursor
from steelyard.checkpoints.pickles.opcodes import OPCODES, Argument, Name, Opaque
from steelyard.checkpoints.pickles.values import (
    Call,
    Global,
    Items,
    Pairs,
    Persistent,
    PickleStream,
    Value,
    called_global,
)
from steelyard.checkpoints.tensors import PickleImport, Problem, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded

HIGHEST_PROTOCOL: Final = 5
CHARACTERS_FOR_ONE: Final = 64
"""Characters of text that cost as much as one value; a text that is not ASCII costs four times."""
IMPORT_COST: Final = 100
"""Values that a new import costs: a checkpoint names few, and each is graded and reported."""


class Machine:
    """The stack machine of `pickle.py`, with symbols for objects."""

    def __init__(self, cursor: Cursor, file: str, limits: Limits) -> None:
        self.cursor = cursor
        self.stopped = False
        self.steps = 0
        self.understood = 0
        self.offset = cursor.offset
        self._file = file
        self._limits = limits
        self._values_left = limits.json_nodes
        self._stack: list[Value] = []
        self._marks: list[int] = []
        self._memo: dict[int, Value] = {}
        self._globals: dict[tuple[str, str], Global] = {}
        self._calls: list[Call] = []
        self._persistents: list[Persistent] = []
        self._problems: list[Problem] = []
        self._protocol = 0

    def run(self) -> PickleStream:
        """Interpret to the end, or as far as it makes sense."""
        value: Value = None
        try:
            while not self.stopped:
                self.step()
            value = self._pop()
        except CheckpointError as error:
            if self.understood == 0:
                raise
            self._note(f"the pickle could not be read further: {error.what}")
            value = None
            self.stopped = False
        return PickleStream(
            value=value,
            imports=self._imports(),
            calls=tuple(self._calls),
            persistents=tuple(self._persistents),
            protocol=self._protocol,
            end_offset=self.cursor.offset if self.stopped else self.offset,
            complete=self.stopped,
            opcodes=self.steps,
            cost=self._limits.json_nodes - max(self._values_left, 0),
            problems=tuple(self._problems),
        )

    @property
    def called(self) -> bool:
        """Say whether anything would have been called so far."""
        return bool(self._calls)

    @property
    def imports_identifiers(self) -> bool:
        """Say whether all that was named so far could be the name of something in Python."""
        words = (word for found in self._globals.values() for word in found.dotted.split("."))
        return all(word.isidentifier() for word in words)

    def step(self) -> None:
        """Interpret one opcode."""
        self.offset = self.cursor.offset
        self.steps += 1
        if self.steps > self._limits.opcodes:
            raise self._excess(f"more than {self._limits.opcodes} opcodes")
        opcode = OPCODES.get(self.cursor.take(1)[0])
        if opcode is None:
            raise self._wrong("there is no such opcode")
        argument = opcode.read(self.cursor)
        action = _ACTIONS.get(opcode.name)
        if action is None:
            self._do_constant(argument)
        else:
            action(self, argument)
        if opcode.name not in _SILENT:
            self.understood += 1

    def _imports(self) -> tuple[PickleImport, ...]:
        named = sorted(self._globals.values(), key=lambda item: (item.dotted, item.offset))
        return tuple(PickleImport(g.dotted, self._file, g.offset, g.called) for g in named)

    def _note(self, what: str) -> None:
        self._problems.append(Problem(ProblemKind.NOT_FULLY_READ, what, self._file, self.offset))

    def _wrong(self, what: str) -> CheckpointError:
        return self.cursor.error(what, self.offset)

    def _excess(self, what: str) -> LimitExceeded:
        return LimitExceeded(
            f"the pickle has {what}",
            why="no checkpoint needs so many; the file may be made to exhaust memory or time",
            fix="raise the limit if you trust the file",
            file=self._file,
            offset=self.offset,
        )

    def _spend(self, values: int) -> None:
        """Count values against the limit before they are made."""
        self._values_left -= values
        if self._values_left < 0:
            raise self._excess(f"more than {self._limits.json_nodes} values")

    def _push_new(self, value: Value) -> None:
        self._spend(1)
        if isinstance(value, str):
            self._spend(len(value) * (1 if value.isascii() else 4) // CHARACTERS_FOR_ONE)
        self._stack.append(value)

    def _do_constant(self, argument: Argument) -> None:
        if not isinstance(argument, Name):
            self._push_new(argument)

    def _floor(self) -> int:
        return self._marks[-1] if self._marks else 0

    def _pop(self) -> Value:
        if len(self._stack) <= self._floor():
            raise self._wrong("an opcode wants a value where the stack is empty")
        return self._stack.pop()

    def _top(self) -> Value:
        if len(self._stack) <= self._floor():
            raise self._wrong("an opcode wants a value where the stack is empty")
        return self._stack[-1]

    def _pop_mark(self) -> list[Value]:
        if not self._marks:
            raise self._wrong("an opcode wants a mark where there is none")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _do_mark(self, _argument: Argument) -> None:
        if len(self._marks) >= self._limits.json_nodes:
            raise self._excess(f"more than {self._limits.json_nodes} open marks")
        self._marks.append(len(self._stack))

    def _do_pop(self, _argument: Argument) -> None:
        if self._marks and len(self._stack) == self._marks[-1]:
            self._marks.pop()
        else:
            self._pop()

    def _do_pop_mark(self, _argument: Argument) -> None:
        self._pop_mark()

    def _do_duplicate(self, _argument: Argument) -> None:
        self._stack.append(self._top())

    def _do_put(self, argument: Argument) -> None:
        index = len(self._memo) if argument is None else argument
        if not isinstance(index, int):
            raise self._wrong("a memo index is not a number")
        if index not in self._memo:
            self._spend(1)
        self._memo[index] = self._top()

    def _do_get(self, argument: Argument) -> None:
        if not isinstance(argument, int) or argument not in self._memo:
            raise self._wrong(f"memo entry {argument} is read before it is written")
        self._stack.append(self._memo[argument])

    def _do_protocol(self, argument: Argument) -> None:
        if not isinstance(argument, int) or argument > HIGHEST_PROTOCOL:
            raise self._wrong(f"protocol {argument} is not known")
        self._protocol = max(self._protocol, argument)

    def _do_stop(self, _argument: Argument) -> None:
        self._top()
        self.stopped = True

    def _do_nothing(self, _argument: Argument) -> None:
        """Step over `FRAME`, a hint for readers, and `READONLY_BUFFER`."""

    def _do_buffer(self, _argument: Argument) -> None:
        self._push_new(Opaque("buffer", self.offset, 0))

    def _do_collect(self, kind: Literal["list", "tuple", "frozenset"]) -> None:
        self._spend(1)
        self._stack.append(Items(kind, self._pop_mark()))

    def _do_empty(self, kind: Literal["list", "tuple", "set"]) -> None:
        self._push_new(Items(kind, []))

    def _do_tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        items.reverse()
        self._push_new(Items("tuple", items))

    def _do_empty_dict(self, _argument: Argument) -> None:
        self._push_new(Pairs([], []))

    def _do_dictionary(self, _argument: Argument) -> None:
        items = self._pop_mark()
        self._push_new(Pairs([], []))
        self._set_items(items)

    def _do_append_many(self, _argument: Argument) -> None:
        self._add(self._pop_mark())

    def _do_set_item(self, _argument: Argument) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    def _add(self, items: list[Value]) -> None:
        target = self._top()
        if isinstance(target, Call):
            if target.listed is None:
                self._spend(1)
                target.listed = Items("list", [])
            target.listed.items.extend(items)
        elif isinstance(target, Items):
            target.items.extend(items)

    def _set_items(self, items: list[Value]) -> None:
        if len(items) % 2:
            raise self._wrong("a dict is filled with a key that has no value")
        target = self._top()
        if isinstance(target, Call):
            if target.mapped is None:
                self._spend(1)
                target.mapped = Pairs([], [])
            target = target.mapped
        if isinstance(target, Pairs):
            target.keys.extend(items[::2])
            target.values.extend(items[1::2])

    def _push_global(self, module: str, name: str) -> None:
        """Push an import; one that is named again is the one that was named first."""
        self._spend(1)
        found = self._globals.get((module, name))
        if found is None:
            self._spend(IMPORT_COST + len(module) + len(name))
            found = self._globals[module, name] = Global(module, name, self.offset)
        self._stack.append(found)

    def _do_global_name(self, argument: Argument) -> None:
        if isinstance(argument, Name):
            self._push_global(argument.module, argument.name)

    def _do_stack_global(self, _argument: Argument) -> None:
        given = self._pop(), self._pop()
        name, module = (part if isinstance(part, str) else "?" for part in given)
        if "?" in (name, module):
            self._note("an import is named by a value that only running the pickle would give")
        self._push_global(module, name)

    def _do_extension(self, argument: Argument) -> None:
        self._note(f"an import is named by extension code {argument}, which only a program knows")
        self._push_global("copyreg", f"extension_{argument}")

    def _push_call(self, function: Value, args: Value, kwargs: Value = None) -> None:
        self._spend(2)
        found = called_global(function)
        if found is not None:
            found.called = True
        call = Call(function, args, self.offset, kwargs)
        self._calls.append(call)
        self._stack.append(call)

    def _do_reduce(self, _argument: Argument) -> None:
        args = self._pop()
        self._push_call(self._pop(), args)

    def _do_new_object_ex(self, _argument: Argument) -> None:
        kwargs = self._pop()
        args = self._pop()
        self._push_call(self._pop(), args, kwargs)

    def _do_instance(self, argument: Argument) -> None:
        args = Items("tuple", self._pop_mark())
        self._do_global_name(argument)
        self._push_call(self._pop(), args)

    def _do_object(self, _argument: Argument) -> None:
        items = self._pop_mark()
        if not items:
            raise self._wrong("an object is built of no class")
        self._push_call(items[0], Items("tuple", items[1:]))

    def _do_build(self, _argument: Argument) -> None:
        state = self._pop()
        target = self._top()
        found = called_global(target)
        if found is not None:
            found.called = True
        if isinstance(target, Call):
            self._spend(1)
            if target.states is None:
                target.states = []
            target.states.append(state)

    def _do_persistent_line(self, argument: Argument) -> None:
        if isinstance(argument, str | Opaque):
            self._push_persistent(argument)

    def _do_persistent(self, _argument: Argument) -> None:
        self._push_persistent(self._pop())

    def _push_persistent(self, identity: Value) -> None:
        found = Persistent(identity, self.offset)
        self._push_new(found)
        self._persistents.append(found)


_SILENT = frozenset(("PROTO", "FRAME"))
"""Opcodes that say nothing of what the pickle holds."""

_Action = Callable[[Machine, Argument], None]

_ACTIONS: Mapping[str, _Action] = MappingProxyType(
    {
        "MARK": Machine._do_mark,
        "STOP": Machine._do_stop,
        "POP": Machine._do_pop,
        "POP_MARK": Machine._do_pop_mark,
        "DUP": Machine._do_duplicate,
        "PROTO": Machine._do_protocol,
        "FRAME": Machine._do_nothing,
        "NEWTRUE": lambda machine, _: machine._push_new(True),
        "NEWFALSE": lambda machine, _: machine._push_new(False),
        "PERSID": Machine._do_persistent_line,
        "BINPERSID": Machine._do_persistent,
        "REDUCE": Machine._do_reduce,
        "NEWOBJ": Machine._do_reduce,
        "NEWOBJ_EX": Machine._do_new_object_ex,
        "INST": Machine._do_instance,
        "OBJ": Machine._do_object,
        "BUILD": Machine._do_build,
        "GLOBAL": Machine._do_global_name,
        "STACK_GLOBAL": Machine._do_stack_global,
        "EXT1": Machine._do_extension,
        "EXT2": Machine._do_extension,
        "EXT4": Machine._do_extension,
        "APPEND": lambda machine, _: machine._add([machine._pop()]),
        "APPENDS": Machine._do_append_many,
        "ADDITEMS": Machine._do_append_many,
        "SETITEM": Machine._do_set_item,
        "SETITEMS": lambda machine, _: machine._set_items(machine._pop_mark()),
        "EMPTY_DICT": Machine._do_empty_dict,
        "DICT": Machine._do_dictionary,
        "EMPTY_LIST": lambda machine, _: machine._do_empty("list"),
        "EMPTY_TUPLE": lambda machine, _: machine._do_empty("tuple"),
        "EMPTY_SET": lambda machine, _: machine._do_empty("set"),
        "LIST": lambda machine, _: machine._do_collect("list"),
        "TUPLE": lambda machine, _: machine._do_collect("tuple"),
        "FROZENSET": lambda machine, _: machine._do_collect("frozenset"),
        "TUPLE1": lambda machine, _: machine._do_tuple_of(1),
        "TUPLE2": lambda machine, _: machine._do_tuple_of(2),
        "TUPLE3": lambda machine, _: machine._do_tuple_of(3),
        "PUT": Machine._do_put,
        "BINPUT": Machine._do_put,
        "LONG_BINPUT": Machine._do_put,
        "MEMOIZE": Machine._do_put,
        "GET": Machine._do_get,
        "BINGET": Machine._do_get,
        "LONG_BINGET": Machine._do_get,
        "NEXT_BUFFER": Machine._do_buffer,
        "READONLY_BUFFER": Machine._do_nothing,
    }
)
"""What each opcode does; one that is not here pushes its argument."""
