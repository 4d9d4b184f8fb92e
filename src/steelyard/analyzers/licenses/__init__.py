"""Which licenses are declared, which texts lie there, and which of them governs the weights."""

from steelyard.analyzers.licenses.analyzer import analyze

__all__ = ["analyze"]
