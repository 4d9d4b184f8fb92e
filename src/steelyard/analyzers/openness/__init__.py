"""What is open: components, classes and tiers; the legal exemption is a matter of rules.

`analyze` tells what a model's files show, `derive` what follows from facts alone, and `assess`
sets the classes side by side for a report.
"""

from steelyard.analyzers.openness.analyzer import analyze
from steelyard.analyzers.openness.derivation import derive
from steelyard.analyzers.openness.verdicts import Openness, assess, of_release

__all__ = ["Openness", "analyze", "assess", "derive", "of_release"]
