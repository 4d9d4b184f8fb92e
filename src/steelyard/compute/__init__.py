"""Training compute: estimates by several methods, side by side, each with its assumptions.

`estimates` yields what each method gives, `derive` turns them into facts. Nothing is averaged:
`training.compute` is the hull of all methods, and its note names them. Sources: Sevilla et al.,
"Estimating Training Compute of Deep Learning Models" (Epoch, 2022); the Commission's guidelines
C(2025) 7719, annex A; Kaplan et al., arXiv 2001.08361; Hoffmann et al., arXiv 2203.15556.
"""

from steelyard.compute.derivation import derive
from steelyard.compute.methods import (
    Estimate,
    break_even,
    by_architecture,
    by_hardware,
    by_passes,
    estimates,
    own_estimates,
)

__all__ = [
    "Estimate",
    "break_even",
    "by_architecture",
    "by_hardware",
    "by_passes",
    "derive",
    "estimates",
    "own_estimates",
]
