"""Claims about a model, each with its basis and evidence.

A `Fact` is one claim. A `FactBook` keeps all of them, resolves by basis and lists
contradictions. The vocabulary says which names there are and what each means.
"""

from steelyard.facts.book import Contradiction, FactBook, agree
from steelyard.facts.fact import Basis, Evidence, Fact, Value
from steelyard.facts.interval import Interval
from steelyard.facts.logic import Truth, conjoin, disjoin, negate
from steelyard.facts.vocabulary import Kind, Term, term, vocabulary

__all__ = [
    "Basis",
    "Contradiction",
    "Evidence",
    "Fact",
    "FactBook",
    "Interval",
    "Kind",
    "Term",
    "Truth",
    "Value",
    "agree",
    "conjoin",
    "disjoin",
    "negate",
    "term",
    "vocabulary",
]
