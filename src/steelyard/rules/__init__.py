"""Rules as data: expressions, packs, evaluation, explanation.

`load_packs` reads rules from YAML and checks them, `evaluate` applies them to a `FactBook` as of
a date and returns findings, and `run_tests` runs the cases that rules carry. Conditions are
three-valued: what the facts do not tell is unknown, and the answer says which facts would.
"""

from steelyard.rules.answering import Answer, answer
from steelyard.rules.evaluation import Conclusions, conclude, evaluate
from steelyard.rules.expression import Expression, parse_expression
from steelyard.rules.finding import (
    Certainty,
    Confidence,
    DutyResult,
    Finding,
    Location,
    Reason,
    Severity,
    Side,
    Standing,
    State,
    Status,
    TestFailure,
    Verdict,
)
from steelyard.rules.law import Rulebook, rules_on
from steelyard.rules.loading import Pack, load_pack, load_packs
from steelyard.rules.pack import PRACTICE, Duty, Parameter, Rule
from steelyard.rules.testing import run_tests
from steelyard.rules.topics import Topic

__all__ = [
    "PRACTICE",
    "Answer",
    "Certainty",
    "Conclusions",
    "Confidence",
    "Duty",
    "DutyResult",
    "Expression",
    "Finding",
    "Location",
    "Pack",
    "Parameter",
    "Reason",
    "Rule",
    "Rulebook",
    "Severity",
    "Side",
    "Standing",
    "State",
    "Status",
    "TestFailure",
    "Topic",
    "Verdict",
    "answer",
    "conclude",
    "evaluate",
    "load_pack",
    "load_packs",
    "parse_expression",
    "rules_on",
    "run_tests",
]
