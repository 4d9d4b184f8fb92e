"""The stack of a pickle's machine, its memo, and the containers that values are put into.

A machine either keeps what a stream holds, and then every value costs from a budget
(`Limits.json_nodes`) before it is made; or it keeps nothing, and then containers hold their first
few items and only what is at hand is counted (`Limits.examined_values`).
"""

from __future__ import annotations

from typing import Final, Literal

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.pickles.boxes import SHORTEST_FILE, may_be_file, may_be_file_in_text
from steelyard.checkpoints.pickles.cursor import Cursor
from steelyard.checkpoints.pickles.memo import Memo
from steelyard.checkpoints.pickles.opcodes import Argument, Name, Opaque
from steelyard.checkpoints.pickles.values import Box, Call, Items, Pairs, Value
from steelyard.checkpoints.problems import Problem, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded

CHARACTERS_FOR_ONE: Final = 64
"""Characters of text that cost as much as one value; a text that is not ASCII costs four times."""
KEPT_ITEMS: Final = 32
"""Items of a container that are kept when a stream is only examined; no array has more axes."""
LONGEST_KEPT: Final = 256
"""Characters of the longest text that is kept then; no name in Python is longer."""
_MOST_BOXES: Final = 50_000
_NOT_ASCII: Final = 4
_FILLED: Final = (Pairs, Opaque, Items)
_SOMETHING: Final = Opaque("value", 0, 0)
"""Stands for what is remembered and names nothing."""


class Stack:
    """Values at hand, remembered and contained.

    Args:
        cursor: Where the opcodes come from.
        file: How problems name the file.
        limits: Bounds on values.
        keep: Whether what the stream holds is wanted.
    """

    def __init__(self, cursor: Cursor, file: str, limits: Limits, keep: bool) -> None:
        self.cursor = cursor
        self.keep = keep
        if not keep:
            cursor.skipped = b""
        self.file = file
        self.offset = cursor.offset
        """Where the opcode lies that is carried out."""
        self.stack: list[Value] = []
        self.floor = 0
        """Where the stack begins for opcodes that pop: at the last mark."""
        self.marks: list[int] = []
        self.memo = Memo()
        self.budget = limits.json_nodes if keep else limits.examined_values
        """How many values may be kept in all."""
        self.values_left = self.budget
        """How many more values may be kept."""
        self.problems: list[Problem] = []
        self.boxes: list[Box] = []

    def note(self, what: str) -> None:
        """Record something that was not understood."""
        self.problems.append(Problem(ProblemKind.NOT_FULLY_READ, what, self.file, self.offset))

    def wrong(self, what: str) -> CheckpointError:
        """Describe an opcode that makes no sense."""
        return self.cursor.error(what, self.offset)

    def excess(self, what: str) -> LimitExceeded:
        """Describe a stream that asks for more than it may."""
        return LimitExceeded(
            f"the pickle has {what}",
            why="no checkpoint needs so many; the file may be made to exhaust memory or time",
            fix="raise the limit if you trust the file",
            file=self.file,
            offset=self.offset,
        )

    def spend(self, values: int = 1) -> None:
        """Count values against the limit before they are made."""
        self.values_left -= values
        if self.values_left < 0:
            raise self.excess(f"more than {self.budget} values")

    def push_new(self, value: Value) -> None:
        """Push a value that the stream makes."""
        if self.keep:
            self.spend(1)
            if isinstance(value, str):
                width = 1 if value.isascii() else _NOT_ASCII
                self.spend(len(value) * width // CHARACTERS_FOR_ONE)
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
                # How it begins tells what it is; with the mark behind it is the name of nothing.
                value = value[:LONGEST_KEPT] + "…"
        self.stack.append(value)

    def push_opaque(self, value: Opaque) -> None:
        """Push content that was stepped over, and remember it where it may be a file."""
        if self.keep:
            self.spend(1)
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
        if len(self.boxes) < _MOST_BOXES:
            self.boxes.append(box)
        elif len(self.boxes) == _MOST_BOXES:
            self.boxes.append(box)
            self.note("more strings look like files of their own than are looked into")

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
        if not self.marks:
            raise self.wrong("an opcode wants a mark where there is none")
        start = self.marks.pop()
        self.floor = self.marks[-1] if self.marks else 0
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def do_mark(self) -> None:
        """`MARK`."""
        if len(self.marks) >= self.budget:
            raise self.excess(f"more than {self.budget} open marks")
        self.floor = len(self.stack)
        self.marks.append(self.floor)

    def do_pop(self) -> None:
        """`POP`."""
        if self.marks and len(self.stack) == self.floor:
            self.marks.pop()
            self.floor = self.marks[-1] if self.marks else 0
        else:
            self.pop()

    def do_pop_mark(self) -> None:
        """`POP_MARK`."""
        self.pop_mark()

    def do_duplicate(self) -> None:
        """`DUP`."""
        self.stack.append(self.top())

    def remembered(self) -> Value:
        """Return what is remembered of the value on top, and count it.

        Most of a large pickle are containers that are filled later, bytes, and texts that name
        nothing. They say nothing of imports, so one value stands for all of them when nothing is
        kept, and takes no memory.
        """
        value = self.stack[-1]
        if not self.keep:
            # Asked of every text and container of a pickle: what is met most comes first.
            if isinstance(value, str):
                if not value.isidentifier() and not value.replace(".", "").isidentifier():
                    return _SOMETHING
            elif isinstance(value, _FILLED) and getattr(value, "kind", "") != "tuple":
                return _SOMETHING
        self.values_left -= 1
        if self.values_left < 0:
            self.spend(0)
        return value

    def do_put(self, argument: Argument) -> None:
        """`PUT` and its kin: remember what lies on top."""
        if not isinstance(argument, int):
            raise self.wrong("a memo index is not a number")
        self.top()
        self.memo.put(argument, self.remembered())

    def do_memoize(self) -> None:
        """`MEMOIZE`."""
        self.top()
        self.memo.add(self.remembered())

    def do_get(self, argument: Argument) -> None:
        """`GET` and its kin: push what was remembered."""
        try:
            if not isinstance(argument, int):
                raise KeyError
            self.stack.append(self.memo.get(argument))
        except KeyError:
            raise self.wrong(f"memo entry {argument} is read before it is written") from None

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

    def spend_kept(self) -> None:
        """Count one value that is kept."""
        if self.keep:
            self.spend(1)
