"""What an import of a pickle is worth; the grades themselves belong to the examination."""

from __future__ import annotations

from steelyard.checkpoints.examining.grades import DANGEROUS, REBUILDS, UNKNOWN, grade

__all__ = ["DANGEROUS", "REBUILDS", "UNKNOWN", "grade"]
