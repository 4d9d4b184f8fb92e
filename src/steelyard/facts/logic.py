"""Three-valued logic after Kleene: true, false, and unknown as `None`.

Unknown is never silently yes or no. The laws (De Morgan, associativity, and monotonicity:
learning more never flips a definite answer) are property-tested.
"""

from __future__ import annotations

from collections.abc import Iterable

Truth = bool | None
"""`True`, `False`, or `None` for unknown."""


def negate(a: Truth) -> Truth:
    """Return not `a`; unknown stays unknown."""
    return None if a is None else not a


def conjoin(values: Iterable[Truth]) -> Truth:
    """Return the and of `values`: false if any is false, else unknown if any is unknown."""
    answer: Truth = True
    for value in values:
        if value is False:
            return False
        if value is None:
            answer = None
    return answer


def disjoin(values: Iterable[Truth]) -> Truth:
    """Return the or of `values`: true if any is true, else unknown if any is unknown."""
    return negate(conjoin(negate(value) for value in values))
