"""Code that rides with a model: what opening its files, or using it, would run.

Nothing is run or imported here, whatever is found.
"""

from steelyard.analyzers.code import templates
from steelyard.analyzers.code.analyzer import analyze

__all__ = ["analyze", "templates"]
