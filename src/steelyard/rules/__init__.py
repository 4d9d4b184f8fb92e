"""Rules as data: expressions, packs, evaluation, explanation.

`load_packs` reads rules from YAML and checks them, `evaluate` applies them to a `FactBook` as of
a date and returns findings, and `run_tests` runs the cases that rules carry. Conditions are
three-valued: what the facts do not tell is unknown, and the answer says which facts would.
"""

from steelyard.rules.answering import Answer, answer
from steelyard.rules.evaluation import evaluate, run_tests
from steelyard.rules.expression import Expression, parse_expression
from steelyard.rules.finding import (
    DutyResult,
    Finding,
    Location,
    Severity,
    State,
    TestFailure,
    Verdict,
)
from steelyard.rules.loading import Pack, load_pack, load_packs
from steelyard.rules.pack import Confidence, Duty, Rule, Status

__all__ = [
    "Answer",
    "Confidence",
    "Duty",
    "DutyResult",
    "Expression",
    "Finding",
    "Location",
    "Pack",
    "Rule",
    "Severity",
    "State",
    "Status",
    "TestFailure",
    "Verdict",
    "answer",
    "evaluate",
    "load_pack",
    "load_packs",
    "parse_expression",
    "run_tests",
]
