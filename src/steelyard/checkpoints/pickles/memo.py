"""The memo of a pickle: values by number, which writers count up from nought."""

from __future__ import annotations

from steelyard.checkpoints.pickles.values import Value


class Memo:
    """Values by their number; a list while numbers come in order, as they do."""

    __slots__ = ("_far", "near")

    def __init__(self) -> None:
        self.near: list[Value] = []
        """Those numbered without a gap."""
        self._far: dict[int, Value] = {}

    def __len__(self) -> int:
        return len(self.near) + len(self._far)

    def copy(self) -> Memo:
        """Return another memo of the same values."""
        other = Memo()
        other.near, other._far = self.near.copy(), self._far.copy()
        return other

    def put(self, index: int, value: Value) -> None:
        """Remember a value under a number."""
        near = self.near
        if index == len(near):
            near.append(value)
            self._far.pop(index, None)
        elif 0 <= index < len(near):
            near[index] = value
        else:
            self._far[index] = value

    def add(self, value: Value) -> None:
        """Remember a value under the next number."""
        if self._far:
            self.put(len(self), value)
        else:
            self.near.append(value)

    def get(self, index: int) -> Value:
        """Return the value of a number.

        Raises:
            KeyError: If it has none.
        """
        if 0 <= index < len(self.near):
            return self.near[index]
        return self._far[index]
