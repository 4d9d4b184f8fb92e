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

from typing import Final

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.pickles.arrays import WRAPPERS, inline_array
from steelyard.checkpoints.pickles.cursor import Cursor
from steelyard.checkpoints.pickles.memo import Memo
from steelyard.checkpoints.pickles.opcodes import Argument, Name, Opaque
from steelyard.checkpoints.pickles.stack import KEPT_ITEMS, Stack
from steelyard.checkpoints.pickles.steps import STEPS
from steelyard.checkpoints.pickles.values import (
    Box,
    Call,
    Global,
    Items,
    Persistent,
    PickleStream,
    Value,
    called_global,
    items_of,
)
from steelyard.checkpoints.pickles.words import in_words
from steelyard.checkpoints.problems import PickleImport
from steelyard.errors import CheckpointError

HIGHEST_PROTOCOL: Final = 5
IMPORT_COST: Final = 100
"""Values that a new import costs: a checkpoint names few, and each is graded and reported."""
EXTENSION: Final = "copyreg.extension_"
"""How an import is named that the stream names by an extension code."""
_PLACES: Final = 8
"""Places on the stack and in the memo that take as much memory as one value."""
_BATCH: Final = 4096
"""Opcodes between two looks at what is at hand."""
_LOAD_FROM_BYTES: Final = "torch.storage._load_from_bytes"


class Machine(Stack):
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
        super().__init__(cursor, file, limits, keep)
        self.stopped = False
        self.count = 0
        """Opcodes that were carried out one by one, and the one that made no sense."""
        self.passed = 0
        """Opcodes that were passed over many at a time."""
        self.silent = 0
        """Opcodes that say nothing of what the pickle holds."""
        stated = limits.opcodes if keep else limits.examined_opcodes
        self._most = stated if most is None else most
        self._globals: dict[tuple[str, str], Global] = {}
        self._calls: list[Call] = []
        self._persistents: list[Persistent] = []
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
            self.note(f"the pickle could not be read further: {error.what}")
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
            cost=self.budget - max(self.values_left, 0),
            problems=tuple(self.problems),
            boxes=tuple(self.boxes),
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
                raise self.excess(f"more than {most} opcodes")
            if not self.keep and len(self.stack) + len(self.memo) > _PLACES * self.budget:
                raise self.excess(f"more than {_PLACES * self.budget} values at hand")
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
            PickleImport(g.dotted, self.file, g.offset, g.called, in_words(g)) for g in named
        )

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

    def _push_global(self, module: str, name: str) -> None:
        """Push an import; one that is named again is the one that was named first."""
        self.spend_kept()
        found = self._globals.get((module, name))
        if found is None:
            self.spend(IMPORT_COST + len(module) + len(name))
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
            self.note("an import is named by a value that only running the pickle would give")
        self._push_global(module, name)

    def do_extension(self, argument: Argument) -> None:
        """`EXT1` and its kin."""
        self.note(f"an import is named by extension code {argument}, which only a program knows")
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
            self.spend(2)
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
            self.note("what PyTorch would load from bytes cannot be told")

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
        outer = self.stack, self.marks, self.floor, self.memo
        self.stack, self.marks, self.floor, self.memo = [], [], 0, Memo()
        self._within_array = True
        self.carry_out()
        self.pop()
        self.stack, self.marks, self.floor, self.memo = outer
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
