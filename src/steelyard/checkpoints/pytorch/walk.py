"""Walk what a PyTorch pickle holds and name the tensors in it by their path.

A checkpoint may be a dict of tensors, a training state with optimizers, or a whole model object;
the walk goes through dicts, lists and object states alike and joins their keys by dots. It
keeps its own stack, enters each container once (a pickle may share them, or close a circle) and
stops at `Limits.depth`. What it does not understand it reports instead of guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.pickles.opcodes import Opaque
from steelyard.checkpoints.pickles.values import (
    Call,
    Global,
    Items,
    Pairs,
    Persistent,
    Value,
    called_global,
    items_of,
)
from steelyard.checkpoints.pytorch.children import (
    Child,
    arguments,
    contents,
    numbered,
    pairs,
    state_contents,
)
from steelyard.checkpoints.pytorch.tensors import (
    DTYPES,
    UNTYPED,
    Element,
    Layout,
    Locate,
    StorageReference,
    layout,
    storage_reference,
    tensor,
    wrong,
)
from steelyard.checkpoints.tensors import ABSENT, Problem, ProblemKind, Tensor
from steelyard.errors import LimitExceeded

MOST_PROBLEMS: Final = 100
"""Problems that are listed one by one; the rest are counted."""

_UTILS = "torch._utils."
_WRAPPERS = frozenset(
    {
        _UTILS + "_rebuild_parameter",
        _UTILS + "_rebuild_parameter_with_state",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
    }
)
"""Calls whose first argument is a tensor and whose result is that tensor."""
_TYPED = frozenset(
    {
        "torch._tensor._rebuild_from_type",
        "torch._tensor._rebuild_from_type_v2",
        "torch.tensor._rebuild_from_type",
    }
)
"""Calls of another rebuild function on behalf of a subclass."""
_REBUILDERS = frozenset(
    _UTILS + name
    for name in (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_qtensor",
    )
)
_META_REBUILDER = _UTILS + "_rebuild_meta_tensor_no_storage"
_LOAD_FROM_BYTES = frozenset({"torch.storage._load_from_bytes"})
_SPARSE = frozenset({_UTILS + "_rebuild_sparse_tensor", _UTILS + "_rebuild_sparse_csr_tensor"})
_COORDINATES = ("indices", "values")
_COMPRESSED = ("compressed_indices", "plain_indices", "values")
"""The parts of a sparse tensor in rows or columns (CSR, CSC, BSR, BSC)."""

Unbox = Callable[[Opaque], tuple[Persistent, Locate | None] | None]
"""Find the storage in bytes that hold a checkpoint of their own; None if that cannot be told."""


class Walk:
    """Collect the tensors of one file.

    Args:
        file: The file that holds the bytes.
        limits: Bounds on depth, tensors and names.
        byteorder: Of every tensor, `little` or `big`.
        unbox: How to find a storage that was pickled as bytes.
    """

    def __init__(self, file: str, limits: Limits, byteorder: str, unbox: Unbox) -> None:
        self.tensors: list[Tensor] = []
        self.tops: list[tuple[str, int]] = []
        """For each tensor: the key of the outermost container, and how many parts its name has."""
        self._file = file
        self._limits = limits
        self._byteorder = byteorder
        self._unbox = unbox
        self._problems: list[Problem] = []
        self._problem_count = 0
        self._name_bytes = 0
        self._locate: Locate | None = None
        self._entered: set[int] = set()
        self._depth = 0
        self._top = ""

    @property
    def problems(self) -> list[Problem]:
        """What was not understood."""
        more = self._problem_count - len(self._problems)
        if more <= 0:
            return list(self._problems)
        what = f"{more} more parts of the pickle are not understood"
        return [*self._problems, Problem(ProblemKind.NOT_FULLY_READ, what, self._file)]

    def note(self, what: str, offset: int | None = None) -> None:
        """Record something that is not understood."""
        self._problem_count += 1
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(
                Problem(ProblemKind.NOT_FULLY_READ, what[:1000], self._file, offset)
            )

    def collect(self, root: Value, locate: Locate | None, prefix: str = "") -> None:
        """Add the tensors of one pickle.

        Args:
            root: What the pickle holds.
            locate: How to find its storages; None where there are none outside the pickle.
            prefix: What every name begins with.

        Raises:
            CheckpointError: If a tensor contradicts itself, its storage or the file.
            LimitExceeded: If there are too many tensors, or their names are too long.
        """
        self._locate = locate
        self._entered.clear()
        frames: list[tuple[str, Iterator[Child]]] = [(prefix, iter([("", root)]))]
        while frames:
            path, children = frames[-1]
            child = next(children, None)
            if child is None:
                frames.pop()
                continue
            part, value = child
            if not isinstance(value, Call | Pairs | Items | Persistent):
                continue
            self._depth = len(frames)
            if self._depth == 2:
                self._top = part
            path = f"{path}.{part}" if path and part else path or part
            inner = self._enter(path, value)
            if inner is None:
                continue
            if len(frames) >= self._limits.depth or len(path) > self._limits.name_bytes:
                self.note(f"{path or 'the pickle'} is nested too deeply to be read")
            else:
                frames.append((path, inner))

    def _enter(self, path: str, value: Value) -> Iterator[Child] | None:
        """Return what is inside `value`, after adding it if it is a tensor itself."""
        if isinstance(value, Persistent):
            self._bare_storage(path, value)
            return None
        known = id(value) in self._entered
        inner: Iterator[Child] | None = None
        if isinstance(value, Call):
            inner = self._rebuild(path, value, 0)
        elif isinstance(value, Pairs) and not known:
            inner = pairs(value)
        elif isinstance(value, Items) and not known:
            inner = numbered(value.items)
        self._entered.add(id(value))
        return None if known else inner

    def _rebuild(self, path: str, call: Call, depth: int) -> Iterator[Child]:
        """Add a tensor if the call makes one; return what else is in the call."""
        function = called_global(call.function)
        name = function.dotted if function else ""
        args = items_of(call.args) or []
        if name in _WRAPPERS | _TYPED:
            return self._unwrap(path, name, args, call, depth)
        if name in _REBUILDERS:
            return self._stored(path, name, args, call)
        if name == _META_REBUILDER:
            self._meta(path, args, call)
            return contents(call, self._entered)
        if name in _SPARSE:
            self.note(f"{path} is sparse: its parts are listed, not the tensor", call.offset)
            parts = items_of(args[1]) if len(args) > 1 else None
            names = _COORDINATES if args and _is_coordinates(args[0]) else _COMPRESSED
            return self._with(zip(names, parts or [], strict=False), call)
        if name.startswith(_UTILS + "_rebuild"):
            self.note(f"{path} is made by {name}, which is not understood", call.offset)
        mapping = name.endswith("Dict")
        return chain(arguments(call, mapping, self._entered), contents(call, self._entered))

    def _unwrap(
        self, path: str, name: str, args: list[Value], call: Call, depth: int
    ) -> Iterator[Child]:
        """Look through a call that only wraps another tensor."""
        if depth >= self._limits.depth:
            self.note(f"{path} is wrapped too deeply to be read", call.offset)
            return contents(call, self._entered)
        if name in _WRAPPERS:
            inner = args[0] if args else None
        else:
            inner = Call(args[0], args[2], call.offset) if len(args) > 2 else None
        state = state_contents(args[3], self._entered) if len(args) > 3 else iter(())
        if not isinstance(inner, Call):
            return self._with(chain([("", inner)], state), call)
        # The wrapped tensor goes on the list here: it may be shared, but its name is not.
        found = self._rebuild(path, inner, depth + 1)
        return self._with(chain(found, state), call)

    def _stored(self, path: str, name: str, args: list[Value], call: Call) -> Iterator[Child]:
        """Add a tensor that has a storage."""
        path = path or "tensor"
        if len(args) < 4:
            raise wrong(self._file, call.offset, f"tensor {path} is described incompletely")
        where = (self._file, call.offset)
        window = layout(path, args[2], args[3], args[1], where, self._limits)
        found = self._storage(path, args[0], call.offset)
        if found is not None:
            reference, locate = found
            element = self._element(path, name, args, reference)
            if element is not None:
                self._add(path, element, window, reference, locate, call.offset)
        quantizer = items_of(args[4]) if name.endswith("_rebuild_qtensor") and args[4:] else None
        scales = zip(("scale", "zero_point"), (quantizer or [])[1:3], strict=False)
        return self._with(scales, call)

    def _with(self, first: Iterable[Child], call: Call) -> Iterator[Child]:
        """Put what a tensor is made of before what is set on it."""
        return chain(first, contents(call, self._entered))

    def _element(
        self, path: str, name: str, args: list[Value], reference: StorageReference
    ) -> Element | None:
        """Tell a tensor's element type; report one that is not known."""
        named = args[6] if name.endswith("_v3") and len(args) > 6 else None
        if isinstance(named, Global):
            element = DTYPES.get(named.name)
            kind = named.dotted
        else:
            element = None if name.endswith("_v3") else reference.element
            kind = reference.type_name
        if element is None:
            self.note(f"{path} has elements of an unknown type, {kind}", reference.offset)
        return element

    def _storage(
        self, path: str, value: Value, offset: int
    ) -> tuple[StorageReference, Locate] | None:
        """Decode what a tensor lies on; report what cannot be told."""
        locate = self._locate
        if isinstance(value, Call):
            function = called_global(value.function)
            args = items_of(value.args)
            inner: tuple[Persistent, Locate | None] | None = None
            if function and function.dotted in _LOAD_FROM_BYTES and args:
                box = args[0]
                inner = self._unbox(box) if isinstance(box, Opaque) else None
            if inner is not None:
                value, locate = inner
        reference = storage_reference(value, self._file) if isinstance(value, Persistent) else None
        if reference is None or locate is None:
            self.note(f"the storage of {path} cannot be told", offset)
            return None
        return reference, locate

    def _bare_storage(self, path: str, value: Persistent) -> None:
        """Add a storage that stands alone, as a tensor of one dimension."""
        reference = storage_reference(value, self._file)
        if reference is None or self._locate is None:
            return
        path = path or "storage"
        if reference.element is None:
            kind = reference.type_name
            self.note(f"{path} has elements of an unknown type, {kind}", value.offset)
            return
        count = reference.view_count
        shape = (count * reference.element.packed,)
        window = Layout(shape, None, 0, shape[0])
        self._add(path, reference.element, window, reference, self._locate, value.offset)

    def _add(
        self,
        path: str,
        element: Element,
        window: Layout,
        reference: StorageReference,
        locate: Locate,
        offset: int,
    ) -> None:
        """Check a tensor against its storage's bytes, and list it."""
        # A storage counts in items of its own type, whatever the tensor's.
        item = (reference.element or UNTYPED).size
        place = locate(reference.key, reference.count * item, reference.offset)
        skipped = reference.first * item
        place = type(place)(
            None if place.offset is None else place.offset + skipped,
            reference.view_count * item,
            place.member,
        )
        found = tensor(path, element, window, place, (self._file, offset), self._byteorder)
        if found.offset is None and (skipped or window.first):
            self.note(f"{path} begins inside a compressed storage", offset)
            return
        self._list(found, offset)

    def _meta(self, path: str, args: list[Value], call: Call) -> None:
        """Add a tensor that was saved without its elements."""
        path = path or "tensor"
        if len(args) < 3:
            raise wrong(self._file, call.offset, f"tensor {path} is described incompletely")
        where = (self._file, call.offset)
        window = layout(path, args[1], args[2], 0, where, self._limits)
        element = DTYPES.get(args[0].name) if isinstance(args[0], Global) else None
        if element is None:
            self.note(f"{path} has elements of an unknown type", call.offset)
            return
        self.note(f"{path} was saved without its elements", call.offset)
        self._list(
            Tensor(path, element.dtype, window.shape, ABSENT, self._file, None, 0, window.strides),
            call.offset,
        )

    def _list(self, found: Tensor, offset: int) -> None:
        self._name_bytes += len(found.name)
        for what, value, limit in (
            ("tensors", len(self.tensors) + 1, self._limits.tensors),
            ("characters in a tensor's name", len(found.name), self._limits.name_bytes),
            ("characters in tensors' names", self._name_bytes, self._limits.header_bytes),
        ):
            if value > limit:
                raise LimitExceeded(
                    f"the checkpoint has more than {limit} {what}",
                    why="no model needs so many",
                    fix="raise the limit if you trust the file",
                    file=self._file,
                    offset=offset,
                )
        self.tensors.append(found)
        self.tops.append((self._top, self._depth))


def _is_coordinates(layout_of: Value) -> bool:
    """Say whether a sparse layout is COO: `torch.sparse_coo`, or a call that looks it up."""
    if isinstance(layout_of, Call):
        return "torch.sparse_coo" in (items_of(layout_of.args) or [])[:1]
    return isinstance(layout_of, Global) and layout_of.name == "sparse_coo"
