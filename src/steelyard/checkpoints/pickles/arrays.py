"""Arrays between the opcodes of a pickle, as joblib writes them.

Where a pickle builds a `NumpyArrayWrapper`, the elements of the array follow in the file: a byte
that counts padding, the padding, the elements; or, for an array of Python objects, another
pickle. Source: `joblib/numpy_pickle.py` (`NumpyArrayWrapper.read_array`), releases 0.10 to 1.5.
"""

from __future__ import annotations

import re
from math import prod
from typing import Final, NamedTuple

from steelyard.checkpoints.pickles.values import Call, Pairs, Value, called_global, items_of

WRAPPERS: Final = frozenset(
    {
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper",
    }
)
_ALIGNMENT: Final = "numpy_array_alignment_bytes"
_CODE: Final = r"[<>|=]?([?a-zA-Z])(\d{0,9})"
_BARE_SIZES: Final = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "e": 2, "i": 4, "I": 4, "f": 4,
                      "l": 8, "L": 8, "q": 8, "Q": 8, "d": 8, "F": 8, "D": 16}  # fmt: skip
_UNICODE_BYTES: Final = 4
_HAS_OBJECT: Final = 1
"""The bit of a type's flags that says it holds Python objects (`NPY_ITEM_HASOBJECT`)."""


class InlineArray(NamedTuple):
    """What follows a wrapper."""

    nbytes: int
    """Bytes of elements; 0 for objects."""
    padded: bool
    """True when a byte that counts padding, and the padding, come first."""
    objects: bool
    """True when a pickle follows instead of elements."""


def inline_array(wrapper: Call) -> InlineArray | None:
    """Tell what follows a wrapper that was just built; None if that cannot be told."""
    state = wrapper.states[-1] if wrapper.states else None
    if not isinstance(state, Pairs):
        return None
    fields = {
        key: value
        for key, value in zip(state.keys, state.values, strict=True)
        if isinstance(key, str)
    }
    shape = items_of(fields.get("shape"))
    element = _element(fields.get("dtype"))
    if shape is None or element is None:
        return None
    size, objects = element
    counts = [count for count in shape if type(count) is int and count >= 0]
    if len(counts) != len(shape):
        return None
    padded = fields.get(_ALIGNMENT) is not None
    return InlineArray(0 if objects else prod(counts) * size, padded and not objects, objects)


def _element(dtype: Value) -> tuple[int, bool] | None:
    """Return the bytes of one element, and whether it is or holds a Python object."""
    function = called_global(dtype.function) if isinstance(dtype, Call) else None
    args = items_of(dtype.args) if isinstance(dtype, Call) else None
    if function is None or function.dotted != "numpy.dtype" or not args:
        return None
    match = re.fullmatch(_CODE, args[0]) if isinstance(args[0], str) else None
    if match is None:
        return None
    letter, digits = match.groups()
    if letter == "O":
        return 0, True
    if letter in "VU" and digits:
        states = dtype.states if isinstance(dtype, Call) else None
        described = items_of(states[-1]) if states else None
        flags = described[7] if described is not None and len(described) > 7 else 0
        if not isinstance(flags, int) or (letter == "V" and flags & _HAS_OBJECT):
            return (0, True) if isinstance(flags, int) else None
    if digits:
        return int(digits) * (_UNICODE_BYTES if letter == "U" else 1), False
    size = _BARE_SIZES.get(letter)
    return None if size is None else (size, False)
