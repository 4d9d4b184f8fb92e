"""The stack machine of `pickle.py`, with symbols where Python would keep objects.

Each opcode moves symbols between a stack, a memo and the containers they are put into; nothing
is imported, called or built. A machine either keeps what a stream holds (to read tensors), and
then every value costs from a budget (`Limits.json_nodes`) before it is made; or it only looks at
what would be imported and called (to examine any pickle), and then containers keep their first
few items and only what is at hand is counted. Either way memory is bounded, and every opcode is
one bounded step, so time is linear. What the opcodes do follows CPython's `Lib/pickle.py`, where
the C unpickler and it agree; `steps` says how each byte is carried out.
"""

from __future__ import annotations

from typing import Final, Literal

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.pickles.arrays import WRAPPERS, inline_array
from steelyard.checkpoints.pickles.boxes import (
    SHORTEST_FILE,
    may_be_file,
    may_be_file_in_text,
)
from steelyard.checkpoints.pickles.cursor import Cursor
from steelyard.checkpoints.pickles.memo import Memo
from steelyard.checkpoints.pickles.opcodes import Argument, Name, Opaque
from steelyard.checkpoints.pickles.steps import STEPS
from steelyard.checkpoints.pickles.values import (
    Box,
    Call,
    Global,
    Items,
    Pairs,
    Persistent,
    PickleStream,
    Value,
    called_global,
    items_of,
)
from steelyard.checkpoints.pickles.words import in_words
from steelyard.checkpoints.problems import PickleImport, Problem, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded

HIGHEST_PROTOCOL: Final = 5
CHARACTERS_FOR_ONE: Final = 64
"""Characters of text that cost as much as one value; a text that is not ASCII costs four times."""
IMPORT_COST: Final = 100
"""Values that a new import costs: a checkpoint names few, and each is graded and reported."""
KEPT_ITEMS: Final = 32
"""Items of a container that are kept when a stream is only examined; no array has more axes."""
LONGEST_KEPT: Final = 256
"""Characters of the longest text that is kept then; no name in Python is longer."""
EXTENSION: Final = "copyreg.extension_"
"""How an import is named that the stream names by an extension code."""
_BATCH: Final = 4096
"""Opcodes between two looks at what is at hand."""
_MOST_BOXES: Final = 50_000
_LOAD_FROM_BYTES: Final = "torch.storage._load_from_bytes"
_NOT_ASCII: Final = 4


class Machine:
    """The stack machine of `pickle.py`, with symbols for objects.

    Args:
        cursor: Where the opcodes come from.
        file: How problems and imports name the file.
        limits: Bounds on steps and values.
        keep: Whether what the stream holds is wanted, or only what it would import and call.
        most: How many opcodes it may take; what `limits` say by default.
    """

    def __init__(
        self,
        cursor: Cursor,
        file: str,
        limits: Limits,
        *,
        keep: bool = True,
        most: int | None = None,
    ) -> None:
        self.cursor = cursor
        self.keep = keep
        if not keep:
            cursor.skipped = b""
        self.stopped = False
        self.count = 0
        """Opcodes that were carried out one by one, and the one that made no sense."""
        self.passed = 0
        """Opcodes that were passed over many at a time."""
        self.silent = 0
        """Opcodes that say nothing of what the pickle holds."""
        self.offset = cursor.offset
        self.stack: list[Value] = []
        self.floor = 0
        """Where the stack begins for opcodes that pop: at the last mark."""
        self.memo = Memo()
        self._file = file
        self._limits = limits
        self.values_left = limits.json_nodes if keep else limits.examined_values
        """How many more values may be kept."""
        self._budget = self.values_left
        stated = limits.opcodes if keep else limits.examined_opcodes
        self._most = stated if most is None else most
        self._marks: list[int] = []
        self._globals: dict[tuple[str, str], Global] = {}
        self._calls: list[Call] = []
        self._persistents: list[Persistent] = []
        self._problems: list[Problem] = []
        self._boxes: list[Box] = []
        self._protocol = 0
        self._within_array = False
        self._broken = False

    def run(self) -> PickleStream:
        """Interpret to the end, or as far as it makes sense."""
        value: Value = None
        try:
            self.carry_out()
            value = self.pop()
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
            opcodes=self.opcodes,
            cost=self._budget - max(self.values_left, 0),
            problems=tuple(self._problems),
            boxes=tuple(self._boxes),
            memo=self.memo,
        )

    @property
    def called(self) -> bool:
        """Say whether anything would have been called so far."""
        return any(found.called for found in self._globals.values()) or bool(self._calls)

    @property
    def imports_identifiers(self) -> bool:
        """Say whether all that was named so far could be the name of something in Python."""
        words = (word for found in self._globals.values() for word in found.dotted.split("."))
        return all(word.isidentifier() for word in words)

    def carry_out(self) -> None:
        """Carry out opcodes up to `STOP`.

        Raises:
            CheckpointError: Where they make no sense; `offset` tells where that is.
            LimitExceeded: If there are too many.
        """
        most = self._most
        self._broken = True
        while not self._batch(min(_BATCH, most - self.opcodes)):
            if self.opcodes >= most:
                self.offset = self.cursor.offset
                self.count += 1
                raise self._excess(f"more than {most} opcodes")
            if not self.keep and len(self.stack) > self._budget:
                raise self._excess(f"more than {self._budget} values at hand")
        self._broken = False

    def _batch(self, most: int) -> bool:
        """Carry out some opcodes, and say whether `STOP` was among them."""
        cursor, steps = self.cursor, STEPS
        _count = first = self.count
        try:
            # This runs once for each opcode, millions of times: nothing else belongs here.
            for _count in range(first + 1, first + most + 1):
                at = cursor.at
                self.offset = cursor.base + at
                if at < len(cursor.piece):
                    cursor.at = at + 1
                    steps[cursor.piece[at]](self)
                else:
                    steps[cursor.take(1)[0]](self)
                if self.stopped:
                    return True
        finally:
            self.count = _count
        return False

    @property
    def opcodes(self) -> int:
        """Count the opcodes so far, with the one that made no sense."""
        return self.count + self.passed

    @property
    def understood(self) -> int:
        """Count the opcodes that made sense and say something of what the pickle holds."""
        return self.opcodes - self.silent - self._broken

    def pretend(self, values: int, memo: Memo) -> None:
        """Go on as if other opcodes had left values and a memo, as for bytes amid a pickle."""
        self.stack.extend([Opaque("value", self.offset, 0)] * values)
        self.memo = memo.copy()

    def _imports(self) -> tuple[PickleImport, ...]:
        named = sorted(self._globals.values(), key=lambda item: (item.dotted, item.offset))
        return tuple(
            PickleImport(g.dotted, self._file, g.offset, g.called, in_words(g)) for g in named
        )

    def _note(self, what: str) -> None:
        self._problems.append(Problem(ProblemKind.NOT_FULLY_READ, what, self._file, self.offset))

    def wrong(self, what: str) -> CheckpointError:
        """Describe an opcode that makes no sense."""
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
        self.values_left -= values
        if self.values_left < 0:
            raise self._excess(f"more than {self._budget} values")

    def push_new(self, value: Value) -> None:
        """Push a value that the stream makes."""
        if self.keep:
            self._spend(1)
            if isinstance(value, str):
                width = 1 if value.isascii() else _NOT_ASCII
                self._spend(len(value) * width // CHARACTERS_FOR_ONE)
        self.stack.append(value)

    def push_text(self, value: str, offset: int, length: int) -> None:
        """Push a text, and remember it where it may be a file of its own.

        Args:
            value: The text.
            offset: Where it lies in the stream.
            length: Bytes that it takes there.
        """
        if self.keep:
            self.push_new(value)
            return
        if length >= SHORTEST_FILE:
            if may_be_file_in_text(value):
                self.add_box(Box("string", offset, length, text=value))
            if length > LONGEST_KEPT:
                self.stack.append(Opaque("str", offset, length))
                return
        self.stack.append(value)

    def push_opaque(self, value: Opaque) -> None:
        """Push content that was stepped over, and remember it where it may be a file."""
        if self.keep:
            self._spend(1)
        elif value.length >= SHORTEST_FILE:
            if value.kind == "bytes":
                if may_be_file(self.cursor.skipped or b""):
                    self.add_box(Box("bytes", value.offset, value.length))
            elif value.kind == "str":
                head = self.cursor.skipped or b""
                if may_be_file_in_text(head.decode("utf-8", "ignore")):
                    self.add_box(Box("string", value.offset, value.length))
        self.stack.append(value)

    def add_box(self, box: Box) -> None:
        """Remember something that may be a file of its own."""
        if len(self._boxes) < _MOST_BOXES:
            self._boxes.append(box)
        elif len(self._boxes) == _MOST_BOXES:
            self._boxes.append(box)
            self._note("more strings look like files of their own than are looked into")

    def do_constant(self, argument: Argument) -> None:
        """Push what an opcode states."""
        if isinstance(argument, Opaque):
            self.push_opaque(argument)
        elif isinstance(argument, str):
            length = len(argument)
            self.push_text(argument, self.cursor.offset - length, length)
        elif not isinstance(argument, Name):
            self.push_new(argument)

    def pop(self) -> Value:
        """Take the value on top.

        Raises:
            CheckpointError: If there is none above the last mark.
        """
        if len(self.stack) <= self.floor:
            raise self.wrong("an opcode wants a value where the stack is empty")
        return self.stack.pop()

    def top(self) -> Value:
        """Return the value on top.

        Raises:
            CheckpointError: If there is none above the last mark.
        """
        if len(self.stack) <= self.floor:
            raise self.wrong("an opcode wants a value where the stack is empty")
        return self.stack[-1]

    def pop_mark(self) -> list[Value]:
        """Take what lies above the last mark, and the mark.

        Raises:
            CheckpointError: If there is no mark.
        """
        if not self._marks:
            raise self.wrong("an opcode wants a mark where there is none")
        start = self._marks.pop()
        self.floor = self._marks[-1] if self._marks else 0
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def do_mark(self) -> None:
        """`MARK`."""
        if len(self._marks) >= self._budget:
            raise self._excess(f"more than {self._budget} open marks")
        self.floor = len(self.stack)
        self._marks.append(self.floor)

    def do_pop(self) -> None:
        """`POP`."""
        if self._marks and len(self.stack) == self.floor:
            self._marks.pop()
            self.floor = self._marks[-1] if self._marks else 0
        else:
            self.pop()

    def do_pop_mark(self) -> None:
        """`POP_MARK`."""
        self.pop_mark()

    def do_duplicate(self) -> None:
        """`DUP`."""
        self.stack.append(self.top())

    def do_put(self, argument: Argument) -> None:
        """`PUT` and its kin: remember what lies on top."""
        if not isinstance(argument, int):
            raise self.wrong("a memo index is not a number")
        if self.memo.put(argument, self.top()):
            self._spend(1)

    def do_memoize(self) -> None:
        """`MEMOIZE`."""
        if self.memo.put(len(self.memo), self.top()):
            self._spend(1)

    def do_get(self, argument: Argument) -> None:
        """`GET` and its kin: push what was remembered."""
        try:
            if not isinstance(argument, int):
                raise KeyError
            self.stack.append(self.memo.get(argument))
        except KeyError:
            raise self.wrong(f"memo entry {argument} is read before it is written") from None

    def do_protocol(self, argument: Argument) -> None:
        """`PROTO`."""
        if not isinstance(argument, int) or argument > HIGHEST_PROTOCOL:
            raise self.wrong(f"protocol {argument} is not known")
        self._protocol = max(self._protocol, argument)
        self.silent += 1

    def do_stop(self) -> None:
        """`STOP`."""
        self.top()
        self.stopped = True

    def do_frame(self, _argument: Argument) -> None:
        """`FRAME`: a hint for readers."""
        self.silent += 1

    def do_nothing(self) -> None:
        """`READONLY_BUFFER`."""

    def do_buffer(self) -> None:
        """`NEXT_BUFFER`."""
        self.push_new(Opaque("buffer", self.offset, 0))

    def do_collect(self, kind: Literal["list", "tuple", "frozenset"]) -> None:
        """Put what lies above the mark into a container."""
        items = self.pop_mark()
        self.push_new(Items(kind, items if self.keep else items[:KEPT_ITEMS]))

    def do_tuple_of(self, count: int) -> None:
        """Put the topmost values into a tuple."""
        stack = self.stack
        if len(stack) - count < self.floor:
            raise self.wrong("an opcode wants a value where the stack is empty")
        items = stack[-count:]
        del stack[-count:]
        self.push_new(Items("tuple", items))

    def do_dictionary(self) -> None:
        """`DICT`."""
        items = self.pop_mark()
        self.push_new(Pairs([], []))
        self._set_items(items)

    def do_append(self) -> None:
        """`APPEND`."""
        self._add([self.pop()])

    def do_append_many(self) -> None:
        """`APPENDS` and `ADDITEMS`."""
        self._add(self.pop_mark())

    def do_set_item(self) -> None:
        """`SETITEM`."""
        value = self.pop()
        self._set_items([self.pop(), value])

    def do_set_items(self) -> None:
        """`SETITEMS`."""
        self._set_items(self.pop_mark())

    def _add(self, items: list[Value]) -> None:
        target = self.top()
        if isinstance(target, Call):
            if target.listed is None:
                self.spend_kept()
                target.listed = Items("list", [])
            target = target.listed
        if isinstance(target, Items):
            room = len(items) if self.keep else max(KEPT_ITEMS - len(target.items), 0)
            if room:
                target.items.extend(items[:room])

    def _set_items(self, items: list[Value]) -> None:
        if len(items) % 2:
            raise self.wrong("a dict is filled with a key that has no value")
        target = self.top()
        if isinstance(target, Call):
            if target.mapped is None:
                self.spend_kept()
                target.mapped = Pairs([], [])
            target = target.mapped
        if isinstance(target, Pairs):
            room = len(items) if self.keep else 2 * max(KEPT_ITEMS - len(target.keys), 0)
            if room:
                target.keys.extend(items[:room:2])
                target.values.extend(items[1:room:2])

    def spend(self) -> None:
        """Count one value that stays at hand."""
        self._spend(1)

    def spend_kept(self) -> None:
        """Count one value that is kept."""
        if self.keep:
            self._spend(1)

    def _push_global(self, module: str, name: str) -> None:
        """Push an import; one that is named again is the one that was named first."""
        self.spend_kept()
        found = self._globals.get((module, name))
        if found is None:
            self._spend(IMPORT_COST + len(module) + len(name))
            found = self._globals[module, name] = Global(module, name, self.offset)
        self.stack.append(found)

    def do_global_name(self, argument: Argument) -> None:
        """`GLOBAL`."""
        if isinstance(argument, Name):
            self._push_global(argument.module, argument.name)

    def do_stack_global(self) -> None:
        """`STACK_GLOBAL`."""
        given = self.pop(), self.pop()
        name, module = (part if isinstance(part, str) else "?" for part in given)
        if "?" in (name, module):
            self._note("an import is named by a value that only running the pickle would give")
        self._push_global(module, name)

    def do_extension(self, argument: Argument) -> None:
        """`EXT1` and its kin."""
        self._note(f"an import is named by extension code {argument}, which only a program knows")
        self._push_global(*f"{EXTENSION}{argument}".split("."))

    def _push_call(self, function: Value, args: Value, kwargs: Value = None) -> None:
        call = Call(function, args, self.offset, kwargs)
        found = called_global(function)
        if found is not None:
            found.called = True
            call.root = found
        elif isinstance(function, Call):
            call.root, call.links = function.root, function.links + 1
        if call.root is not None and (call.root.call is None or call.links > call.root.call.links):
            call.root.call = call
        for item in (items_of(args) or ())[:KEPT_ITEMS]:
            if isinstance(item, Global) and item.given_to is None:
                item.given_to = call
        if self.keep:
            self._spend(2)
            self._calls.append(call)
        elif found is not None and found.dotted == _LOAD_FROM_BYTES:
            self._box_to_load(items_of(args))
        self.stack.append(call)

    def _box_to_load(self, args: list[Value] | None) -> None:
        """Remember bytes that PyTorch would load as a checkpoint of their own."""
        box = args[0] if args else None
        if isinstance(box, Opaque) and box.kind == "bytes":
            self.add_box(Box("bytes", box.offset, box.length, loaded=True))
        else:
            self._note("what PyTorch would load from bytes cannot be told")

    def do_reduce(self) -> None:
        """`REDUCE` and `NEWOBJ`."""
        args = self.pop()
        self._push_call(self.pop(), args)

    def do_new_object_ex(self) -> None:
        """`NEWOBJ_EX`."""
        kwargs = self.pop()
        args = self.pop()
        self._push_call(self.pop(), args, kwargs)

    def do_instance(self, argument: Argument) -> None:
        """`INST`."""
        args = Items("tuple", self.pop_mark())
        self.do_global_name(argument)
        self._push_call(self.pop(), args)

    def do_object(self) -> None:
        """`OBJ`."""
        items = self.pop_mark()
        if not items:
            raise self.wrong("an object is built of no class")
        self._push_call(items[0], Items("tuple", items[1:]))

    def do_build(self) -> None:
        """`BUILD`."""
        state = self.pop()
        target = self.top()
        found = called_global(target)
        if found is not None:
            found.called = True
        if not isinstance(target, Call):
            return
        self.spend_kept()
        if target.states is None or not self.keep:
            target.states = []
        target.states.append(state)
        if target.root is not None and target.root.dotted in WRAPPERS and not self._within_array:
            self._pass_array(target)

    def _pass_array(self, wrapper: Call) -> None:
        """Step over the array that joblib reads here, and look at it as others would read it."""
        array = inline_array(wrapper)
        if array is None:
            raise self.wrong("an array follows that is described in a way joblib never does")
        if array.objects:
            self._run_within()
            return
        start = self.cursor.offset
        if array.padded:
            self.cursor.skip(self.cursor.take(1)[0])
        self.cursor.skip(array.nbytes)
        if not self.keep:
            self.add_box(Box("array", start, self.cursor.offset - start))

    def _run_within(self) -> None:
        """Carry out the pickle of an array of objects, which joblib loads from the same file."""
        outer = self.stack, self._marks, self.floor, self.memo
        self.stack, self._marks, self.floor, self.memo = [], [], 0, Memo()
        self._within_array = True
        self.carry_out()
        self.pop()
        self.stack, self._marks, self.floor, self.memo = outer
        self._within_array = self.stopped = False

    def do_persistent_line(self, argument: Argument) -> None:
        """`PERSID`."""
        if isinstance(argument, str | Opaque):
            self._push_persistent(argument)

    def do_persistent(self) -> None:
        """`BINPERSID`."""
        self._push_persistent(self.pop())

    def _push_persistent(self, identity: Value) -> None:
        found = Persistent(identity, self.offset)
        self.push_new(found)
        if self.keep:
            self._persistents.append(found)
