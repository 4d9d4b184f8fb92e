"""What the model card says: front matter, sections, prose, results, and the base it names."""

from steelyard.analyzers.card.analyzer import analyze

__all__ = ["analyze"]
